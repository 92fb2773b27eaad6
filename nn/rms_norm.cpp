// SPDX-License-Identifier: MIT
#include <eggroll/rms_norm.h>

#include "core/text.h"

namespace eggroll::nn {

RMSNorm::RMSNorm(int64_t n, float eps) : eps_(eps) {
    if (n < 1 || !(eps > 0.0f)) {
        throw Error("[nn::RMSNorm] n and eps must be positive but are " + std::to_string(n) +
                    " and " + detail::number(eps));
    }
    weight_ = register_parameter("weight", {n}, init::ones());
}

Tensor RMSNorm::forward(const Tensor& x, const View& v) const {
    return rms_norm(x, weight_, v, eps_);
}

std::unique_ptr<Module> RMSNorm::clone() const {
    auto copy = std::make_unique<RMSNorm>(weight_.size(), eps_);
    copy->copy_from(*this);
    return copy;
}

}  // namespace eggroll::nn
