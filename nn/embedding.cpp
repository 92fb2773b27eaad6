// SPDX-License-Identifier: MIT
#include <eggroll/embedding.h>

namespace eggroll::nn {

Embedding::Embedding(int64_t count, int64_t width) {
    if (count < 1 || width < 1) {
        throw Error("[nn::Embedding] sizes must be positive but are count " +
                    std::to_string(count) + ", width " + std::to_string(width));
    }
    weight_ = register_parameter("weight", {count, width}, init::normal(1.0f));
}

Tensor Embedding::forward(const Tensor& ids, const View& v) const {
    return embedding(ids, weight_, v);
}

std::unique_ptr<Module> Embedding::clone() const {
    auto copy = std::make_unique<Embedding>(weight_.dim(0), weight_.dim(1));
    copy->copy_from(*this);
    return copy;
}

}  // namespace eggroll::nn
