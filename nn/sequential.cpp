// SPDX-License-Identifier: MIT
#include <eggroll/sequential.h>

namespace eggroll::nn {

Sequential::Sequential(std::vector<std::unique_ptr<Module>> layers) {
    for (std::unique_ptr<Module>& layer : layers) append(std::move(layer));
}

void Sequential::append(std::unique_ptr<Module> layer) {
    if (!layer) throw Error("[nn::Sequential] layer " + std::to_string(size()) + " is null");
    register_module(std::to_string(size()), *layer);
    layers_.push_back(std::move(layer));
}

const Module& Sequential::operator[](size_t index) const {
    if (index >= size()) {
        throw Error("[nn::Sequential] layer " + std::to_string(index) + " of " +
                    std::to_string(size()));
    }
    return *layers_[index];
}

Tensor Sequential::forward(const Tensor& x, const View& v) const {
    Tensor y = x;
    for (size_t i = 0; i < layers_.size(); ++i) {
        const Act next = i + 1 < layers_.size() ? layers_[i + 1]->activation() : Act::none;
        if (next == Act::none) {
            y = layers_[i]->forward(y, v);
        } else {
            y = layers_[i]->forward_then(y, v, next);
            ++i;  // done with the layer
        }
    }
    return y;
}

std::unique_ptr<Module> Sequential::clone() const {
    std::vector<std::unique_ptr<Module>> layers;
    for (const std::unique_ptr<Module>& layer : layers_) layers.push_back(layer->clone());
    auto copy = std::make_unique<Sequential>(std::move(layers));
    copy->copy_from(*this);
    return copy;
}

}  // namespace eggroll::nn
