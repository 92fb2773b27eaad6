// SPDX-License-Identifier: MIT
#include "core/fixed_order.h"
#include "cpu/kernels.h"
#include "cpu/memory.h"

#include <algorithm>
#include <cmath>

namespace eggroll::EGGROLL_CPU_NS {

namespace {

bool is_finite(float x) {
    return x - x == 0.0f;
}

/// Sum of f(p) in double over all members, in the order of core/fixed_order.h.
template <class F>
double sum_of(int64_t n, F f) {
    double lane[kFitnessLanes] = {};
    for (int64_t p = 0; p < n; ++p) lane[p % kFitnessLanes] += f(p);
    for (int half = kFitnessLanes / 2; half > 0; half /= 2) {
        for (int l = 0; l < half; ++l) lane[l] += lane[l + half];
    }
    return lane[0];
}

/// Statistics of the finite members.
FitnessStats statistics(const float* fitness, int64_t n) {
    FitnessStats stats;
    for (int64_t p = 0; p < n; ++p) {
        if (!is_finite(fitness[p])) {
            ++stats.non_finite;
            continue;
        }
        const auto f = static_cast<double>(fitness[p]);
        if (stats.best_member < 0 || f > stats.best) {
            stats.best = f;
            stats.best_member = p;
        }
        if (p == stats.non_finite || f < stats.worst) stats.worst = f;  // first finite, or lower
    }
    const int64_t count = n - stats.non_finite;
    if (count == 0) {
        stats.mean = stats.best = stats.worst = stats.std = NAN;
        return stats;
    }
    const auto finite = [&](int64_t p, double value) {
        return is_finite(fitness[p]) ? value : 0.0;
    };
    stats.mean = sum_of(n, [&](int64_t p) { return finite(p, static_cast<double>(fitness[p])); }) /
                 static_cast<double>(count);
    const double squares = sum_of(n, [&](int64_t p) {
        const double d = static_cast<double>(fitness[p]) - stats.mean;
        return finite(p, d * d);
    });
    stats.std = count > 1 ? std::sqrt(squares / static_cast<double>(count - 1)) : 0.0;
    return stats;
}

}  // namespace

void shape_fitness(const ShapingArgs& args) {
    const int64_t n = args.pop_size, streams = args.antithetic ? n / 2 : n;
    const FitnessStats stats = *args.stats = statistics(args.fitness, n);
    if (stats.best_member < 0) return std::fill(args.weights, args.weights + streams, 0.0f);

    // Shaping sees all members, a non-finite one as the worst of the finite.
    const auto value = [&](int64_t p) {
        return is_finite(args.fitness[p]) ? static_cast<double>(args.fitness[p]) : stats.worst;
    };
    double mean = stats.mean, std = stats.std;
    if (stats.non_finite > 0) {
        mean = sum_of(n, value) / static_cast<double>(n);
        const auto square = [&](int64_t p) { return (value(p) - mean) * (value(p) - mean); };
        std = std::sqrt(sum_of(n, square) / static_cast<double>(n - 1));
    }
    const double scale = args.normalize && std > 1e-8 ? 1.0 / std : 1.0;
    const auto shaped = [&](int64_t p) { return (value(p) - mean) * scale; };
    for (int64_t j = 0; j < streams; ++j) {
        args.weights[j] =
            static_cast<float>(args.antithetic ? shaped(2 * j) - shaped(2 * j + 1) : shaped(j));
    }
}

}  // namespace eggroll::EGGROLL_CPU_NS
