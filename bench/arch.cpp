// SPDX-License-Identifier: MIT
#include "bench/arch.h"

#include <algorithm>
#include <charconv>
#include <stdexcept>

namespace eggroll::bench {

namespace {

int64_t parse_extent(const std::string& text, const std::string& arch) {
    int64_t value = 0;
    const char* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, value);
    if (error != std::errc() || stop != end || value < 1 || value > 1 << 20) {
        throw std::invalid_argument("architecture \"" + arch +
                                    "\" is neither like 256x3 nor like 64-128-10, numbers from 1 "
                                    "to " +
                                    std::to_string(1 << 20));
    }
    return value;
}

}  // namespace

std::vector<int64_t> parse_arch(const std::string& arch) {
    if (const size_t cross = arch.find('x'); cross != std::string::npos) {
        const int64_t layers = parse_extent(arch.substr(cross + 1), arch);
        return std::vector<int64_t>(static_cast<size_t>(layers) + 1,
                                    parse_extent(arch.substr(0, cross), arch));
    }
    std::vector<int64_t> widths;
    for (size_t begin = 0; begin <= arch.size();) {
        const size_t end = std::min(arch.find('-', begin), arch.size());
        widths.push_back(parse_extent(arch.substr(begin, end - begin), arch));
        begin = end + 1;
    }
    if (widths.size() < 2) parse_extent("", arch);
    return widths;
}

}  // namespace eggroll::bench
