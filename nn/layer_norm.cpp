// SPDX-License-Identifier: MIT
#include <eggroll/layer_norm.h>

#include "core/text.h"

namespace eggroll::nn {

LayerNorm::LayerNorm(int64_t n, float eps) : eps_(eps) {
    if (n < 1 || !(eps > 0.0f)) {
        throw Error("[nn::LayerNorm] n and eps must be positive but are " + std::to_string(n) +
                    " and " + detail::number(eps));
    }
    weight_ = register_parameter("weight", {n}, init::ones());
    bias_ = register_parameter("bias", {n}, init::zeros());
}

Tensor LayerNorm::forward(const Tensor& x, const View& v) const {
    return layer_norm(x, weight_, bias_, v, eps_);
}

std::unique_ptr<Module> LayerNorm::clone() const {
    auto copy = std::make_unique<LayerNorm>(weight_.size(), eps_);
    copy->copy_from(*this);
    return copy;
}

}  // namespace eggroll::nn
