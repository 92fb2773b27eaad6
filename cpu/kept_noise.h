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
    own,      // nowhere: it draws them into memory of its own
    to_draw,  // in the kept memory, where it is the one to draw them, and then to call `now_drawn`
    drawn,    // in the kept memory
};

static inline Place find_place(const detail::KeptNoise* kept, int64_t first, int64_t count) {
    if (kept == nullptr || first + count > kept->pairs) return Place::own;
    int64_t drawn = 0, claimed = 0;  // those that are drawn come first, if any are
    for (; claimed < count; ++claimed) {
        uint8_t state = kNotDrawn;
        if (kept->state[first + claimed].compare_exchange_strong(state, kBeingDrawn)) continue;
        if (state == kBeingDrawn || claimed > drawn) break;
        ++drawn;
    }
    if (claimed == count && drawn == count) return Place::drawn;
    if (claimed == count && drawn == 0) return Place::to_draw;
    for (int64_t i = drawn; i < claimed; ++i) kept->state[first + i].store(kNotDrawn);
    return Place::own;
}

static inline void now_drawn(const detail::KeptNoise* kept, int64_t first, int64_t count) {
    for (int64_t i = first; i < first + count; ++i) {
        kept->state[i].store(kDrawn, std::memory_order_release);
    }
}

}  // namespace eggroll::EGGROLL_CPU_NS
