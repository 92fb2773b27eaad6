// SPDX-License-Identifier: MIT
#pragma once

#include "core/backend.h"

#include <algorithm>
#include <cstdint>
#include <numeric>

// How a population is cut, from shapes and stated budgets alone: neither threads nor caches found
// at run time change where a member is computed.

namespace eggroll::cpu {

/// Rows of the widest register tile; groups that fill whole tiles waste nothing.
inline constexpr int64_t kTileRowsWidest = 12;

/// Members whose noise is drawn together: whole pairs and, for small batches, whole tiles of rows;
/// few enough that their factors stay in the second-level cache.
inline int64_t group_members(int64_t batch) {
    constexpr int64_t kRows = 48;
    const int64_t pair_rows = 2 * std::max<int64_t>(batch, 1);
    if (pair_rows >= 2 * kRows) return 2;
    const int64_t pairs = kTileRowsWidest / std::gcd(kTileRowsWidest, pair_rows);
    return 2 * pairs * std::max<int64_t>(1, kRows / (pairs * pair_rows));
}

/// Chunks of about 240 rows, fewer where rows are long and more where members bring many of their
/// own, so that the activations of two layers stay in a core's second-level cache; small
/// populations still make several chunks.
inline int64_t plan_chunk(const detail::PlanArgs& args) {
    constexpr int64_t kActivationBytes = 512 * 1024;
    constexpr int64_t kMinRows = 96, kMaxRows = 240, kMinChunks = 4, kEvenChunks = 16;
    constexpr int64_t kMostRows = 1024;
    const int64_t batch = std::max<int64_t>(args.rows, 1);
    const int64_t widest = std::max<int64_t>(args.widest, 1);
    const int64_t most = batch >= kMinRows ? kMostRows : kMaxRows;
    const int64_t rows = std::clamp(kActivationBytes / (4 * widest), kMinRows, most);
    const int64_t group = group_members(batch);
    const int64_t members = std::max(group, rows / batch / group * group);
    // A few chunks are as many for each of two or four threads.
    int64_t chunks = (args.pop_size + members - 1) / members;
    if (chunks < kEvenChunks) chunks = (chunks + kMinChunks - 1) / kMinChunks * kMinChunks;
    return std::max<int64_t>(2, (args.pop_size / chunks + 1) / 2 * 2);
}

}  // namespace eggroll::cpu
