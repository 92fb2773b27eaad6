// SPDX-License-Identifier: MIT
#pragma once

#include <cstdio>
#include <string>

namespace examples {

/// A number with so many digits after the point.
inline std::string fixed(double value, int digits) {
    char text[64];
    std::snprintf(text, sizeof text, "%.*f", digits, value);
    return text;
}

}  // namespace examples
