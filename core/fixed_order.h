// SPDX-License-Identifier: MIT
#pragma once

// The order in which the update adds, one for all backends: given the same fitnesses, every
// processor, instruction set and GPU forms the same ascent direction to the last bit.

#include <algorithm>
#include <cstdint>

#ifdef __CUDACC__
#define EGGROLL_ORDER_FN __host__ __device__ inline __attribute__((always_inline))
#else
#define EGGROLL_ORDER_FN inline __attribute__((always_inline))
#endif

// Everything has internal linkage: the file is compiled several times into one library with
// different -m flags.

namespace eggroll::detail {

/// Every element of g is the sum, in rising order, of chains of fused multiply-adds in rising
/// order; a chain is as long as this, or shorter where a panel ends.
constexpr int64_t kChain = 256;

/// Streams of a panel of factors (rows,rank) and (cols,rank), of which there are `streams`.
static constexpr int64_t panel_streams(int64_t rows, int64_t cols, int64_t rank, int64_t streams) {
    constexpr int64_t kPanelFloats = 1 << 19, kLongestPanel = 4096;
    const int64_t inner =
        std::clamp(kPanelFloats / (rows + cols) / kChain * kChain, kChain, kLongestPanel);
    return std::min(streams, std::max<int64_t>(inner / rank, 1));
}

/// Sums over a population are formed by so many lanes, lane l taking members l, l + kLanes.. in
/// rising order; then lane l takes up lane l + h for h = kLanes/2 .. 1.
constexpr int kFitnessLanes = 256;
/// The same within a group of members.
constexpr int kGroupLanes = 32;

/// A sum of squares is formed in runs of so many elements, each by kFitnessLanes lanes, and the
/// sums of the runs are added likewise.
constexpr int64_t kSquaresRun = 16384;

/// √(n/k): sparse noise of k terms among n places has variance 1 with it.
EGGROLL_ORDER_FN float sparse_scale(int64_t n, int64_t k) {
#ifdef __CUDA_ARCH__
    return __fsqrt_rn(static_cast<float>(n) / static_cast<float>(k));
#else
    return __builtin_sqrtf(static_cast<float>(n) / static_cast<float>(k));
#endif
}

/// Sums of weight times normal over sparse places, formed in whole numbers: exact, so in any order.
/// A term is rounded once, to 2^-40 of the largest weight, or for more than 2^19 terms to 2^-59
/// times their number.
struct SparseSum {
    /// `largest`: of the weights' sizes, finite; `terms`: of all sums together.
    EGGROLL_ORDER_FN SparseSum(float largest_weight, int64_t terms) : largest(largest_weight) {
        // A term is below 8 in units of the largest weight, and no sum may reach 2^62.
        int bits = 59;
        for (int64_t n = 1; n < terms && bits > 0; n *= 2) --bits;
        if (bits > 40) bits = 40;
        unit = static_cast<double>(int64_t{1} << bits);
    }
    EGGROLL_ORDER_FN int64_t whole(float weight, float normal) const {
        const double part = static_cast<double>(weight) / static_cast<double>(largest);
        const double whole = part * static_cast<double>(normal) * unit;
#ifdef __CUDA_ARCH__
        return __double2ll_rn(whole);
#else
        return static_cast<int64_t>(__builtin_rint(whole));
#endif
    }
    EGGROLL_ORDER_FN float value(int64_t sum, float c) const {
        const double scale = static_cast<double>(c) * static_cast<double>(largest) / unit;
        return static_cast<float>(static_cast<double>(sum) * scale);
    }
    float largest;
    double unit;
};

}  // namespace eggroll::detail
