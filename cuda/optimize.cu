// SPDX-License-Identifier: MIT
#include "core/power.h"
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

/// Adam's step and 1 / (1 − β2ᵗ), once for all elements.
struct AdamScales {
    const GenerationBlock* block;
    float beta1, beta2;
    float* out;  // (2)
    __device__ void operator()(int64_t) const {
        const int64_t t = block->updates + 1;
        out[0] = static_cast<float>(static_cast<double>(block->lr) /
                                    (1.0 - power(static_cast<double>(beta1), t)));
        out[1] = static_cast<float>(1.0 / (1.0 - power(static_cast<double>(beta2), t)));
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

struct Adam {
    OptimizeArgs a;
    const float* scales;
    __device__ void operator()(int64_t i) const {
        const float g = a.g[i];
        const float m = a.beta1 * a.first_moment[i] + (1.0f - a.beta1) * g;
        const float v = a.beta2 * a.second_moment[i] + (1.0f - a.beta2) * g * g;
        a.first_moment[i] = m;
        a.second_moment[i] = v;
        a.value[i] += scales[0] * m / (sqrtf(v * scales[1]) + a.eps);
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
        case Rule::adam:
            break;
    }
    const Scratch scales(2);
    for_each("adam", 1, AdamScales{args.block, args.beta1, args.beta2, scales.data()});
    for_each("adam", args.n, Adam{args, scales.data()});
}

}  // namespace eggroll::cuda
