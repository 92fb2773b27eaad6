// SPDX-License-Identifier: MIT
#pragma once

#include <eggroll/module.h>

namespace eggroll::nn {

/// An activation as a layer; `Sequential` folds it into the layer before it.
template <Act act>
class Activation : public Module {
public:
    Tensor forward(const Tensor& x, const View&) const override { return activate(x, act); }
    Act activation() const override { return act; }
    std::unique_ptr<Module> clone() const override { return std::make_unique<Activation>(); }
};

using ReLU = Activation<Act::relu>;
using Tanh = Activation<Act::tanh>;
using Sigmoid = Activation<Act::sigmoid>;
/// x Φ(x), the exact form.
using GELU = Activation<Act::gelu>;
/// x sigmoid(x).
using SiLU = Activation<Act::silu>;

}  // namespace eggroll::nn
