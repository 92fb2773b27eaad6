// SPDX-License-Identifier: MIT
#pragma once

#include <eggroll/module.h>

namespace eggroll::nn {

/// (B,...) -> (B,n), n the product of the rest; a per-member (V,B,...) -> (V,B,n).
class EGGROLL_API Flatten : public Module {
public:
    Tensor forward(const Tensor& x, const View&) const override {
        const Shape part = x.part_shape();
        return part.size() < 2 ? x : reshape(x, {part[0], -1});
    }
    std::unique_ptr<Module> clone() const override { return std::make_unique<Flatten>(); }
};

}  // namespace eggroll::nn
