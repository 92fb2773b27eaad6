// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

namespace eggroll::detail {

/// baseⁿ, n >= 0, by squaring: the same bits on every machine, which a library's pow does not
/// promise.
constexpr double power(double base, int64_t n) {
    double result = 1.0;
    for (; n > 0; n /= 2) {
        if (n % 2 == 1) result *= base;
        base *= base;
    }
    return result;
}

}  // namespace eggroll::detail
