// SPDX-License-Identifier: MIT
#include "core/fixed_order.h"
#include "core/power.h"
#include "cuda/block.h"
#include "cuda/kernels.h"
#include "cuda/launch.h"

namespace eggroll::cuda {

namespace {

struct CheckFinite {
    RunState* run;
    int64_t code;
    const float* x;
    __device__ void operator()(int64_t i) const {
        if (x[i] - x[i] == 0.0f || run->failure != 0) return;
        run->failed = run->block;  // whoever writes, writes the same
        run->failure = code;
    }
};

/// Adam's step, 1 / (1 − β2ᵗ) and 1 − lr·λ, once for all elements.
struct AdamScales {
    const GenerationBlock* block;
    float beta1, beta2, weight_decay;
    float* out;  // (3)
    __device__ void operator()(int64_t) const {
        const int64_t t = block->updates + 1;
        out[0] = static_cast<float>(static_cast<double>(block->lr) /
                                    (1.0 - power(static_cast<double>(beta1), t)));
        out[1] = static_cast<float>(1.0 / (1.0 - power(static_cast<double>(beta2), t)));
        out[2] = static_cast<float>(1.0 - static_cast<double>(block->lr) *
                                              static_cast<double>(weight_decay));
    }
};

struct Sgd {
    OptimizeArgs a;
    __device__ void operator()(int64_t i) const { a.value[i] += a.block->lr * a.g[i]; }
};

struct Momentum {
    OptimizeArgs a;
    __device__ void operator()(int64_t i) const {
        const float m = a.beta1 * a.first_moment[i] + a.g[i];
        a.first_moment[i] = m;
        a.value[i] += a.block->lr * m;
    }
};

struct Nesterov {
    OptimizeArgs a;
    __device__ void operator()(int64_t i) const {
        const float g = a.g[i], m = a.beta1 * a.first_moment[i] + g;
        a.first_moment[i] = m;
        a.value[i] += a.block->lr * (g + a.beta1 * m);
    }
};

/// With decay after θ ·= 1 − lr·λ.
template <bool kDecay>
struct Adam {
    OptimizeArgs a;
    const float* scales;
    __device__ void operator()(int64_t i) const {
        const float g = a.g[i];
        const float m = a.beta1 * a.first_moment[i] + (1.0f - a.beta1) * g;
        const float v = a.beta2 * a.second_moment[i] + (1.0f - a.beta2) * g * g;
        a.first_moment[i] = m;
        a.second_moment[i] = v;
        const float from = kDecay ? a.value[i] * scales[2] : a.value[i];
        a.value[i] = from + scales[0] * m / (sqrtf(v * scales[1]) + a.eps);
    }
};

/// A block a run.
__global__ void __launch_bounds__(kFitnessLanes)
    squares_kernel(const float* x, int64_t n, double* of_runs) {
    for (int64_t run = blockIdx.x; run * kSquaresRun < n; run += gridDim.x) {
        const int64_t end = n < (run + 1) * kSquaresRun ? n : (run + 1) * kSquaresRun;
        double sum = 0.0;
        for (int64_t i = run * kSquaresRun + threadIdx.x; i < end; i += kFitnessLanes) {
            sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
        }
        sum = block_sum<kFitnessLanes>(sum);
        if (threadIdx.x == 0) of_runs[run] = sum;
    }
}

/// One block.
__global__ void __launch_bounds__(kFitnessLanes)
    add_runs_kernel(const double* of_runs, int64_t runs, double* total) {
    double sum = 0.0;
    for (int64_t run = threadIdx.x; run < runs; run += kFitnessLanes) sum += of_runs[run];
    sum = block_sum<kFitnessLanes>(sum);
    if (threadIdx.x == 0) *total += sum;
}

/// limit/√squares, once for all elements.
struct ClipScale {
    const double* squares;
    double limit;
    double* scale;
    __device__ void operator()(int64_t) const { *scale = limit / ::sqrt(*squares); }
};

struct Clip {
    const double* scale;
    float* x;
    __device__ void operator()(int64_t i) const {
        if (*scale < 1.0) x[i] = static_cast<float>(static_cast<double>(x[i]) * *scale);
    }
};

}  // namespace

void check_finite(RunState* run, int64_t code, const float* x, int64_t n) {
    for_each("check_finite", n, CheckFinite{run, code, x});
}

void optimize(const OptimizeArgs& args) {
    switch (args.rule) {
        case Rule::sgd:
            return for_each("sgd", args.n, Sgd{args});
        case Rule::momentum:
            return for_each("momentum", args.n, Momentum{args});
        case Rule::nesterov:
            return for_each("nesterov", args.n, Nesterov{args});
        case Rule::adam:
        case Rule::adamw:
            break;
    }
    const Scratch scales(3);
    for_each("adam", 1,
             AdamScales{args.block, args.beta1, args.beta2, args.weight_decay, scales.data()});
    if (args.rule == Rule::adam) {
        for_each("adam", args.n, Adam<false>{args, scales.data()});
    } else {
        for_each("adamw", args.n, Adam<true>{args, scales.data()});
    }
}

void add_squares(const float* x, int64_t n, double* sum) {
    const int64_t runs = blocks_of(n, kSquaresRun);
    const ScratchOf<double> of_runs(runs);
    launch("squares", squares_kernel, grid_of(runs, 1), dim3(kFitnessLanes), x, n, of_runs.data());
    launch("add_squares", add_runs_kernel, dim3(1), dim3(kFitnessLanes), of_runs.data(), runs, sum);
}

void clip(const double* squares, float limit, float* x, int64_t n) {
    const ScratchOf<double> scale(1);
    for_each("clip", 1, ClipScale{squares, static_cast<double>(limit), scale.data()});
    for_each("clip", n, Clip{scale.data(), x});
}

}  // namespace eggroll::cuda
