// SPDX-License-Identifier: MIT
#include "core/fitness.h"
#include "core/fixed_order.h"
#include "cpu/kernels.h"
#include "cpu/lanes.h"
#include "cpu/memory.h"

#include <algorithm>
#include <cmath>

namespace eggroll::EGGROLL_CPU_NS {

namespace {

/// √(squares/(count−1)), 0 for fewer than two.
double deviation(double squares, int64_t count) {
    return count > 1 ? std::sqrt(squares / static_cast<double>(count - 1)) : 0.0;
}

/// Statistics of the finite members.
FitnessStats statistics(const float* fitness, int64_t n) {
    FitnessStats stats;
    int64_t lost = 0;
    for (int64_t p = 0; p < n; ++p) {
        if (!is_finite_fitness(fitness[p])) {
            ++lost;
            if (is_no_result_bits(fitness[p])) ++stats.no_result;
            continue;
        }
        const auto f = static_cast<double>(fitness[p]);
        if (stats.best_member < 0 || f > stats.best) {
            stats.best = f;
            stats.best_member = p;
        }
        if (p == lost || f < stats.worst) stats.worst = f;  // first finite, or lower
    }
    stats.non_finite = lost - stats.no_result;
    const int64_t count = n - lost;
    if (count == 0) {
        stats.mean = stats.best = stats.worst = stats.std = NAN;
        return stats;
    }
    const auto finite = [&](int64_t p, double value) {
        return is_finite_fitness(fitness[p]) ? value : 0.0;
    };
    stats.mean =
        sum_of(0, n, [&](int64_t p) { return finite(p, static_cast<double>(fitness[p])); }) /
        static_cast<double>(count);
    const double squares = sum_of(0, n, [&](int64_t p) {
        const double d = static_cast<double>(fitness[p]) - stats.mean;
        return finite(p, d * d);
    });
    stats.std = deviation(squares, count);
    return stats;
}

/// The weights of the update from f̂ = shaped(p) of the members that count.
template <class Counts, class F>
void write_weights(const ShapingArgs& args, Counts counts, F shaped) {
    const int64_t streams = args.antithetic ? args.pop_size / 2 : args.pop_size;
    for (int64_t j = 0; j < streams; ++j) {
        if (args.antithetic) {
            args.weights[j] =
                counts(2 * j) ? static_cast<float>(shaped(2 * j) - shaped(2 * j + 1)) : 0.0f;
        } else {
            args.weights[j] = counts(j) ? static_cast<float>(shaped(j)) : 0.0f;
        }
    }
}

/// Mean and deviation over the members from `first` on that count.
template <class Counts>
void moments(const SeenFitness& seen, Counts counts, int64_t first, int64_t n, int64_t used,
             double& mean, double& std) {
    const auto sum = [&](auto f) {
        return sum_of(0, n, [&](int64_t p) { return p >= first && counts(p) ? f(p) : 0.0; });
    };
    mean = sum([&](int64_t p) { return seen.value(p); }) / static_cast<double>(used);
    const auto square = [&](int64_t p) { return (seen.value(p) - mean) * (seen.value(p) - mean); };
    std = deviation(sum(square), used);
}

/// f̂ = (f − m)·scale, with what the kind says.
template <class Counts>
void shape_affine(const ShapingArgs& args, const SeenFitness& seen, Counts counts) {
    FitnessStats& stats = *args.stats;
    double mean = stats.mean, std = stats.std;
    switch (args.kind) {
        case ShapingKind::none:
            return write_weights(args, counts, [&](int64_t p) { return seen.value(p); });
        case ShapingKind::sign_of_pair:
            // Half of the sign for the one and minus half for the other.
            return write_weights(args, counts, [&](int64_t p) {
                const double a = seen.value(p), b = seen.value(p ^ 1);
                return a > b ? 0.5 : a < b ? -0.5 : 0.0;
            });
        case ShapingKind::against_first:
            if (!counts(0)) stats.used = 0;
            if (stats.used < 2) return std::fill(args.weights, args.weights + args.pop_size, 0.0f);
            moments(seen, counts, 1, args.pop_size, stats.used - 1, mean, std);
            mean = seen.value(0);
            break;
        default:
            if (stats.used == args.pop_size && stats.non_finite == 0) break;
            moments(seen, counts, 0, args.pop_size, stats.used, mean, std);
    }
    const double scale = args.kind == ShapingKind::centre ? 1.0 : scale_of(std);
    write_weights(args, counts, [&](int64_t p) { return (seen.value(p) - mean) * scale; });
}

/// f̂ = (r − (n−1)/2)/(n−1) with the midrank r, which is a whole number of halves.
template <class Counts>
void shape_ranks(const ShapingArgs& args, const SeenFitness& seen, Counts counts) {
    struct Key {
        float value;
        int64_t member;
    };
    const int64_t n = args.stats->used;
    const cpu::ScratchOf<Key> memory(n);
    const cpu::ScratchOf<int64_t> doubled(args.pop_size);  // 2r − (n−1)
    Key* keys = memory.data();
    for (int64_t p = 0, k = 0; p < args.pop_size; ++p) {
        if (counts(p)) keys[k++] = {static_cast<float>(seen.value(p)), p};
    }
    std::sort(keys, keys + n, [](const Key& a, const Key& b) { return a.value < b.value; });
    for (int64_t first = 0, last = 0; first < n; first = last) {
        while (last < n && keys[last].value == keys[first].value) ++last;
        for (int64_t k = first; k < last; ++k) {
            doubled.data()[keys[k].member] = first + last - 1 - (n - 1);
        }
    }
    const double by = 2.0 * static_cast<double>(std::max<int64_t>(n - 1, 1));
    write_weights(args, counts,
                  [&](int64_t p) { return static_cast<double>(doubled.data()[p]) / by; });
}

/// f̂ = (f − m)/s with the mean of the group.
template <class Counts>
void shape_groups(const ShapingArgs& args, const SeenFitness& seen, Counts counts) {
    struct Group {
        double mean, squares;
        int64_t used;
        double scale;
    };
    const int64_t size = args.group_size, groups = args.pop_size / size;
    const cpu::ScratchOf<Group> memory(groups);
    Group* of = memory.data();
    for (int64_t g = 0; g < groups; ++g) {
        const auto sum = [&](auto f) {
            return sum_of<kGroupLanes>(0, size, [&](int64_t i) {
                const int64_t p = g * size + i;
                return counts(p) ? f(p) : 0.0;
            });
        };
        const double used = sum([](int64_t) { return 1.0; });
        const double mean = used > 0.0 ? sum([&](int64_t p) { return seen.value(p); }) / used : 0.0;
        const double squares =
            sum([&](int64_t p) { return (seen.value(p) - mean) * (seen.value(p) - mean); });
        const auto count = static_cast<int64_t>(used);
        of[g] = {mean, squares, count, scale_of(deviation(squares, count))};
    }
    if (args.spread == Spread::global) {
        const double squares = sum_of(0, groups, [&](int64_t g) { return of[g].squares; });
        const double scale = scale_of(deviation(squares, args.stats->used));
        for (int64_t g = 0; g < groups; ++g) of[g].scale = scale;
    }
    write_weights(args, counts, [&](int64_t p) {
        const Group& group = of[p / size];
        return (seen.value(p) - group.mean) * group.scale;
    });
}

template <class Counts>
void shape(const ShapingArgs& args, const SeenFitness& seen, Counts counts) {
    switch (args.kind) {
        case ShapingKind::centred_rank:
            return shape_ranks(args, seen, counts);
        case ShapingKind::groups:
            return shape_groups(args, seen, counts);
        default:
            return shape_affine(args, seen, counts);
    }
}

}  // namespace

void mean_evaluations(const float* fitness, float* mean, int64_t pop_size, int64_t evaluations) {
    for (int64_t p = 0; p < pop_size; ++p) {
        mean[p] = mean_evaluation(fitness + p * evaluations, evaluations);
    }
}

void shape_fitness(const ShapingArgs& args) {
    const int64_t n = args.pop_size;
    FitnessStats& stats = *args.stats = statistics(args.fitness, n);
    const SeenFitness seen{args.fitness, args.antithetic, args.drop, stats.worst};
    if (stats.no_result == 0 && (stats.non_finite == 0 || !args.drop) && stats.best_member >= 0) {
        stats.used = n;
        return shape(args, seen, [](int64_t) { return true; });
    }
    const auto counts = [&](int64_t p) { return seen.counts(p); };
    for (int64_t p = 0; p < n && stats.best_member >= 0; ++p) stats.used += counts(p) ? 1 : 0;
    if (stats.used == 0) {
        return std::fill(args.weights, args.weights + (args.antithetic ? n / 2 : n), 0.0f);
    }
    shape(args, seen, counts);
}

}  // namespace eggroll::EGGROLL_CPU_NS
