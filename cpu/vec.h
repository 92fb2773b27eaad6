// SPDX-License-Identifier: MIT
#pragma once

#include "cpu/isa.h"

#include <immintrin.h>
#include <cstdint>
#include <cstring>

// The widest vector of floats of the instruction set a file is compiled for, and the register tile
// of products built on it: kTileRows × kTileCols sums held in registers.

namespace eggroll::EGGROLL_CPU_NS {

#if defined(__AVX512F__)
using Vec = __m512;
inline constexpr int kLanes = 16;
inline constexpr int kTileRows = 12;  // 24 sums, 2 loads, 1 broadcast of 32 registers
static inline Vec fma_vec(Vec a, Vec b, Vec c) {
    return _mm512_fmadd_ps(a, b, c);
}
static inline Vec set1(float x) {
    return _mm512_set1_ps(x);
}
static inline Vec load(const float* from) {
    return _mm512_loadu_ps(from);
}
static inline void store(float* to, Vec v) {
    _mm512_storeu_ps(to, v);
}
#elif defined(__AVX2__) && defined(__FMA__)
using Vec = __m256;
inline constexpr int kLanes = 8;
inline constexpr int kTileRows = 6;  // 12 sums, 2 loads, 1 broadcast of 16 registers
static inline Vec fma_vec(Vec a, Vec b, Vec c) {
    return _mm256_fmadd_ps(a, b, c);
}
static inline Vec set1(float x) {
    return _mm256_set1_ps(x);
}
static inline Vec load(const float* from) {
    return _mm256_loadu_ps(from);
}
static inline void store(float* to, Vec v) {
    _mm256_storeu_ps(to, v);
}
#else
using Vec = __m128;
inline constexpr int kLanes = 4;
inline constexpr int kTileRows = 6;
static inline Vec fma_vec(Vec a, Vec b, Vec c) {
    return _mm_add_ps(_mm_mul_ps(a, b), c);
}
static inline Vec set1(float x) {
    return _mm_set1_ps(x);
}
static inline Vec load(const float* from) {
    return _mm_loadu_ps(from);
}
static inline void store(float* to, Vec v) {
    _mm_storeu_ps(to, v);
}
#endif

inline constexpr int kTileCols = 2 * kLanes;

/// Sum of the lanes, halves added to halves.
static inline float sum_lanes(Vec v) {
    float lane[kLanes];
    store(lane, v);
    for (int half = kLanes / 2; half > 0; half /= 2) {
        for (int l = 0; l < half; ++l) lane[l] += lane[l + half];
    }
    return lane[0];
}

static inline int64_t round_up(int64_t n, int64_t multiple) {
    return (n + multiple - 1) / multiple * multiple;
}

}  // namespace eggroll::EGGROLL_CPU_NS
