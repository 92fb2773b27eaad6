// SPDX-License-Identifier: MIT
#include <eggroll/gru.h>

#include "nn/recurrent.h"

namespace eggroll::nn {

GRU::GRU(int64_t inputs, int64_t hidden) {
    if (inputs < 1 || hidden < 1) {
        throw Error("[nn::GRU] sizes must be positive but are inputs " + std::to_string(inputs) +
                    ", hidden " + std::to_string(hidden));
    }
    const Initializer init = init::fan_in_uniform(hidden);
    weight_ih_ = register_parameter("weight_ih_l0", {3 * hidden, inputs}, init);
    weight_hh_ = register_parameter("weight_hh_l0", {3 * hidden, hidden}, init);
    bias_ih_ = register_parameter("bias_ih_l0", {3 * hidden}, init);
    bias_hh_ = register_parameter("bias_hh_l0", {3 * hidden}, init);
}

Tensor GRU::next(const Tensor& gates, const Tensor& h, const View& v) const {
    const Tensor state = linear(h, weight_hh_, bias_hh_, v);
    const auto of = [&](const Tensor& all, int64_t index) { return gate(all, index, hidden()); };
    const Tensor r = sigmoid(of(gates, 0) + of(state, 0));
    const Tensor z = sigmoid(of(gates, 1) + of(state, 1));
    const Tensor n = tanh(of(gates, 2) + r * of(state, 2));
    return n + z * (h - n);
}

Tensor GRU::step(const Tensor& x, const Tensor& h, const View& v) const {
    require_state("nn::GRU", x, h, hidden());
    return next(linear(x, weight_ih_, bias_ih_, v), h, v);
}

Tensor GRU::forward(const Tensor& x, const Tensor& h, const View& v) const {
    require_sequence("nn::GRU", x, h, hidden());
    return over_steps(linear(x, weight_ih_, bias_ih_, v), h,
                      [&](const Tensor& gates, const Tensor& now) { return next(gates, now, v); });
}

Tensor GRU::forward(const Tensor& x, const View& v) const {
    return forward(x, zero_state("nn::GRU", x, hidden()), v);
}

std::unique_ptr<Module> GRU::clone() const {
    auto copy = std::make_unique<GRU>(inputs(), hidden());
    copy->copy_from(*this);
    return copy;
}

}  // namespace eggroll::nn
