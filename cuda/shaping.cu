// SPDX-License-Identifier: MIT
#include "core/fitness.h"
#include "core/fixed_order.h"
#include "cuda/block.h"
#include "cuda/kernels.h"
#include "cuda/launch.h"

namespace eggroll::cuda {

namespace {

constexpr int kLanes = kFitnessLanes;

__device__ SeenFitness seen_of(const ShapingArgs& a) {
    return {a.fitness, a.antithetic, a.drop, a.stats->worst};
}

/// √(squares/(count−1)), 0 for fewer than two.
__device__ double deviation(double squares, double count) {
    return count > 1.0 ? ::sqrt(squares / (count - 1.0)) : 0.0;
}

/// The weight of stream j from f̂ = shaped(p) of the members that count.
template <class F>
__device__ void write_weight(const ShapingArgs& a, const SeenFitness& seen, int64_t used, int64_t j,
                             F shaped) {
    const int64_t p = a.antithetic ? 2 * j : j;
    double weight = 0.0;
    if (used > 0 && seen.counts(p)) {
        weight = shaped(p);
        if (a.antithetic) weight -= shaped(p + 1);
    }
    a.weights[j] = static_cast<float>(weight);
}

/// Statistics of the finite members, and how many count.
__device__ FitnessStats statistics(const ShapingArgs& a) {
    const int64_t n = a.pop_size;
    const int lane = static_cast<int>(threadIdx.x);
    const auto each = [&](auto f) {
        for (int64_t p = lane; p < n; p += kLanes) f(p);
    };

    double sum = 0.0, lost = 0.0, no_result = 0.0;  // counts up to 2^53 are exact
    Found best{-INFINITY, n}, worst{-INFINITY, n};
    each([&](int64_t p) {
        const float f = a.fitness[p];
        if (!is_finite_fitness(f)) {
            lost += 1.0;
            if (is_no_result_bits(f)) no_result += 1.0;
            return;
        }
        sum += static_cast<double>(f);
        if (best.index == n || f > best.value) best = {f, p};
        if (worst.index == n || -f > worst.value) worst = {-f, p};
    });
    lost = block_sum<kLanes>(lost);
    if (lost > 0.0) no_result = block_sum<kLanes>(no_result);
    const double count = static_cast<double>(n) - lost;
    FitnessStats stats;
    stats.no_result = static_cast<int64_t>(no_result);
    stats.non_finite = static_cast<int64_t>(lost - no_result);
    if (count == 0.0) {
        stats.mean = stats.best = stats.worst = stats.std = NAN;
        return stats;
    }
    stats.mean = block_sum<kLanes>(sum) / count;
    best = block_argmax<kLanes>(best);
    worst = block_argmax<kLanes>(worst);
    stats.best = static_cast<double>(best.value);
    stats.best_member = best.index;
    stats.worst = -static_cast<double>(worst.value);
    double squares = 0.0;
    each([&](int64_t p) {
        if (!is_finite_fitness(a.fitness[p])) return;
        const double d = static_cast<double>(a.fitness[p]) - stats.mean;
        squares += d * d;
    });
    stats.std = deviation(block_sum<kLanes>(squares), count);
    const SeenFitness seen{a.fitness, a.antithetic, a.drop, stats.worst};
    stats.used = n;
    if (lost > 0.0) {
        double used = 0.0;
        each([&](int64_t p) { used += seen.counts(p) ? 1.0 : 0.0; });
        stats.used = static_cast<int64_t>(block_sum<kLanes>(used));
    }
    if (a.kind == ShapingKind::against_first && !seen.counts(0)) stats.used = 0;
    return stats;
}

/// f̂ = (f − mean)·scale, with what the kind says.
__device__ void shape_affine(const ShapingArgs& a, const FitnessStats& stats) {
    const int64_t n = a.pop_size, streams = a.antithetic ? n / 2 : n;
    const int lane = static_cast<int>(threadIdx.x);
    const SeenFitness seen{a.fitness, a.antithetic, a.drop, stats.worst};
    const bool first = a.kind == ShapingKind::against_first;
    const bool plain = a.kind == ShapingKind::none || a.kind == ShapingKind::sign_of_pair;
    double mean = stats.mean, std = stats.std;
    if (!plain && stats.used > 0 && (first || stats.used < n || stats.non_finite > 0)) {
        // Shaping sees other members than the statistics, or members with another fitness.
        const auto count = static_cast<double>(first ? stats.used - 1 : stats.used);
        double all = 0.0, around = 0.0;
        for (int64_t p = lane; p < n; p += kLanes) {
            if (p >= (first ? 1 : 0) && seen.counts(p)) all += seen.value(p);
        }
        mean = block_sum<kLanes>(all) / count;
        for (int64_t p = lane; p < n; p += kLanes) {
            if (p >= (first ? 1 : 0) && seen.counts(p)) {
                around += (seen.value(p) - mean) * (seen.value(p) - mean);
            }
        }
        std = deviation(block_sum<kLanes>(around), count);
    }
    if (first) mean = seen.value(0);
    if (plain) mean = 0.0;
    const double scale = plain || a.kind == ShapingKind::centre ? 1.0 : scale_of(std);
    for (int64_t j = lane; j < streams; j += kLanes) {
        if (a.kind == ShapingKind::sign_of_pair) {
            write_weight(a, seen, stats.used, j, [&](int64_t p) {
                const double f = seen.value(p), other = seen.value(p ^ 1);
                return f > other ? 0.5 : f < other ? -0.5 : 0.0;
            });
        } else {
            write_weight(a, seen, stats.used, j,
                         [&](int64_t p) { return (seen.value(p) - mean) * scale; });
        }
    }
}

constexpr bool is_affine(ShapingKind kind) {
    return kind != ShapingKind::centred_rank && kind != ShapingKind::groups;
}

/// One block. All registers of a multiprocessor are its own; without being told the compiler spills
/// on some architectures.
__global__ void __launch_bounds__(kLanes, 1) shape_kernel(ShapingArgs a) {
    const FitnessStats stats = statistics(a);
    if (threadIdx.x == 0) *a.stats = stats;
    if (is_affine(a.kind)) shape_affine(a, stats);
}

/// What ranks are counted of; NaN, which is neither less nor equal, for members that do not count.
struct RankKey {
    ShapingArgs a;
    float* keys;
    __device__ void operator()(int64_t p) const {
        const SeenFitness seen = seen_of(a);
        keys[p] = seen.counts(p) ? static_cast<float>(seen.value(p)) : NAN;
    }
};

/// doubled[p] = 2r − (n−1) of the midrank r among the n that count, by counting.
__global__ void __launch_bounds__(kThreads)
    rank_kernel(const float* keys, int64_t pop_size, const FitnessStats* stats, int64_t* doubled) {
    __shared__ float tile[kThreads];
    const int thread = static_cast<int>(threadIdx.x);
    for (int64_t begin = static_cast<int64_t>(blockIdx.x) * kThreads; begin < pop_size;
         begin += static_cast<int64_t>(gridDim.x) * kThreads) {
        const int64_t p = begin + thread;
        const float own = p < pop_size ? keys[p] : NAN;
        uint32_t less = 0, equal = 0;  // of a population up to 2^32, of which one is this member
        for (int64_t from = 0; from < pop_size; from += kThreads) {
            __syncthreads();  // who read the last tile is done
            tile[thread] = from + thread < pop_size ? keys[from + thread] : NAN;
            __syncthreads();
#pragma unroll 8
            for (int i = 0; i < kThreads; ++i) {
                less += tile[i] < own ? 1 : 0;
                equal += tile[i] == own ? 1 : 0;
            }
        }
        const uint32_t others = equal - 1;
        if (p < pop_size) {
            doubled[p] = 2 * static_cast<int64_t>(less) + others - (stats->used - 1);
        }
    }
}

struct RankWeight {
    ShapingArgs a;
    const int64_t* doubled;
    __device__ void operator()(int64_t j) const {
        const int64_t n = a.stats->used;
        const double by = 2.0 * static_cast<double>(n > 1 ? n - 1 : 1);
        write_weight(a, seen_of(a), n, j,
                     [&](int64_t p) { return static_cast<double>(doubled[p]) / by; });
    }
};

struct Group {
    double mean, squares, scale;
};

/// A block a group: mean and sum of squares around it, of those that count.
__global__ void __launch_bounds__(kGroupLanes) group_kernel(ShapingArgs a, Group* out) {
    const int lane = static_cast<int>(threadIdx.x);
    const SeenFitness seen = seen_of(a);
    for (int64_t g = blockIdx.x; g < a.pop_size / a.group_size; g += gridDim.x) {
        const int64_t end = (g + 1) * a.group_size;
        double used = 0.0, sum = 0.0, squares = 0.0;
        for (int64_t p = g * a.group_size + lane; p < end; p += kGroupLanes) {
            if (!seen.counts(p)) continue;
            used += 1.0;
            sum += seen.value(p);
        }
        used = block_sum<kGroupLanes>(used);
        sum = block_sum<kGroupLanes>(sum);
        const double mean = used > 0.0 ? sum / used : 0.0;
        for (int64_t p = g * a.group_size + lane; p < end; p += kGroupLanes) {
            if (!seen.counts(p)) continue;
            squares += (seen.value(p) - mean) * (seen.value(p) - mean);
        }
        squares = block_sum<kGroupLanes>(squares);
        if (lane == 0) out[g] = {mean, squares, scale_of(deviation(squares, used))};
    }
}

/// One block: the scale of all groups.
__global__ void __launch_bounds__(kLanes)
    global_scale_kernel(const Group* of, int64_t groups, const FitnessStats* stats, double* scale) {
    double squares = 0.0;
    for (int64_t g = threadIdx.x; g < groups; g += kLanes) squares += of[g].squares;
    squares = block_sum<kLanes>(squares);
    if (threadIdx.x == 0) {
        *scale = scale_of(deviation(squares, static_cast<double>(stats->used)));
    }
}

struct GroupWeight {
    ShapingArgs a;
    const Group* of;
    const double* scale;  // of all; null: each group has its own
    __device__ void operator()(int64_t j) const {
        const SeenFitness seen = seen_of(a);
        const Group& group =
            of[(a.antithetic ? 2 * j : j) / a.group_size];  // no group parts a pair
        const double mean = group.mean, by = scale != nullptr ? *scale : group.scale;
        write_weight(a, seen, a.stats->used, j,
                     [&](int64_t p) { return (seen.value(p) - mean) * by; });
    }
};

struct MeanEvaluations {
    const float* fitness;
    float* mean;
    int64_t evaluations;
    __device__ void operator()(int64_t p) const {
        mean[p] = mean_evaluation(fitness + p * evaluations, evaluations);
    }
};

void shape_ranks(const ShapingArgs& args, int64_t streams) {
    const Scratch keys(args.pop_size);
    const ScratchOf<int64_t> doubled(args.pop_size);
    for_each("rank_keys", args.pop_size, RankKey{args, keys.data()});
    launch("ranks", rank_kernel, grid_of(args.pop_size), dim3(kThreads), keys.data(), args.pop_size,
           args.stats, doubled.data());
    for_each("rank_weights", streams, RankWeight{args, doubled.data()});
}

void shape_groups(const ShapingArgs& args, int64_t streams) {
    const int64_t count = args.pop_size / args.group_size;
    const ScratchOf<Group> groups(count);
    const ScratchOf<double> scale(1);
    launch("groups", group_kernel, grid_of(count, 1), dim3(kGroupLanes), args, groups.data());
    const bool global = args.spread == Spread::global;
    if (global) {
        launch("group_scale", global_scale_kernel, dim3(1), dim3(kLanes), groups.data(), count,
               args.stats, scale.data());
    }
    for_each("group_weights", streams,
             GroupWeight{args, groups.data(), global ? scale.data() : nullptr});
}

}  // namespace

void mean_evaluations(const float* fitness, float* mean, int64_t pop_size, int64_t evaluations) {
    for_each("mean_evaluations", pop_size, MeanEvaluations{fitness, mean, evaluations});
}

void shape_fitness(const ShapingArgs& args) {
    const int64_t streams = args.antithetic ? args.pop_size / 2 : args.pop_size;
    launch("shape_fitness", shape_kernel, dim3(1), dim3(kLanes), args);
    if (args.kind == ShapingKind::centred_rank) shape_ranks(args, streams);
    if (args.kind == ShapingKind::groups) shape_groups(args, streams);
}

}  // namespace eggroll::cuda
