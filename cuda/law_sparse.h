// SPDX-License-Identifier: MIT
#pragma once

#include "cuda/noise.h"

namespace eggroll::cuda {

/// Four terms of a pair's sparse noise.
struct SparseQuad {
    float value[4];
    int64_t place[4];
};

/// Terms i..i+3, i a multiple of 4, of `entries` among n places; those past the last mean nothing.
__device__ inline void draw_sparse(const NoiseStream& s, int64_t entries, int64_t n, int64_t i,
                                   SparseQuad& out) {
    draw_block(s, static_cast<uint32_t>(i / 4), out.value);
    const uint64_t first = offset_of_places(entries) + 2 * static_cast<uint64_t>(i);
#pragma unroll
    for (uint32_t half = 0; half < 2; ++half) {
        uint32_t words[4];
        block_words(s.seed, static_cast<uint32_t>(first / 4) + half, s.parameter, s.pair,
                    s.generation, words);
        const auto size = static_cast<uint64_t>(n);
        out.place[2 * half] = static_cast<int64_t>(place_of(words[0], words[1], size));
        out.place[2 * half + 1] = static_cast<int64_t>(place_of(words[2], words[3], size));
    }
}

}  // namespace eggroll::cuda
