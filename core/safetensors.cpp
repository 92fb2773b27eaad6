// SPDX-License-Identifier: MIT
#include <eggroll/safetensors.h>

#include "core/named_tensors.h"

namespace eggroll {

using detail::NamedTensor;

namespace {

std::vector<NamedTensor> tensors_of(const nn::Module& model) {
    std::vector<NamedTensor> tensors;
    for (const Parameter& parameter : model.parameters()) {
        tensors.push_back({parameter.name, parameter.value});
    }
    return tensors;
}

}  // namespace

void save_safetensors(const std::filesystem::path& path, const nn::Module& model) {
    detail::save_tensors("save_safetensors", path, tensors_of(model));
}

void load_safetensors(const std::filesystem::path& path, nn::Module& model) {
    std::vector<NamedTensor> own = tensors_of(model);
    std::vector<Tensor> values = detail::TensorFile("load_safetensors", path).read(own);
    // All memory is had before the first parameter changes.
    for (size_t i = 0; i < own.size(); ++i) values[i] = values[i].to(own[i].value.device());
    for (size_t i = 0; i < own.size(); ++i) own[i].value.assign(values[i]);
}

}  // namespace eggroll
