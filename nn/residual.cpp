// SPDX-License-Identifier: MIT
#include <eggroll/residual.h>

namespace eggroll::nn {

Residual::Residual(std::unique_ptr<Module> layer) : inner_(std::move(layer)) {
    if (!inner_) throw Error("[nn::Residual] the layer is null");
    register_module("inner", *inner_);
}

Tensor Residual::forward(const Tensor& x, const View& v) const {
    const Tensor y = inner_->forward(x, v);
    if (y.part_shape() != x.part_shape()) {
        throw Error("[nn::Residual] x is " + to_string(x.part_shape()) +
                    " but the layer returned " + to_string(y.part_shape()));
    }
    return x + y;
}

std::unique_ptr<Module> Residual::clone() const {
    auto copy = std::make_unique<Residual>(inner_->clone());
    copy->copy_from(*this);
    return copy;
}

}  // namespace eggroll::nn
