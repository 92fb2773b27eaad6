// SPDX-License-Identifier: MIT
#pragma once

#include <eggroll/noise.h>
#include <eggroll/tensor.h>

namespace eggroll {

/// The perturbation of a matrix, materialised: σ/√r A Bᵀ (O,I), r = min(rank, O, I), with B (I,r)
/// and A (O,r) from `stream` as the engine draws them; the `+` member of a pair. Throws Error
/// unless shape has two axes, rank >= 1 and sigma is finite.
EGGROLL_API Tensor low_rank_noise(const Shape& shape, int rank, float sigma,
                                  const NoiseStream& stream);
/// The same under noise::sign: A and B hold +1 and −1.
EGGROLL_API Tensor sign_noise(const Shape& shape, int rank, float sigma, const NoiseStream& stream);
/// Of noise::sparse: σ √(O·I/k) v_i added at k = min(entries, O·I) places of a matrix (O,I). v is
/// elements 0..k-1 of the stream, place i comes from words 4⌈k/4⌉ + 2i and the next, w0 and w1:
/// ⌊(w0 + w1 2³²) O·I / 2⁶⁴⌋, row-major. Throws Error unless entries >= 1 and sigma is finite.
EGGROLL_API Tensor sparse_noise(const Shape& shape, int64_t entries, float sigma,
                                const NoiseStream& stream);
/// σ ε of any shape: the perturbation of a vector parameter, and of a matrix under
/// noise::full_rank, row-major.
EGGROLL_API Tensor full_noise(const Shape& shape, float sigma, const NoiseStream& stream);

}  // namespace eggroll
