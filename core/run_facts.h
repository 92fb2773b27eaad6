// SPDX-License-Identifier: MIT
#pragma once

#include "core/strategy.h"

#include <string>
#include <vector>

namespace eggroll::detail {

/// One thing that makes a run what it is.
struct Fact {
    std::string key, value;
    bool changeable = false;  // on purpose, when a checkpoint is resumed
};

/// All of them, of a strategy that has completed so many generations. An option that changes what a
/// run computes is added here, in one line, and is then stored in every checkpoint and compared
/// when one is resumed.
std::vector<Fact> facts_of(const Strategy& strategy, int64_t generation);

}  // namespace eggroll::detail
