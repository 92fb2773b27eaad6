// SPDX-License-Identifier: MIT
#include "cuda/block.h"
#include "cuda/kernels.h"
#include "cuda/launch.h"

namespace eggroll::cuda {

namespace {

/// Threads that share a row.
constexpr int kRowThreads = 128;
/// Shorter rows are one thread's.
constexpr int64_t kShortRow = 64;

/// One element of the output, by one thread.
struct ReduceOne {
    Reduce kind;
    const float* x;
    float* y;
    int64_t n, inner;

    __device__ void operator()(int64_t out) const {
        const float* row = x + out / inner * n * inner + out % inner;
        if (kind == Reduce::max) {
            float largest = row[0];
            for (int64_t i = 1; i < n; ++i) {
                largest = larger(largest, row[i * inner]);
            }
            y[out] = largest;
            return;
        }
        double sum = 0.0;
        for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(row[i * inner]);
        y[out] = static_cast<float>(kind == Reduce::mean ? sum / static_cast<double>(n) : sum);
    }
};

/// One contiguous row, by a block.
__global__ void __launch_bounds__(kRowThreads)
    reduce_kernel(Reduce kind, const float* x, float* y, int64_t rows, int64_t n) {
    for (int64_t r = blockIdx.x; r < rows; r += gridDim.x) {
        const float* row = x + r * n;
        if (kind == Reduce::max) {
            float largest = row[0];
            for (int64_t i = threadIdx.x; i < n; i += kRowThreads) {
                largest = larger(largest, row[i]);
            }
            largest = block_max<kRowThreads>(largest);
            if (threadIdx.x == 0) y[r] = largest;
        } else {
            double sum = 0.0;
            for (int64_t i = threadIdx.x; i < n; i += kRowThreads) {
                sum += static_cast<double>(row[i]);
            }
            sum = block_sum<kRowThreads>(sum);
            if (kind == Reduce::mean) sum /= static_cast<double>(n);
            if (threadIdx.x == 0) y[r] = static_cast<float>(sum);
        }
    }
}

struct ArgmaxOne {
    const float* x;
    float* y;
    int64_t n;

    __device__ void operator()(int64_t r) const {
        const float* row = x + r * n;
        int64_t best = 0;
        bool broken = row[0] != row[0];
        for (int64_t i = 1; i < n; ++i) {
            best = row[i] > row[best] ? i : best;
            broken |= row[i] != row[i];
        }
        y[r] = broken ? NAN : static_cast<float>(best);
    }
};

template <bool kLogarithm>
__global__ void __launch_bounds__(kRowThreads)
    softmax_kernel(const float* x, float* y, int64_t rows, int64_t n) {
    for (int64_t r = blockIdx.x; r < rows; r += gridDim.x) {
        const float* row = x + r * n;
        float* to = y + r * n;
        float largest = row[0];
        for (int64_t i = threadIdx.x; i < n; i += kRowThreads) {
            largest = larger(largest, row[i]);
        }
        largest = block_max<kRowThreads>(largest);
        double sum = 0.0;
        for (int64_t i = threadIdx.x; i < n; i += kRowThreads) {
            sum += kLogarithm ? ::exp(static_cast<double>(row[i] - largest))
                              : static_cast<double>(expf(row[i] - largest));
        }
        sum = block_sum<kRowThreads>(sum);
        const auto by = static_cast<float>(kLogarithm ? ::log(sum) : 1.0 / sum);
        for (int64_t i = threadIdx.x; i < n; i += kRowThreads) {
            const float v = row[i] - largest;
            to[i] = kLogarithm ? v - by : expf(v) * by;
        }
    }
}

__global__ void __launch_bounds__(kRowThreads)
    standardize_kernel(const float* x, float* y, int64_t rows, int64_t n, float eps, bool centred) {
    for (int64_t r = blockIdx.x; r < rows; r += gridDim.x) {
        const float* row = x + r * n;
        double mean = 0.0;
        if (centred) {
            double sum = 0.0;
            for (int64_t i = threadIdx.x; i < n; i += kRowThreads) {
                sum += static_cast<double>(row[i]);
            }
            mean = block_sum<kRowThreads>(sum) / static_cast<double>(n);
        }
        double squares = 0.0;
        for (int64_t i = threadIdx.x; i < n; i += kRowThreads) {
            const double d = static_cast<double>(row[i]) - mean;
            squares += d * d;
        }
        squares = block_sum<kRowThreads>(squares);
        const auto centre = static_cast<float>(mean);
        const auto scale = static_cast<float>(
            1.0 / ::sqrt(squares / static_cast<double>(n) + static_cast<double>(eps)));
        for (int64_t i = threadIdx.x; i < n; i += kRowThreads) {
            y[r * n + i] = (row[i] - centre) * scale;
        }
    }
}

struct Gather {
    const float* x;
    const int32_t* ids;
    float* y;
    int64_t n, id_rows;

    __device__ void operator()(int64_t r) const {
        const int32_t id = ids[r % id_rows];
        y[r] = id >= 0 && id < n ? x[r * n + id] : NAN;
    }
};

}  // namespace

void reduce(Reduce kind, const float* x, float* y, int64_t outer, int64_t n, int64_t inner) {
    if (inner > 1 || n < kShortRow) {
        for_each("reduce", outer * inner, ReduceOne{kind, x, y, n, inner});
    } else {
        launch("reduce", reduce_kernel, grid_of(outer, 1), dim3(kRowThreads), kind, x, y, outer, n);
    }
}

void argmax(const float* x, float* y, int64_t rows, int64_t n) {
    for_each("argmax", rows, ArgmaxOne{x, y, n});
}

void softmax(const float* x, float* y, int64_t rows, int64_t n, bool logarithm) {
    launch("softmax", logarithm ? softmax_kernel<true> : softmax_kernel<false>, grid_of(rows, 1),
           dim3(kRowThreads), x, y, rows, n);
}

void standardize(const float* x, float* y, int64_t rows, int64_t n, float eps, bool centred) {
    launch("standardize", standardize_kernel, grid_of(rows, 1), dim3(kRowThreads), x, y, rows, n,
           eps, centred);
}

void gather(const float* x, const int32_t* ids, float* y, int64_t rows, int64_t n,
            int64_t id_rows) {
    for_each("gather", rows, Gather{x, ids, y, n, id_rows});
}

}  // namespace eggroll::cuda
