// SPDX-License-Identifier: MIT
#include "tests/user_kernels.h"

namespace eggroll::test {

namespace {

constexpr int kThreads = 64;

unsigned blocks_of(int64_t n) {
    return static_cast<unsigned>((n + kThreads - 1) / kThreads);
}

__global__ void ramp(float* x, int64_t n, float first, float factor) {
    const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (i < n) x[i] = first + factor * static_cast<float>(i);
}

__global__ void fitness(const float* y, float* out, int64_t pop_size, int64_t n) {
    const int64_t p = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (p >= pop_size) return;
    float sum = 0;
    for (int64_t i = 0; i < n; ++i) sum -= y[p * n + i] * y[p * n + i];
    out[p] = sum;
}

}  // namespace

void launch_ramp(float* x, int64_t n, float first, float factor, cudaStream_t stream) {
    ramp<<<blocks_of(n), kThreads, 0, stream>>>(x, n, first, factor);
}

void launch_fitness(const float* y, float* out, int64_t pop_size, int64_t n, cudaStream_t stream) {
    fitness<<<blocks_of(pop_size), kThreads, 0, stream>>>(y, out, pop_size, n);
}

}  // namespace eggroll::test
