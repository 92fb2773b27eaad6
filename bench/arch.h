// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace eggroll::bench {

/// Layer widths, inputs first, from "256x3" (three layers 256-256-256-256) or "64-128-128-10",
/// at most 1024 layers.
/// Throws std::invalid_argument naming the text.
std::vector<int64_t> parse_arch(const std::string& arch);

}  // namespace eggroll::bench
