// SPDX-License-Identifier: MIT
#include "core/fixed_order.h"
#include "core/power.h"
#include "cpu/kernels.h"
#include "cpu/lanes.h"
#include "cpu/memory.h"
#include "cpu/threads.h"

#include <algorithm>
#include <cmath>

namespace eggroll::EGGROLL_CPU_NS {

namespace {

/// Elements a thread takes at a time.
constexpr int64_t kRun = 64 * 1024;

template <class F>
void in_runs(int64_t n, F f) {
    cpu::parallel_for((n + kRun - 1) / kRun,
                      [&](int64_t run) { f(run * kRun, std::min(n, (run + 1) * kRun)); });
}

/// x − x is 0 for a finite x and NaN otherwise; a sum of zeros stays 0.
bool all_finite(const float* x, int64_t n) {
    float part[16] = {};
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) {
        for (int l = 0; l < 16; ++l) part[l] += x[i + l] - x[i + l];
    }
    for (; i < n; ++i) part[0] += x[i] - x[i];
    for (const float p : part) {
        if (p != 0.0f) return false;
    }
    return true;
}

/// Adam; with decay after θ ·= 1 − lr·λ.
template <bool kDecay>
void adam(const OptimizeArgs& args) {
    float *value = args.value, *m = args.first_moment, *v = args.second_moment;
    const float* g = args.g;
    const auto lr = static_cast<double>(args.block->lr);
    const int64_t t = args.block->updates + 1;
    const float beta1 = args.beta1, beta2 = args.beta2, eps = args.eps;
    const auto step = static_cast<float>(lr / (1.0 - power(static_cast<double>(beta1), t)));
    const auto bias2 = static_cast<float>(1.0 / (1.0 - power(static_cast<double>(beta2), t)));
    const auto keep = static_cast<float>(1.0 - lr * static_cast<double>(args.weight_decay));
    in_runs(args.n, [=](int64_t first, int64_t last) {
        for (int64_t i = first; i < last; ++i) {
            m[i] = beta1 * m[i] + (1.0f - beta1) * g[i];
            v[i] = beta2 * v[i] + (1.0f - beta2) * g[i] * g[i];
            const float from = kDecay ? value[i] * keep : value[i];
            value[i] = from + step * m[i] / (std::sqrt(v[i] * bias2) + eps);
        }
    });
}

}  // namespace

void optimize(const OptimizeArgs& args) {
    const float lr = args.block->lr;
    float *value = args.value, *m = args.first_moment;
    const float* g = args.g;
    switch (args.rule) {
        case Rule::sgd:
            return in_runs(args.n, [=](int64_t first, int64_t last) {
                for (int64_t i = first; i < last; ++i) value[i] += lr * g[i];
            });
        case Rule::momentum:
            return in_runs(args.n, [=, beta = args.beta1](int64_t first, int64_t last) {
                for (int64_t i = first; i < last; ++i) {
                    m[i] = beta * m[i] + g[i];
                    value[i] += lr * m[i];
                }
            });
        case Rule::nesterov:
            return in_runs(args.n, [=, beta = args.beta1](int64_t first, int64_t last) {
                for (int64_t i = first; i < last; ++i) {
                    m[i] = beta * m[i] + g[i];
                    value[i] += lr * (g[i] + beta * m[i]);
                }
            });
        case Rule::adam:
            return adam<false>(args);
        case Rule::adamw:
            return adam<true>(args);
    }
}

void add_squares(const float* x, int64_t n, double* sum) {
    const int64_t runs = (n + kSquaresRun - 1) / kSquaresRun;
    const cpu::ScratchOf<double> memory(runs);
    double* of = memory.data();
    cpu::parallel_for(runs, [=](int64_t run) {
        of[run] = sum_of(run * kSquaresRun, std::min(n, (run + 1) * kSquaresRun), [=](int64_t i) {
            return static_cast<double>(x[i]) * static_cast<double>(x[i]);
        });
    });
    *sum += sum_of(0, runs, [=](int64_t run) { return of[run]; });
}

void clip(const double* squares, float limit, float* x, int64_t n) {
    const double scale = static_cast<double>(limit) / std::sqrt(*squares);
    if (!(scale < 1.0)) return;
    in_runs(n, [=](int64_t first, int64_t last) {
        for (int64_t i = first; i < last; ++i) {
            x[i] = static_cast<float>(static_cast<double>(x[i]) * scale);
        }
    });
}

void check_finite(RunState* run, int64_t code, const float* x, int64_t n) {
    if (run->failure != 0 || all_finite(x, n)) return;
    run->failure = code;
    run->failed = run->block;
}

}  // namespace eggroll::EGGROLL_CPU_NS
