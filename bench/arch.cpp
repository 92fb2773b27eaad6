// SPDX-License-Identifier: MIT
#include "bench/arch.h"

#include "core/text.h"

#include <algorithm>
#include <charconv>
#include <stdexcept>
#include <string_view>

namespace eggroll::bench {

namespace {

constexpr int64_t kMostWide = 1 << 20, kMostLayers = 1024;

[[noreturn]] void refuse(const std::string& arch) {
    throw std::invalid_argument("architecture " + detail::in_quotes(arch) +
                                " is neither like 256x3 nor like 64-128-10: 1 to " +
                                std::to_string(kMostLayers) + " layers of widths from 1 to " +
                                std::to_string(kMostWide));
}

int64_t parse_number(std::string_view text, int64_t most, const std::string& arch) {
    int64_t value = 0;
    const char* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, value);
    if (error != std::errc() || stop != end || value < 1 || value > most) refuse(arch);
    return value;
}

}  // namespace

std::vector<int64_t> parse_arch(const std::string& arch) {
    const std::string_view text = arch;
    if (const size_t cross = text.find('x'); cross != text.npos) {
        const int64_t width = parse_number(text.substr(0, cross), kMostWide, arch);
        const int64_t layers = parse_number(text.substr(cross + 1), kMostLayers, arch);
        return std::vector<int64_t>(static_cast<size_t>(layers) + 1, width);
    }
    std::vector<int64_t> widths;
    for (size_t begin = 0; begin <= text.size();) {
        const size_t end = std::min(text.find('-', begin), text.size());
        widths.push_back(parse_number(text.substr(begin, end - begin), kMostWide, arch));
        begin = end + 1;
    }
    if (widths.size() < 2 || widths.size() > kMostLayers + 1) refuse(arch);
    return widths;
}

}  // namespace eggroll::bench
