// SPDX-License-Identifier: MIT
#pragma once

// What the threads of a block find out together, in a fixed order.

namespace eggroll::cuda {

/// combine over the values of all kSize threads, in every thread. kSize is a power of two.
template <int kSize, class T, class F>
__device__ inline T block_combine(T value, F combine) {
    __shared__ T values[kSize];
    const int thread = static_cast<int>(threadIdx.x);
    __syncthreads();  // who read the last result is done
    values[thread] = value;
    __syncthreads();
    for (int half = kSize / 2; half > 0; half /= 2) {
        if (thread < half) values[thread] = combine(values[thread], values[thread + half]);
        __syncthreads();
    }
    return values[0];
}

template <int kSize>
__device__ inline double block_sum(double value) {
    return block_combine<kSize>(value, [](double a, double b) { return a + b; });
}

/// The larger; NaN if there is one.
__device__ inline float larger(float a, float b) {
    return a > b || a != a ? a : b;
}

template <int kSize>
__device__ inline float block_max(float value) {
    return block_combine<kSize>(value, larger);
}

/// A number and where it stands; NaN beats all, then the largest, then the first.
struct Found {
    float value;
    int64_t index;
};
template <int kSize>
__device__ inline Found block_argmax(Found found) {
    return block_combine<kSize>(found, [](Found a, Found b) {
        const bool a_nan = a.value != a.value, b_nan = b.value != b.value;
        if (a_nan != b_nan) return a_nan ? a : b;
        if (!a_nan && a.value != b.value) return a.value > b.value ? a : b;
        return a.index <= b.index ? a : b;
    });
}

}  // namespace eggroll::cuda
