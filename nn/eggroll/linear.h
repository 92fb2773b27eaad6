// SPDX-License-Identifier: MIT
#pragma once

#include <eggroll/init.h>

namespace eggroll::nn {

/// y = x Wᵀ + b. x (...,I) -> (...,O); "weight" (O,I), "bias" (O), drawn uniformly within ±1/√I as
/// PyTorch draws them.
class EGGROLL_API Linear : public Module {
public:
    Linear(int64_t inputs, int64_t outputs, bool bias = true);

    int64_t inputs() const { return weight_.dim(1); }
    int64_t outputs() const { return weight_.dim(0); }
    const Tensor& weight() const { return weight_; }
    const Tensor& bias() const { return bias_; }

    Tensor forward(const Tensor& x, const View& v) const override;
    Tensor forward_then(const Tensor& x, const View& v, Act act) const override;
    std::unique_ptr<Module> clone() const override;

private:
    Tensor weight_, bias_;
};

}  // namespace eggroll::nn
