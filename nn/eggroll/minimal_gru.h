// SPDX-License-Identifier: MIT
#pragma once

#include <eggroll/init.h>

namespace eggroll::nn {

/// Minimal gated unit with one gate (Zhou et al. 2016; MGU of Heck & Salem 2017):
///
///     f = σ(W_f x + U_f h + b_f)      ĥ = tanh(W_h x + U_h (f∘h) + b_h)      h' = (1 − f)∘h + f∘ĥ
///
/// "weight_ih_l0" (2H,I) and "bias_l0" (2H) hold the rows of f, then of ĥ; "weight_hf_l0" (H,H) is
/// U_f and "weight_hh_l0" (H,H) is U_h, two parameters because they see different inputs. All
/// are drawn uniformly within ±1/√H. State and axes as in `GRU`.
class EGGROLL_API MinimalGRU : public Module {
public:
    MinimalGRU(int64_t inputs, int64_t hidden);

    int64_t inputs() const { return weight_ih_.dim(1); }
    int64_t hidden() const { return weight_hh_.dim(1); }

    /// x (...,I), h (...,H) -> the next h.
    Tensor step(const Tensor& x, const Tensor& h, const View& v) const;

    /// x (B,S,I), h (B,H) before the first step -> h after each (B,S,H).
    Tensor forward(const Tensor& x, const Tensor& h, const View& v) const;
    /// The same from a state of zeros.
    Tensor forward(const Tensor& x, const View& v) const override;
    std::unique_ptr<Module> clone() const override;

private:
    /// gates (...,2H) of x: W x + b.
    Tensor next(const Tensor& gates, const Tensor& h, const View& v) const;

    Tensor weight_ih_, weight_hf_, weight_hh_, bias_;
};

}  // namespace eggroll::nn
