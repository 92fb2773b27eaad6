// SPDX-License-Identifier: MIT
#pragma once

#include <eggroll/export.h>

#include <stdexcept>

namespace eggroll {

/// Everything a caller can cause is reported by this one type. The message names the operation,
/// the culprit and both values: `[linear] weight "0.weight" is (64,32) but x has 31 columns`.
/// Whoever throws it has changed nothing.
class EGGROLL_API Error : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

}  // namespace eggroll
