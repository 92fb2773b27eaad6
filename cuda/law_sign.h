// SPDX-License-Identifier: MIT
#pragma once

// Factors of +1 and −1: a bit of a word each.

#include "cuda/noise.h"

namespace eggroll::cuda {

/// Columns of factors that a thread has in registers at a time, of any rank.
inline constexpr int kSignSlab = 4;

/// Signs first..first+N-1 of a stream.
template <int N>
__device__ inline void draw_signs(const NoiseStream& s, uint64_t first, float (&out)[N]) {
    static_assert(N <= 32);
    // The bits of two words in a row, the second perhaps of the next block.
    uint32_t words[4];
    const auto block = static_cast<uint32_t>(first / kBlockSigns);
    const auto word = static_cast<uint32_t>(first % kBlockSigns / 32);
    const auto bit = static_cast<uint32_t>(first % 32);
    block_words(s.seed, block, s.parameter, s.pair, s.generation, words);
    const uint32_t low = word == 0   ? words[0]
                         : word == 1 ? words[1]
                         : word == 2 ? words[2]
                                     : words[3];
    uint32_t high = word == 0 ? words[1] : word == 1 ? words[2] : words[3];
    if (bit + N > 32 && word == 3) {
        block_words(s.seed, block + 1, s.parameter, s.pair, s.generation, words);
        high = words[0];
    }
    const uint32_t bits = __funnelshift_r(low, high, bit);
#pragma unroll
    for (int i = 0; i < N; ++i) out[i] = sign_of_bit(bits, static_cast<uint32_t>(i));
}

/// As draw_rows of any rank, of signs.
template <int K>
__device__ inline void draw_sign_rows(const NoiseStream& s, uint64_t base, int64_t row, int rank,
                                      int k0, float (&out)[4][K]) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        draw_signs(s,
                   base + static_cast<uint64_t>(row + i) * static_cast<uint64_t>(rank) +
                       static_cast<uint64_t>(k0),
                   out[i]);
#pragma unroll
        for (int k = 0; k < K; ++k) out[i][k] = k0 + k < rank ? out[i][k] : 0.0f;
    }
}

}  // namespace eggroll::cuda
