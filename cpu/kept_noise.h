// SPDX-License-Identifier: MIT
#pragma once

#include "core/backend.h"
#include "cpu/isa.h"

// Who draws kept noise, and who finds it there. Several threads may come at once: whoever finds the
// same pairs being drawn by another draws them for itself, and nobody waits.

namespace eggroll::EGGROLL_CPU_NS {

enum KeptState : uint8_t { kNotDrawn, kBeingDrawn, kDrawn };

/// Whether the noise of pairs first..first+count-1 is there to be read.
static inline bool is_drawn(const detail::KeptNoise* kept, int64_t first, int64_t count) {
    if (kept == nullptr || first + count > kept->pairs) return false;
    for (int64_t i = first; i < first + count; ++i) {
        if (kept->state[i].load(std::memory_order_acquire) != kDrawn) return false;
    }
    return true;
}

/// Where the noise of some pairs is for a caller.
enum class Place {
    own,   // nowhere: it draws them into memory of its own
    kept,  // in the kept memory, once it has called `draw_claimed`
};

/// Claims those of pairs first..first+count-1 that are not drawn yet, unless another thread is at
/// one of them.
static inline Place find_place(const detail::KeptNoise* kept, int64_t first, int64_t count) {
    if (kept == nullptr || first + count > kept->pairs) return Place::own;
    for (int64_t i = first; i < first + count; ++i) {
        uint8_t state = kNotDrawn;
        if (kept->state[i].compare_exchange_strong(state, kBeingDrawn) || state == kDrawn) continue;
        while (i-- > first) {  // what is being drawn before it is our own claim
            state = kBeingDrawn;
            kept->state[i].compare_exchange_strong(state, kNotDrawn);
        }
        return Place::own;
    }
    return Place::kept;
}

/// draw(pair, count) for each run of claimed pairs, which are then there for all.
template <class Draw>
void draw_claimed(const detail::KeptNoise* kept, int64_t first, int64_t count, const Draw& draw) {
    const auto claimed = [&](int64_t pair) {
        return kept->state[pair].load(std::memory_order_relaxed) == kBeingDrawn;
    };
    for (int64_t begin = first, end; begin < first + count; begin = end) {
        end = begin + 1;
        if (!claimed(begin)) continue;
        while (end < first + count && claimed(end)) ++end;
        draw(begin, end - begin);
        for (int64_t i = begin; i < end; ++i) {
            kept->state[i].store(kDrawn, std::memory_order_release);
        }
    }
}

}  // namespace eggroll::EGGROLL_CPU_NS
