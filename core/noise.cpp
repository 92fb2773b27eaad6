// SPDX-License-Identifier: MIT

#include "core/backend.h"
#include "core/noise_math.h"

#include <eggroll/error.h>
#include <eggroll/noise.h>

#include <algorithm>
#include <iterator>
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

void fill_signs(const NoiseStream& stream, uint64_t first, std::span<float> out) {
    constexpr uint64_t kPerWord = 32;
    constexpr uint64_t kSigns = detail::kStreamElements * kPerWord;
    if (out.size() > kSigns || first > kSigns - out.size()) {
        throw Error("[fill_signs] first + size is past the " + std::to_string(kSigns) +
                    " signs of a stream: " + std::to_string(first) + " + " +
                    std::to_string(out.size()));
    }
    uint32_t words[64];
    for (uint64_t i = 0; i < out.size();) {
        // A whole number of words at a time.
        const uint64_t bit = (first + i) % kPerWord;
        const uint64_t count =
            std::min<uint64_t>(out.size() - i, std::size(words) * kPerWord - bit);
        fill_words(stream, (first + i) / kPerWord,
                   std::span(words).first((bit + count + kPerWord - 1) / kPerWord));
        for (uint64_t k = 0; k < count; ++k, ++i) {
            out[i] = detail::sign_of_bit(words[(bit + k) / kPerWord],
                                         static_cast<uint32_t>((bit + k) % kPerWord));
        }
    }
}

}  // namespace eggroll
