// SPDX-License-Identifier: MIT
#pragma once

// Activations, float or bfloat16, by fours: a block of noise is four normals, and four bfloat16 of
// each thread of a warp are 256 bytes in a row, whole sectors as with float.

#include "core/bf16.h"
#include "cuda/noise.h"

#include <cuda_bf16.h>

namespace eggroll::cuda {

/// Rows of n elements.
struct Source {
    const void* data;
    bool bf16;
    bool aligned;  // every row can be read by fours

    /// Elements at..at+3, of which `left` are there; the others are 0.
    __device__ float4 quad(int64_t at, int64_t left) const {
        if (!bf16) return load_quad(static_cast<const float*>(data) + at, left, aligned);
        const auto* x = static_cast<const uint16_t*>(data) + at;
        if (aligned) {
            const uint2 v = *reinterpret_cast<const uint2*>(x);
            return make_float4(__uint_as_float(v.x << 16), __uint_as_float(v.x & 0xffff0000u),
                               __uint_as_float(v.y << 16), __uint_as_float(v.y & 0xffff0000u));
        }
        return make_float4(widened_bf16(x[0]), left > 1 ? widened_bf16(x[1]) : 0.0f,
                           left > 2 ? widened_bf16(x[2]) : 0.0f,
                           left > 3 ? widened_bf16(x[3]) : 0.0f);
    }
};

struct Target {
    void* data;
    bool bf16;
    bool aligned;

    __device__ void put_quad(int64_t at, float4 v, int64_t left) const {
        if (!bf16) return store_quad(static_cast<float*>(data) + at, v, left, aligned);
        const __nv_bfloat162 low = __floats2bfloat162_rn(v.x, v.y);
        const __nv_bfloat162 high = __floats2bfloat162_rn(v.z, v.w);
        auto* y = static_cast<__nv_bfloat16*>(data) + at;
        if (aligned) {
            uint2 both;
            static_assert(sizeof(low) == sizeof(both.x));
            memcpy(&both.x, &low, sizeof(low));
            memcpy(&both.y, &high, sizeof(high));
            *reinterpret_cast<uint2*>(y) = both;
            return;
        }
        y[0] = low.x;
        if (left > 1) y[1] = low.y;
        if (left > 2) y[2] = high.x;
        if (left > 3) y[3] = high.y;
    }
};

/// Whether every row of n elements can be read by fours.
inline bool rows_in_quads(const void* data, bool bf16, int64_t n) {
    return n % 4 == 0 && reinterpret_cast<uintptr_t>(data) % (bf16 ? 8 : 16) == 0;
}
inline Source source_of(const void* data, bool bf16, int64_t n) {
    return {data, bf16, rows_in_quads(data, bf16, n)};
}
inline Target target_of(void* data, bool bf16, int64_t n) {
    return {data, bf16, rows_in_quads(data, bf16, n)};
}

}  // namespace eggroll::cuda
