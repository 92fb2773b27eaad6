// SPDX-License-Identifier: MIT
#pragma once

#include <eggroll/init.h>

namespace eggroll::nn {

/// x/√(mean(x²) + eps) · gain over the last axis (Zhang & Sennrich 2019). x (...,n) -> (...,n);
/// "weight" (n) of ones.
class EGGROLL_API RMSNorm : public Module {
public:
    explicit RMSNorm(int64_t n, float eps = 1e-6f);

    Tensor forward(const Tensor& x, const View& v) const override;
    std::unique_ptr<Module> clone() const override;

private:
    Tensor weight_;
    float eps_;
};

}  // namespace eggroll::nn
