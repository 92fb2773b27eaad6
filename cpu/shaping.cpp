// SPDX-License-Identifier: MIT
#include "cpu/kernels.h"
#include "cpu/memory.h"

#include <cmath>

namespace eggroll::EGGROLL_CPU_NS {

namespace {

bool is_finite(float x) {
    return x - x == 0.0f;
}

/// Statistics of the finite members, in double and in the order of members.
FitnessStats statistics(const float* fitness, int64_t n) {
    FitnessStats stats;
    double sum = 0.0;
    for (int64_t p = 0; p < n; ++p) {
        if (!is_finite(fitness[p])) {
            ++stats.non_finite;
            continue;
        }
        const auto f = static_cast<double>(fitness[p]);
        sum += f;
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
    stats.mean = sum / static_cast<double>(count);
    double squares = 0.0;
    for (int64_t p = 0; p < n; ++p) {
        if (!is_finite(fitness[p])) continue;
        const double d = static_cast<double>(fitness[p]) - stats.mean;
        squares += d * d;
    }
    stats.std = count > 1 ? std::sqrt(squares / static_cast<double>(count - 1)) : 0.0;
    return stats;
}

}  // namespace

FitnessStats shape_fitness(const ShapingArgs& args) {
    const int64_t n = args.pop_size;
    const FitnessStats stats = statistics(args.fitness, n);
    if (stats.best_member < 0) return stats;

    // Shaping sees all members, a non-finite one as the worst of the finite.
    const auto value = [&](int64_t p) {
        return is_finite(args.fitness[p]) ? static_cast<double>(args.fitness[p]) : stats.worst;
    };
    double mean = stats.mean, std = stats.std;
    if (stats.non_finite > 0) {
        double sum = 0.0, squares = 0.0;
        for (int64_t p = 0; p < n; ++p) sum += value(p);
        mean = sum / static_cast<double>(n);
        for (int64_t p = 0; p < n; ++p) squares += (value(p) - mean) * (value(p) - mean);
        std = std::sqrt(squares / static_cast<double>(n - 1));
    }
    const double scale = args.normalize && std > 1e-8 ? 1.0 / std : 1.0;
    const auto shaped = [&](int64_t p) { return (value(p) - mean) * scale; };
    for (int64_t j = 0; j < (args.antithetic ? n / 2 : n); ++j) {
        args.weights[j] =
            static_cast<float>(args.antithetic ? shaped(2 * j) - shaped(2 * j + 1) : shaped(j));
    }
    return stats;
}

}  // namespace eggroll::EGGROLL_CPU_NS
