// SPDX-License-Identifier: MIT
#pragma once

#include "core/fixed_order.h"
#include "cpu/isa.h"

#include <cstdint>

namespace eggroll::EGGROLL_CPU_NS {

/// Sum of f(i), i in first..last-1, in double and in the order of core/fixed_order.h.
template <int kLanes = detail::kFitnessLanes, class F>
double sum_of(int64_t first, int64_t last, F f) {
    double lane[kLanes] = {};
    int64_t i = first;
    for (; i + kLanes <= last; i += kLanes) {
        for (int l = 0; l < kLanes; ++l) lane[l] += f(i + l);
    }
    for (int l = 0; i < last; ++i, ++l) lane[l] += f(i);
    for (int half = kLanes / 2; half > 0; half /= 2) {
        for (int l = 0; l < half; ++l) lane[l] += lane[l + half];
    }
    return lane[0];
}

}  // namespace eggroll::EGGROLL_CPU_NS
