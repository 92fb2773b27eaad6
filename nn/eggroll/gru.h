// SPDX-License-Identifier: MIT
#pragma once

#include <eggroll/init.h>

namespace eggroll::nn {

/// Gated recurrent unit (Cho et al. 2014) with PyTorch's formula, parameter names and order of
/// gates:
///
///     r = σ(W_ir x + b_ir + W_hr h + b_hr)      z = σ(W_iz x + b_iz + W_hz h + b_hz)
///     n = tanh(W_in x + b_in + r∘(W_hn h + b_hn))        h' = (1 − z)∘n + z∘h
///
/// "weight_ih_l0" (3H,I), "weight_hh_l0" (3H,H), "bias_ih_l0" (3H), "bias_hh_l0" (3H), rows of r, z
/// and n in this order, all drawn uniformly within ±1/√H.
///
/// The state is the caller's: `step` takes one and gives the next, as an agent in an environment
/// wants it. Over sequences the batch comes first and steps second (PyTorch's batch_first).
class EGGROLL_API GRU : public Module {
public:
    GRU(int64_t inputs, int64_t hidden);

    int64_t inputs() const { return weight_ih_.dim(1); }
    int64_t hidden() const { return weight_hh_.dim(1); }

    /// x (...,I), h (...,H) -> the next h. Members' own once v means members, whatever h was; the
    /// first state may be shared: `Tensor::zeros({batch, hidden})`.
    Tensor step(const Tensor& x, const Tensor& h, const View& v) const;

    /// x (B,S,I), h (B,H) before the first step -> h after each (B,S,H).
    Tensor forward(const Tensor& x, const Tensor& h, const View& v) const;
    /// The same from a state of zeros.
    Tensor forward(const Tensor& x, const View& v) const override;
    std::unique_ptr<Module> clone() const override;

private:
    /// gates (...,3H) of x: W_i x + b_i.
    Tensor next(const Tensor& gates, const Tensor& h, const View& v) const;

    Tensor weight_ih_, weight_hh_, bias_ih_, bias_hh_;
};

}  // namespace eggroll::nn
