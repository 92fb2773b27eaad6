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
/// σ ε of any shape: the perturbation of a vector parameter.
EGGROLL_API Tensor full_noise(const Shape& shape, float sigma, const NoiseStream& stream);

}  // namespace eggroll
