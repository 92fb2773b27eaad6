// SPDX-License-Identifier: MIT
#pragma once

#include "cpu/isa.h"

#include <eggroll/noise.h>

// The noise in vectors: the bits of core/noise_math.h, several blocks at a time. Nothing is checked
// here: the caller knows that a fill stays below element 2^34 of its streams.

namespace eggroll::EGGROLL_CPU_NS {

/// Words first..first+n-1 of the stream.
void fill_words(const NoiseStream& stream, uint64_t first, uint32_t* out, int64_t n);

/// Normals first..first+n-1 of the stream.
void fill_normal(const NoiseStream& stream, uint64_t first, float* out, int64_t n);

/// fill_normal of the streams with pair = stream.pair + i, i in 0..pair_count-1, into
/// out + i * stride. What does not fill a vector in one stream is put together across them, so
/// short fills (a bias of 10) cost little more per normal than long ones.
void fill_normal_many(const NoiseStream& stream, uint32_t pair_count, uint64_t first, int64_t n,
                      float* out, int64_t stride);

/// The factors (n,rank) of these streams that begin with element `first`, a multiple of 4, each as
/// its transpose: element (row, k) of stream i goes to out[(i * rank + k) * stride + row].
void fill_factors(const NoiseStream& stream, uint32_t pair_count, uint64_t first, int64_t n,
                  int64_t rank, float* out, int64_t stride);

/// The transform alone: words 4b..4b+3 -> normals 4b..4b+3. n is a multiple of 4.
void normals_from_words(const uint32_t* words, float* out, int64_t n);

}  // namespace eggroll::EGGROLL_CPU_NS
