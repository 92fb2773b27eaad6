// SPDX-License-Identifier: MIT
#pragma once

#include <eggroll/init.h>

namespace eggroll::nn {

struct Conv2dOptions {
    Size2 stride = 1, padding = 0;  // (down, across); padding is of zeros
    bool bias = true;
};

/// x (...,C,H,W) -> (...,O,Ho,Wo), Ho = (H + 2·padding − kh)/stride + 1 and likewise Wo. "weight"
/// (O,C,kh,kw), "bias" (O), drawn uniformly within ±1/√(C·kh·kw) as PyTorch draws them. The noise
/// of the weight is that of the matrix (O,C·kh·kw): of low rank on the unfolded kernel.
class EGGROLL_API Conv2d : public Module {
public:
    /// `Conv2d(3, 8, 3, {.stride = 2, .padding = 1})`, `Conv2d(3, 8, {1, 5})`.
    Conv2d(int64_t channels, int64_t outputs, Size2 kernel, const Conv2dOptions& options = {});

    const Tensor& weight() const { return weight_; }
    const Tensor& bias() const { return bias_; }

    Tensor forward(const Tensor& x, const View& v) const override;
    Tensor forward_then(const Tensor& x, const View& v, Act act) const override;
    std::unique_ptr<Module> clone() const override;

private:
    Tensor weight_, bias_;
    Conv2dOptions options_;
};

}  // namespace eggroll::nn
