// SPDX-License-Identifier: MIT
#pragma once

#include "core/scope.h"

namespace eggroll::detail {

/// A parameter as one member sees it, on the host: W + s σ/√r A Bᵀ, or b + s σ ε.
Tensor member_value(const TableEntry& entry, const GenerationBlock& block, bool antithetic,
                    int64_t member);

}  // namespace eggroll::detail
