// SPDX-License-Identifier: MIT
#include "cuda/block.h"
#include "cuda/kernels.h"
#include "cuda/launch.h"

namespace eggroll::cuda {

namespace {

constexpr int kMemberThreads = 128;

/// Loss of one row of logits against its label, or whether the label has the largest; NaN for a
/// label that is none.
__device__ double row_value(Loss kind, const float* row, int32_t label, int64_t n) {
    if (label < 0 || label >= n) return NAN;
    float largest = row[0];
    int64_t best = 0;
    for (int64_t i = 1; i < n; ++i) {
        if (row[i] > largest || row[i] != row[i]) {
            largest = row[i];
            best = i;
        }
        if (largest != largest) return NAN;
    }
    if (largest != largest) return NAN;
    if (kind == Loss::accuracy) return best == label ? 1.0 : 0.0;
    double sum = 0.0;
    for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(expf(row[i] - largest));
    return ::log(sum) - (static_cast<double>(row[label]) - static_cast<double>(largest));
}

/// A block takes a member: its rows, or the elements of its squared error.
__global__ void __launch_bounds__(kMemberThreads) loss_kernel(LossArgs a) {
    for (int64_t m = blockIdx.x; m < a.members; m += gridDim.x) {
        const float* y = a.y + m * a.rows * a.n;
        const int64_t items = a.kind == Loss::mse ? a.n : a.rows;
        const int64_t own = a.per_member_target ? m * items : 0;
        double sum = 0.0;
        for (int64_t i = threadIdx.x; i < items; i += kMemberThreads) {
            if (a.kind == Loss::mse) {
                const double d = static_cast<double>(y[i]) - static_cast<double>(a.target[own + i]);
                sum += d * d;
            } else {
                sum += row_value(a.kind, y + i * a.n, a.labels[own + i], a.n);
            }
        }
        sum = block_sum<kMemberThreads>(sum);
        if (threadIdx.x == 0) a.out[m] = static_cast<float>(sum / static_cast<double>(items));
    }
}

}  // namespace

void loss(const LossArgs& args) {
    launch("loss", loss_kernel, grid_of(args.members, 1), dim3(kMemberThreads), args);
}

}  // namespace eggroll::cuda
