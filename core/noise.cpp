// SPDX-License-Identifier: MIT

#include "core/backend.h"
#include "core/noise_math.h"

#include <eggroll/error.h>
#include <eggroll/noise.h>

#include <string>

namespace eggroll {

namespace {

// Blocks are counted by one 32-bit word.
void check_range(const char* caller, uint64_t first, uint64_t size) {
    if (size <= detail::kStreamElements && first <= detail::kStreamElements - size) return;
    const uint64_t end = first + size;
    throw Error("[" + std::string(caller) + "] first + size is " +
                (end < first ? "over " + std::to_string(UINT64_MAX) : std::to_string(end)) +
                " but a stream has " + std::to_string(detail::kStreamElements) + " elements");
}

}  // namespace

std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
    detail::philox_words(counter.data(), key[0], key[1]);
    return counter;
}

void fill_words(const NoiseStream& stream, uint64_t first, std::span<uint32_t> out) {
    check_range("fill_words", first, out.size());
    detail::cpu_backend().fill_words(stream, first, out.data(), static_cast<int64_t>(out.size()));
}

void fill_normal(const NoiseStream& stream, uint64_t first, std::span<float> out) {
    check_range("fill_normal", first, out.size());
    detail::cpu_backend().fill_normal(stream, first, out.data(), static_cast<int64_t>(out.size()));
}

}  // namespace eggroll
