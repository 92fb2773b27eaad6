// SPDX-License-Identifier: MIT
#pragma once

#include <eggroll/module.h>

namespace eggroll::nn {

/// exp(x)/Σ exp(x) over the last axis.
class EGGROLL_API Softmax : public Module {
public:
    Tensor forward(const Tensor& x, const View&) const override { return softmax(x); }
    std::unique_ptr<Module> clone() const override { return std::make_unique<Softmax>(); }
};

}  // namespace eggroll::nn
