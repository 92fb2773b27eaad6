// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace eggroll::detail {

/// CRC-32C (Castagnoli, RFC 3720): of "123456789" it is 0xE3069283. Finds every error of one bit,
/// and every burst of up to 32. `before` is the value of what came before, 0 at first.
uint32_t crc32c(std::span<const std::byte> bytes, uint32_t before = 0);

}  // namespace eggroll::detail
