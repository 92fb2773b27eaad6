// SPDX-License-Identifier: MIT
#include "core/noise_cache.h"

#include <algorithm>

namespace eggroll::detail {

namespace {

int64_t round_up(int64_t n, int64_t multiple) {
    return (n + multiple - 1) / multiple * multiple;
}

/// Floats that one pair takes in the two arrays of a parameter.
struct Extent {
    int64_t b = 0, a = 0, stride = 0;
};

Extent extent_of(const TableEntry& entry) {
    const NoiseShape& noise = entry.parameter.noise;
    if (!entry.perturbed || (noise.is_matrix() && entry.rank == 0)) return {};
    if (!noise.is_matrix()) {
        const int64_t stride = round_up(entry.parameter.value.size(), kKeptPadding);
        return {.b = 0, .a = stride, .stride = stride};
    }
    const int64_t stride = round_up(noise.rows, kKeptPadding);
    return {.b = entry.rank * noise.cols, .a = entry.rank * stride, .stride = stride};
}

}  // namespace

NoiseCache::NoiseCache(const ParameterTable& table, int64_t streams, int64_t bytes, Device device,
                       KeptMemory& memory) {
    constexpr int64_t kAlignment = 64;  // floats: arrays begin with a cache line of their own
    int64_t floats = 0, arrays = 0, perturbed = 0;
    for (const TableEntry& entry : table.entries()) {
        const Extent extent = extent_of(entry);
        floats += extent.b + extent.a;
        arrays += 2;
        perturbed += extent.a > 0 ? 1 : 0;
    }
    const int64_t budget = bytes / static_cast<int64_t>(sizeof(float)) - arrays * kAlignment;
    const int64_t pairs = floats > 0 ? std::min(streams, budget / floats) : 0;
    if (pairs <= 0) return;
    static constexpr char kOwner = 0;
    values_ = memory.take(&kOwner, {pairs * floats + arrays * kAlignment}, device);
    state_ = std::make_unique<std::atomic<uint8_t>[]>(static_cast<size_t>(perturbed * pairs));
    float* next = TensorAccess::floats(values_);
    std::atomic<uint8_t>* state = state_.get();
    for (const TableEntry& entry : table.entries()) {
        const Extent extent = extent_of(entry);
        kept_.push_back({.b = next,
                         .a = next + round_up(pairs * extent.b, kAlignment),
                         .state = state,
                         .pairs = extent.a > 0 ? pairs : 0,
                         .stride = extent.stride});
        next += round_up(pairs * extent.b, kAlignment) + round_up(pairs * extent.a, kAlignment);
        state += extent.a > 0 ? pairs : 0;
    }
}

const KeptNoise* NoiseCache::of(const TableEntry& entry) const {
    if (kept_.empty() || kept_[entry.index].pairs == 0) return nullptr;
    return &kept_[entry.index];
}

}  // namespace eggroll::detail
