// SPDX-License-Identifier: MIT
#include "core/fixed_order.h"
#include "cuda/block.h"
#include "cuda/kernels.h"
#include "cuda/launch.h"

namespace eggroll::cuda {

namespace {

constexpr int kLanes = kFitnessLanes;

__device__ bool is_finite(float x) {
    return x - x == 0.0f;
}

/// One block: statistics of the finite members, then the weights of the update. All registers of a
/// multiprocessor are its own; without being told the compiler spills on some architectures.
__global__ void __launch_bounds__(kLanes, 1) shape_kernel(ShapingArgs a) {
    const int64_t n = a.pop_size, streams = a.antithetic ? n / 2 : n;
    const int lane = static_cast<int>(threadIdx.x);
    const auto each = [&](auto f) {
        for (int64_t p = lane; p < n; p += kLanes) f(p);
    };

    double sum = 0.0, non_finite = 0.0;  // counts up to 2^53 are exact
    Found best{-INFINITY, n}, worst{-INFINITY, n};
    each([&](int64_t p) {
        const float f = a.fitness[p];
        if (!is_finite(f)) {
            non_finite += 1.0;
            return;
        }
        sum += static_cast<double>(f);
        if (best.index == n || f > best.value) best = {f, p};
        if (worst.index == n || -f > worst.value) worst = {-f, p};
    });
    const double lost = block_sum<kLanes>(non_finite), count = static_cast<double>(n) - lost;
    FitnessStats stats;
    stats.non_finite = static_cast<int64_t>(lost);
    stats.mean = block_sum<kLanes>(sum) / count;
    best = block_argmax<kLanes>(best);
    worst = block_argmax<kLanes>(worst);
    if (count == 0.0) {
        if (lane == 0) {
            stats.mean = stats.best = stats.worst = stats.std = NAN;
            *a.stats = stats;
        }
        for (int64_t j = lane; j < streams; j += kLanes) a.weights[j] = 0.0f;
        return;
    }
    stats.best = static_cast<double>(best.value);
    stats.best_member = best.index;
    stats.worst = -static_cast<double>(worst.value);
    double squares = 0.0;
    each([&](int64_t p) {
        if (!is_finite(a.fitness[p])) return;
        const double d = static_cast<double>(a.fitness[p]) - stats.mean;
        squares += d * d;
    });
    squares = block_sum<kLanes>(squares);
    stats.std = count > 1.0 ? ::sqrt(squares / (count - 1.0)) : 0.0;
    if (lane == 0) *a.stats = stats;

    // Shaping sees all members, a non-finite one as the worst of the finite.
    const auto value = [&](int64_t p) {
        return is_finite(a.fitness[p]) ? static_cast<double>(a.fitness[p]) : stats.worst;
    };
    double mean = stats.mean, std = stats.std;
    if (stats.non_finite > 0) {
        double all = 0.0, around = 0.0;
        each([&](int64_t p) { all += value(p); });
        mean = block_sum<kLanes>(all) / static_cast<double>(n);
        each([&](int64_t p) { around += (value(p) - mean) * (value(p) - mean); });
        std = ::sqrt(block_sum<kLanes>(around) / static_cast<double>(n - 1));
    }
    const double scale = a.normalize && std > 1e-8 ? 1.0 / std : 1.0;
    const auto shaped = [&](int64_t p) { return (value(p) - mean) * scale; };
    for (int64_t j = lane; j < streams; j += kLanes) {
        a.weights[j] =
            static_cast<float>(a.antithetic ? shaped(2 * j) - shaped(2 * j + 1) : shaped(j));
    }
}

}  // namespace

void shape_fitness(const ShapingArgs& args) {
    launch("shape_fitness", shape_kernel, dim3(1), dim3(kLanes), args);
}

}  // namespace eggroll::cuda
