// SPDX-License-Identifier: MIT
#pragma once

// Noise in registers, from core/noise_math.h.

#include "core/backend.h"
#include "core/noise_math.h"

namespace eggroll::cuda {

using namespace eggroll::detail;

/// The stream of one parameter for a pair of the generation under way.
__device__ inline NoiseStream stream_of(const GenerationBlock& block, uint32_t parameter,
                                        int64_t pair) {
    return {block.seed, parameter, static_cast<uint32_t>(pair), block.noise_generation};
}

/// The four normals of a block.
__device__ inline void draw_block(const NoiseStream& s, uint32_t block, float out[4]) {
    uint32_t words[4];
    block_words(s.seed, block, s.parameter, s.pair, s.generation, words);
    normal4(words, out);
}

/// Elements first..first+N-1 of a stream.
template <int N>
__device__ inline void draw_run(const NoiseStream& s, uint64_t first, float (&out)[N]) {
    constexpr int kBlocks = (N + 2) / 4 + 1;
    float drawn[4 * kBlocks + 3] = {};
    const int skip = static_cast<int>(first % 4);
#pragma unroll
    for (int i = 0; i < kBlocks; ++i) {
        if (4 * i < skip + N) {
            draw_block(s, static_cast<uint32_t>(first / 4) + static_cast<uint32_t>(i),
                       drawn + 4 * i);
        }
    }
#pragma unroll
    for (int i = 0; i < N; ++i) {
        out[i] = skip == 0   ? drawn[i]
                 : skip == 1 ? drawn[i + 1]
                 : skip == 2 ? drawn[i + 2]
                             : drawn[i + 3];
    }
}

/// Columns k0..k0+K-1 of rows row..row+3 of a factor (n,rank) that begins at element `base` of its
/// stream; `row` is a multiple of 4. Whole: K is the rank. Columns past the rank are zeros; rows
/// past the last hold numbers of no meaning.
template <int K, bool kWhole>
__device__ inline void draw_rows(const NoiseStream& s, uint64_t base, int64_t row, int rank, int k0,
                                 float (&out)[4][K]) {
    if constexpr (kWhole) {
        const auto block = static_cast<uint32_t>((base + static_cast<uint64_t>(row) * K) / 4);
#pragma unroll
        for (int q = 0; q < K; ++q) {
            float drawn[4];
            draw_block(s, block + static_cast<uint32_t>(q), drawn);
#pragma unroll
            for (int i = 0; i < 4; ++i) out[(4 * q + i) / K][(4 * q + i) % K] = drawn[i];
        }
    } else {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            draw_run<K>(s,
                        base + static_cast<uint64_t>(row + i) * static_cast<uint64_t>(rank) +
                            static_cast<uint64_t>(k0),
                        out[i]);
#pragma unroll
            for (int k = 0; k < K; ++k) out[i][k] = k0 + k < rank ? out[i][k] : 0.0f;
        }
    }
}

/// Four neighbours, of which `left` are there; `aligned`: all of them are, on 16 bytes.
__device__ inline float4 load_quad(const float* x, int64_t left, bool aligned) {
    if (aligned) return *reinterpret_cast<const float4*>(x);
    return make_float4(x[0], left > 1 ? x[1] : 0.0f, left > 2 ? x[2] : 0.0f,
                       left > 3 ? x[3] : 0.0f);
}
__device__ inline void store_quad(float* y, float4 v, int64_t left, bool aligned) {
    if (aligned) {
        *reinterpret_cast<float4*>(y) = v;
        return;
    }
    y[0] = v.x;
    if (left > 1) y[1] = v.y;
    if (left > 2) y[2] = v.z;
    if (left > 3) y[3] = v.w;
}

}  // namespace eggroll::cuda
