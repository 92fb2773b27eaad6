// SPDX-License-Identifier: MIT
#pragma once

// The only way a kernel is launched.

#include "cuda/context.h"

#include <eggroll/error.h>

#include <cstdint>
#include <limits>
#include <string>
#include <utility>

namespace eggroll::cuda {

/// Threads of a block where nothing speaks for another number.
inline constexpr int kThreads = 256;

constexpr int64_t blocks_of(int64_t n, int64_t size) {
    return (n + size - 1) / size;
}

/// Blocks for n threads, or with `threads` 1 for n blocks, that walk on by the size of the grid.
inline dim3 grid_of(int64_t n, int threads = kThreads) {
    constexpr int64_t kMost = int64_t{1} << 20;
    const int64_t blocks = blocks_of(n, threads);
    return dim3(static_cast<unsigned>(blocks < kMost ? blocks : kMost));
}

/// Runs kernel<<<grid, threads, 0, stream>>>(args...) and names it in the message if it does not
/// start.
template <class... Params, class... Args>
void launch(const char* name, void (*kernel)(Params...), dim3 grid, dim3 threads, Args... args) {
    if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
    Context& context = current();
    kernel<<<grid, threads, 0, context.stream()>>>(Params(args)...);
    const cudaError_t status = cudaGetLastError();
    if (is_of_kernel(status)) context.kernel_failed(status);
    if (status != cudaSuccess) {
        throw Error(std::string("[cuda] kernel ") + name + " did not start on a grid of " +
                    std::to_string(grid.x) + "x" + std::to_string(grid.y) + "x" +
                    std::to_string(grid.z) + ": " + cudaGetErrorString(status) + " (" +
                    cudaGetErrorName(status) + ")");
    }
    context.launched(name);
}

/// First index and step of a thread in a loop over many.
struct ThreadIndices {
    int64_t first, step;
};
__device__ inline ThreadIndices thread_indices() {
    return {static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x,
            static_cast<int64_t>(gridDim.x) * blockDim.x};
}

template <class F>
__global__ void __launch_bounds__(kThreads) each_kernel(int64_t n, F f) {
    const ThreadIndices at = thread_indices();
    for (int64_t i = at.first; i < n; i += at.step) f(i);
}

/// f(i) for i in 0..n-1, a thread each. f is a struct with a __device__ operator().
template <class F>
void for_each(const char* name, int64_t n, F f) {
    launch(name, each_kernel<F>, grid_of(n), dim3(kThreads), n, f);
}

}  // namespace eggroll::cuda
