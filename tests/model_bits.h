// SPDX-License-Identifier: MIT
#pragma once

#include <eggroll/module.h>

#include <functional>
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

/// What Error says; empty when nothing is thrown.
inline std::string error_of(const std::function<void()>& f) {
    try {
        f();
    } catch (const Error& e) {
        return e.what();
    }
    return "";
}

}  // namespace eggroll::test
