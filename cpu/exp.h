// SPDX-License-Identifier: MIT
#pragma once

#include "cpu/isa.h"

#include <cstdint>
#include <cstring>

namespace eggroll::EGGROLL_CPU_NS {

/// Rounded once where the processor can, else twice: a call for each would keep loops from
/// vectorising.
static inline float multiply_add(float a, float b, float c) {
#ifdef __FMA__
    return __builtin_fmaf(a, b, c);
#else
    return a * b + c;
#endif
}

/// eʳ within 1 ulp for |r| <= ln2/2.
static inline float exp_near_zero(float r) {
    float p = 1.0f / 5040;  // Taylor: the next term is below 6e-9
    p = multiply_add(p, r, 1.0f / 720);
    p = multiply_add(p, r, 1.0f / 120);
    p = multiply_add(p, r, 1.0f / 24);
    p = multiply_add(p, r, 1.0f / 6);
    p = multiply_add(p, r, 0.5f);
    return multiply_add(p * r, r, r) + 1.0f;
}

/// eˣ within 1.1 ulp where the result is normal, +inf above 88.73, 0
/// below -104; NaN stays NaN. Plain operations, so that loops over it vectorise.
static inline float exp_of(float x) {
    constexpr float kRound = 12582912.0f;  // 1.5·2²³: adding it rounds to an integer
    x = x < -104.0f ? -104.0f : x;         // NaN fails both comparisons
    x = x > 89.0f ? 89.0f : x;
    const float shifted = multiply_add(x, 1.44269504f, kRound);
    const float n = shifted - kRound;
    float r = multiply_add(n, -0.693145752f, x);  // ln 2 in two parts, the first exact in n
    r = multiply_add(n, -1.42860677e-6f, r);
    const float p = exp_near_zero(r);
    // 2ⁿ in two factors, each a normal number, so that overflow and underflow happen by themselves.
    uint32_t bits;
    std::memcpy(&bits, &shifted, sizeof bits);
    const int32_t exponent = static_cast<int32_t>(bits - 0x4B400000u);
    const int32_t half = exponent >> 1;
    const uint32_t low = static_cast<uint32_t>(half + 127) << 23;
    const uint32_t high = static_cast<uint32_t>(exponent - half + 127) << 23;
    float a, b;
    std::memcpy(&a, &low, sizeof a);
    std::memcpy(&b, &high, sizeof b);
    return p * a * b;
}

/// eˣ for x <= 0 within 1.1 ulp, but at least 2^-125: what a sum that has a 1 in it takes. NaN
/// stays NaN. Two thirds of the operations.
static inline float exp_in_sum(float x) {
    constexpr float kRound =
        12582912.0f + 127;  // puts n + 127, the exponent of 2ⁿ, in the low bits
    x = x < -86.6f ? -86.6f : x;
    const float shifted = multiply_add(x, 1.44269504f, kRound);
    const float n = shifted - kRound;
    float r = multiply_add(n, -0.693145752f, x);
    r = multiply_add(n, -1.42860677e-6f, r);
    uint32_t bits;
    std::memcpy(&bits, &shifted, sizeof bits);
    bits <<= 23;
    float power;
    std::memcpy(&power, &bits, sizeof power);
    return exp_near_zero(r) * power;
}

}  // namespace eggroll::EGGROLL_CPU_NS
