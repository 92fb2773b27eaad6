// SPDX-License-Identifier: MIT
#pragma once

#include "core/scope.h"

namespace eggroll::detail {

/// A parameter as one member of a population, whose block the host can read, sees it, on the host:
/// W + s σ E, or b + s σ ε.
Tensor member_value(const TableEntry& entry, const Members& population, int64_t member);

}  // namespace eggroll::detail
