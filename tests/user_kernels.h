// SPDX-License-Identifier: MIT
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

// Kernels as a user of the library has them, for the tests of streams.

namespace eggroll::test {

/// x[i] = first + factor · i.
void launch_ramp(float* x, int64_t n, float first, float factor, cudaStream_t stream);
/// out[p] = -Σ y[p,i]².  y (P,n)
void launch_fitness(const float* y, float* out, int64_t pop_size, int64_t n, cudaStream_t stream);

}  // namespace eggroll::test
