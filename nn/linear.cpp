// SPDX-License-Identifier: MIT
#include <eggroll/linear.h>

namespace eggroll::nn {

Linear::Linear(int64_t inputs, int64_t outputs, bool bias) {
    if (inputs < 1 || outputs < 1) {
        throw Error("[nn::Linear] sizes must be positive but are inputs " + std::to_string(inputs) +
                    ", outputs " + std::to_string(outputs));
    }
    weight_ = register_parameter("weight", {outputs, inputs}, init::fan_in_uniform(inputs));
    if (bias) bias_ = register_parameter("bias", {outputs}, init::fan_in_uniform(inputs));
}

Tensor Linear::forward(const Tensor& x, const View& v) const {
    return linear(x, weight_, bias_, v);
}

Tensor Linear::forward_then(const Tensor& x, const View& v, Act act) const {
    return linear(x, weight_, bias_, v, act);
}

std::unique_ptr<Module> Linear::clone() const {
    auto copy = std::make_unique<Linear>(inputs(), outputs(), bias_.size() > 0);
    copy->copy_from(*this);
    return copy;
}

}  // namespace eggroll::nn
