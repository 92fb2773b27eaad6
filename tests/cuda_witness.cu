// SPDX-License-Identifier: MIT
#include "tests/cuda_witness.h"

#include "core/noise_math.h"

#include <curand_kernel.h>

#include <stdexcept>
#include <string>

namespace eggroll::test {

namespace {

constexpr int kThreads = 128;

void check(cudaError_t status) {
    if (status != cudaSuccess) throw std::runtime_error(cudaGetErrorString(status));
}

/// Memory of the device that starts as zeros.
template <class T>
class OnDevice {
public:
    explicit OnDevice(size_t n) : n_(n) {
        check(cudaMalloc(&data_, n * sizeof(T)));
        check(cudaMemset(data_, 0, n * sizeof(T)));
    }
    ~OnDevice() { cudaFree(data_); }
    OnDevice(const OnDevice&) = delete;
    OnDevice& operator=(const OnDevice&) = delete;

    T* data() { return static_cast<T*>(data_); }
    std::vector<T> host() const {
        std::vector<T> values(n_);
        check(cudaMemcpy(values.data(), data_, n_ * sizeof(T), cudaMemcpyDeviceToHost));
        return values;
    }

private:
    void* data_ = nullptr;
    size_t n_;
};

__global__ void __launch_bounds__(kThreads)
    curand_blocks(NoiseStream s, uint32_t first, int64_t blocks, uint4* words, float4* normals) {
    const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
    if (i >= blocks) return;
    const uint64_t block = first + static_cast<uint32_t>(i);
    const uint64_t subsequence = s.pair | static_cast<uint64_t>(s.generation) << 32;
    const uint64_t offset = 4 * (block | static_cast<uint64_t>(s.parameter) << 32);
    curandStatePhilox4_32_10_t state;
    curand_init(s.seed, subsequence, offset, &state);
    words[i] = curand4(&state);
    curand_init(s.seed, subsequence, offset, &state);
    normals[i] = curand_normal4(&state);
}

__global__ void __launch_bounds__(kThreads)
    compare_roots(uint32_t first, uint32_t last, uint32_t step, unsigned long long* others) {
    const uint64_t stride = static_cast<uint64_t>(step) * gridDim.x * kThreads;
    const uint64_t begin =
        first + static_cast<uint64_t>(step) * (blockIdx.x * uint64_t{kThreads} + threadIdx.x);
    unsigned long long found = 0;
    for (uint64_t bits = begin; bits <= last; bits += stride) {
        const float a = __uint_as_float(static_cast<uint32_t>(bits));
        found += __float_as_uint(detail::sqrt_rn(a)) != __float_as_uint(__fsqrt_rn(a));
    }
    if (found > 0) atomicAdd(others, found);
}

}  // namespace

CurandStream curand_stream(const NoiseStream& stream, uint32_t first, int64_t blocks) {
    const auto n = static_cast<size_t>(4 * blocks);
    OnDevice<uint32_t> words(n);
    OnDevice<float> normals(n);
    curand_blocks<<<static_cast<unsigned>((blocks + kThreads - 1) / kThreads), kThreads>>>(
        stream, first, blocks, reinterpret_cast<uint4*>(words.data()),
        reinterpret_cast<float4*>(normals.data()));
    check(cudaGetLastError());
    return {words.host(), normals.host()};
}

int64_t other_roots(uint32_t first, uint32_t last, uint32_t step) {
    OnDevice<unsigned long long> others(1);
    compare_roots<<<256, kThreads>>>(first, last, step, others.data());
    check(cudaGetLastError());
    return static_cast<int64_t>(others.host().front());
}

}  // namespace eggroll::test
