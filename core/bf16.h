// SPDX-License-Identifier: MIT
#pragma once

// bfloat16, the upper half of a float; for host and device.

#include <bit>
#include <cstdint>

namespace eggroll::detail {

/// To the nearest, ties to the one with an even last bit; what is above the largest finite number
/// by half a step or more is infinite. A NaN stays one, with the upper bits of its payload.
constexpr uint16_t rounded_bf16(float value) {
    const auto bits = std::bit_cast<uint32_t>(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>(bits >> 16 | 0x40u);
    return static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

constexpr float widened_bf16(uint16_t bits) {
    return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

}  // namespace eggroll::detail
