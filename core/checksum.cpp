// SPDX-License-Identifier: MIT
#include "core/checksum.h"

#include <array>
#include <cstring>

namespace eggroll::detail {

namespace {

constexpr uint32_t kPolynomial = 0x82F63B78;  // 0x1EDC6F41 with its bits reversed
constexpr size_t kSlices = 8;

/// tables[k][b]: what byte b does to the remainder when k more bytes follow it.
using Tables = std::array<std::array<uint32_t, 256>, kSlices>;

constexpr Tables make_tables() {
    Tables tables{};
    for (uint32_t b = 0; b < 256; ++b) {
        uint32_t rest = b;
        for (int bit = 0; bit < 8; ++bit) rest = (rest >> 1) ^ (rest & 1 ? kPolynomial : 0);
        tables[0][b] = rest;
    }
    for (size_t k = 1; k < kSlices; ++k) {
        for (size_t b = 0; b < 256; ++b) {
            const uint32_t shorter = tables[k - 1][b];
            tables[k][b] = (shorter >> 8) ^ tables[0][shorter & 0xFF];
        }
    }
    return tables;
}

constexpr Tables kTables = make_tables();

}  // namespace

uint32_t crc32c(std::span<const std::byte> bytes, uint32_t before) {
    uint32_t rest = ~before;
    for (; bytes.size() >= kSlices; bytes = bytes.subspan(kSlices)) {
        // Eight bytes at a time, little-endian as the files are.
        uint64_t word = 0;
        std::memcpy(&word, bytes.data(), sizeof word);
        word ^= rest;
        rest = 0;
        for (size_t k = 0; k < kSlices; ++k) {
            rest ^= kTables[kSlices - 1 - k][(word >> (8 * k)) & 0xFF];
        }
    }
    for (const std::byte b : bytes) {
        rest = (rest >> 8) ^ kTables[0][(rest ^ static_cast<uint32_t>(b)) & 0xFF];
    }
    return ~rest;
}

}  // namespace eggroll::detail
