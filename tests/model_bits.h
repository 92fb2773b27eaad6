// SPDX-License-Identifier: MIT
#pragma once

#include <eggroll/module.h>

#include <string>

namespace eggroll::test {

/// All values of a model, bit for bit, to compare with ==.
inline std::string bits(const nn::Module& model) {
    std::string result;
    for (const Parameter& parameter : model.parameters()) {
        const Tensor value = parameter.value.to(Device::cpu());
        const auto bytes = std::as_bytes(value.data());
        result.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    }
    return result;
}

}  // namespace eggroll::test
