// SPDX-License-Identifier: MIT
#pragma once

// The order in which the update adds, one for all backends: given the same fitnesses, every
// processor, instruction set and GPU forms the same ascent direction to the last bit.

#include <algorithm>
#include <cstdint>

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

}  // namespace eggroll::detail
