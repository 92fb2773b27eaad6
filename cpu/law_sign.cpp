// SPDX-License-Identifier: MIT
// Factors of +1 and −1, 32 to a word. All else is as with normals.
#include "core/noise_math.h"
#include "cpu/laws.h"
#include "cpu/memory.h"
#include "cpu/noise.h"

#include <algorithm>

namespace eggroll::EGGROLL_CPU_NS {

void fill_sign_factors(const NoiseStream& stream, uint32_t pair_count, uint64_t first, int64_t n,
                       int64_t rank, float* out, int64_t stride) {
    const int64_t words = (n * rank + 31) / 32;
    cpu::ScratchOf<uint32_t> memory(words);
    uint32_t* bits = memory.data();
    NoiseStream s = stream;
    for (uint32_t i = 0; i < pair_count; ++i, ++s.pair, out += rank * stride) {
        fill_words(s, first / 32, bits, words);
        if (rank == 1) {
            for (int64_t row = 0; row < n; row += 32) {
                const uint32_t word = bits[row / 32];
                const auto count = static_cast<uint32_t>(std::min<int64_t>(32, n - row));
                for (uint32_t b = 0; b < count; ++b) out[row + b] = sign_of_bit(word, b);
            }
            continue;
        }
        for (int64_t k = 0; k < rank; ++k) {
            float* to = out + k * stride;
            for (int64_t row = 0; row < n; ++row) {
                const auto e = static_cast<uint64_t>(row * rank + k);
                to[row] = sign_of_bit(bits[e / 32], static_cast<uint32_t>(e % 32));
            }
        }
    }
}

void fill_sign_row(const NoiseStream& stream, uint64_t first, int64_t row, int64_t rank,
                   float* out) {
    const uint64_t begin = first + static_cast<uint64_t>(row * rank);
    uint32_t word = 0;
    for (int64_t k = 0; k < rank; ++k) {
        const uint64_t e = begin + static_cast<uint64_t>(k);
        if (k == 0 || e % 32 == 0) fill_words(stream, e / 32, &word, 1);
        out[k] = sign_of_bit(word, static_cast<uint32_t>(e % 32));
    }
}

}  // namespace eggroll::EGGROLL_CPU_NS
