// SPDX-License-Identifier: MIT
#pragma once

#include <eggroll/init.h>

namespace eggroll::nn {

/// Normalises the last axis to mean 0 and variance 1, then gain and bias (Ba et al. 2016).
/// x (...,n) -> (...,n); "weight" (n) of ones and "bias" (n) of zeros, as PyTorch names them.
class EGGROLL_API LayerNorm : public Module {
public:
    explicit LayerNorm(int64_t n, float eps = 1e-5f);

    Tensor forward(const Tensor& x, const View& v) const override;
    std::unique_ptr<Module> clone() const override;

private:
    Tensor weight_, bias_;
    float eps_;
};

}  // namespace eggroll::nn
