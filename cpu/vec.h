// SPDX-License-Identifier: MIT
#pragma once

#include "cpu/fma_sse2.h"
#include "cpu/isa.h"

#include <immintrin.h>
#include <cstdint>
#include <cstring>
#include <utility>

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
static inline Vec fma_exact(Vec a, Vec b, Vec c) {
    return fma_vec(a, b, c);
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
/// The larger; v where that is NaN.
static inline Vec at_least(Vec floor, Vec v) {
    return _mm512_max_ps(floor, v);
}
#elif defined(__AVX2__) && defined(__FMA__)
using Vec = __m256;
inline constexpr int kLanes = 8;
inline constexpr int kTileRows = 6;  // 12 sums, 2 loads, 1 broadcast of 16 registers
static inline Vec fma_vec(Vec a, Vec b, Vec c) {
    return _mm256_fmadd_ps(a, b, c);
}
static inline Vec fma_exact(Vec a, Vec b, Vec c) {
    return fma_vec(a, b, c);
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
static inline Vec at_least(Vec floor, Vec v) {
    return _mm256_max_ps(floor, v);
}
#else
using Vec = __m128;
inline constexpr int kLanes = 4;
inline constexpr int kTileRows = 6;
/// a b + c, rounded once or twice, whichever is fast: for the forward pass.
static inline Vec fma_vec(Vec a, Vec b, Vec c) {
    return _mm_add_ps(_mm_mul_ps(a, b), c);
}
/// Rounded once: for the update, whose bits are the same on all processors.
static inline Vec fma_exact(Vec a, Vec b, Vec c) {
    return fma_sse2(a, b, c);
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
static inline Vec at_least(Vec floor, Vec v) {
    return _mm_max_ps(floor, v);
}
#endif

inline constexpr int kTileCols = 2 * kLanes;

/// The first n lanes from memory, zeros in the others.
static inline Vec load_some(const float* from, int64_t n) {
    if (n >= kLanes) return load(from);
    float lane[kLanes] = {};
    for (int64_t l = 0; l < n; ++l) lane[l] = from[l];
    return load(lane);
}

/// Stores n of a vector's lanes.
static inline void store_some(float* to, Vec v, int64_t n) {
    if (n >= kLanes) return store(to, v);
    float lane[kLanes];
    store(lane, v);
    for (int64_t l = 0; l < n; ++l) to[l] = lane[l];
}

/// Two vectors of rows of 2·kCount partial sums each become one of twice the rows, kCount sums
/// each.
template <int kCount, int... kLane>
static inline Vec fold_two(Vec a, Vec b, std::integer_sequence<int, kLane...>) {
    constexpr auto from = [](int lane) {
        constexpr int kParts = kLanes / (2 * kCount);
        const int part = lane / kCount;
        return part % kParts * 2 * kCount + part / kParts * kLanes + lane % kCount;
    };
    return __builtin_shufflevector(a, b, from(kLane)...) +
           __builtin_shufflevector(a, b, (from(kLane) + kCount)...);
}

template <int kCount>
static inline void fold(Vec* v) {
#pragma GCC unroll 8
    for (int i = 0; i < kCount; ++i) {
        v[i] = fold_two<kCount>(v[2 * i], v[2 * i + 1], std::make_integer_sequence<int, kLanes>());
    }
    if constexpr (kCount > 1) fold<kCount / 2>(v);
}

/// Lane i of the result is the sum of the lanes of v[i], halves added to halves. Destroys v.
static inline Vec sum_each(Vec v[kLanes]) {
    fold<kLanes / 2>(v);
    return v[0];
}

/// Exchanges the blocks of kStep lanes and kStep vectors that lie across the diagonal.
template <int kStep, int... kLane>
static inline void transpose_step(Vec v[kLanes], std::integer_sequence<int, kLane...>) {
    for (int i = 0; i < kLanes; ++i) {
        if ((i & kStep) != 0) continue;
        const Vec a = v[i], b = v[i + kStep];
        v[i] = __builtin_shufflevector(a, b,
                                       ((kLane & kStep) == 0 ? kLane : kLanes + kLane - kStep)...);
        v[i + kStep] = __builtin_shufflevector(
            a, b, ((kLane & kStep) == 0 ? kLane + kStep : kLanes + kLane)...);
    }
}

/// Lane j of v[i] goes to lane i of v[j].
template <int kStep = kLanes / 2>
static inline void transpose(Vec v[kLanes]) {
    transpose_step<kStep>(v, std::make_integer_sequence<int, kLanes>());
    if constexpr (kStep > 1) transpose<kStep / 2>(v);
}

static constexpr int64_t round_up(int64_t n, int64_t multiple) {
    return (n + multiple - 1) / multiple * multiple;
}

}  // namespace eggroll::EGGROLL_CPU_NS
