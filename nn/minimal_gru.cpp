// SPDX-License-Identifier: MIT
#include <eggroll/minimal_gru.h>

#include "nn/recurrent.h"

namespace eggroll::nn {

MinimalGRU::MinimalGRU(int64_t inputs, int64_t hidden) {
    if (inputs < 1 || hidden < 1) {
        throw Error("[nn::MinimalGRU] sizes must be positive but are inputs " +
                    std::to_string(inputs) + ", hidden " + std::to_string(hidden));
    }
    const Initializer init = init::fan_in_uniform(hidden);
    weight_ih_ = register_parameter("weight_ih_l0", {2 * hidden, inputs}, init);
    weight_hf_ = register_parameter("weight_hf_l0", {hidden, hidden}, init);
    weight_hh_ = register_parameter("weight_hh_l0", {hidden, hidden}, init);
    bias_ = register_parameter("bias_l0", {2 * hidden}, init);
}

Tensor MinimalGRU::next(const Tensor& gates, const Tensor& h, const View& v) const {
    const Tensor f = sigmoid(gate(gates, 0, hidden()) + linear(h, weight_hf_, Tensor(), v));
    const Tensor n = tanh(gate(gates, 1, hidden()) + linear(f * h, weight_hh_, Tensor(), v));
    return h + f * (n - h);
}

Tensor MinimalGRU::step(const Tensor& x, const Tensor& h, const View& v) const {
    require_state("nn::MinimalGRU", x, h, hidden());
    return next(linear(x, weight_ih_, bias_, v), h, v);
}

Tensor MinimalGRU::forward(const Tensor& x, const Tensor& h, const View& v) const {
    require_sequence("nn::MinimalGRU", x, h, hidden());
    return over_steps(linear(x, weight_ih_, bias_, v), h,
                      [&](const Tensor& gates, const Tensor& now) { return next(gates, now, v); });
}

Tensor MinimalGRU::forward(const Tensor& x, const View& v) const {
    return forward(x, zero_state("nn::MinimalGRU", x, hidden()), v);
}

std::unique_ptr<Module> MinimalGRU::clone() const {
    auto copy = std::make_unique<MinimalGRU>(inputs(), hidden());
    copy->copy_from(*this);
    return copy;
}

}  // namespace eggroll::nn
