// SPDX-License-Identifier: MIT
#pragma once

#include <nlohmann/json.hpp>

#include <iostream>

namespace examples {

/// Prints the result of a run as one line of JSON, the last of the output.
inline void print_json(const nlohmann::ordered_json& result) {
    std::cout << result.dump() << std::endl;
}

}  // namespace examples
