// SPDX-License-Identifier: MIT
#pragma once

#include <eggroll/strategy.h>

#include <string>

namespace eggroll::detail {

/// Adds a sentence to what went wrong beside the generation itself.
inline void add_trouble(Report& report, const std::string& sentence) {
    if (!report.trouble.empty()) report.trouble += "; ";
    report.trouble += sentence;
}

}  // namespace eggroll::detail
