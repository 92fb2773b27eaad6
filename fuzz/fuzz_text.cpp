// SPDX-License-Identifier: MIT
// Text of the environment, of the container and of options that we read ourselves, and the text of
// messages. The first byte says which.
#include "bench/arch.h"
#include "core/text.h"
#include "cpu/kernel_set.h"
#include "cpu/threads.h"
#include "fuzz/check.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>
#include <stdexcept>

using namespace eggroll;

namespace {

void thread_count(const std::string& text) {
    // Nothing but digits, worth 1 to 1024.
    uint64_t value = 0;
    bool digits = !text.empty();
    for (const char c : text) {
        digits = digits && c >= '0' && c <= '9';
        if (digits && value < 2000) value = 10 * value + static_cast<uint64_t>(c - '0');
    }
    const bool good = digits && value >= 1 && value <= 1024;
    int count = 0;
    const bool taken =
        fuzz::accepts("[EGGROLL_NUM_THREADS] ", [&] { count = cpu::parse_thread_count(text); });
    fuzz::require(taken == good, "a number of threads is taken that is none, or refused");
    if (taken) fuzz::require(static_cast<uint64_t>(count) == value, "another number of threads");
}

void quota(const std::string& text) {
    const size_t space = std::min(text.find(' '), text.size());
    const int granted = cpu::processors_granted(text.substr(0, space), text.substr(space));
    fuzz::require(granted >= 0, "fewer than no processors");
}

void instruction_set(const std::string& text) {
    fuzz::accepts("[EGGROLL_CPU_ISA] ", [&] {
        const cpu::KernelSet& kernels = cpu::choose_kernels(text);
        fuzz::require(text.empty() || text == kernels.name, "other kernels than those named");
        fuzz::require(cpu::missing_features(kernels).empty(), "kernels that cannot run here");
    });
}

void architecture(const std::string& text) {
    std::vector<int64_t> widths;
    try {
        widths = bench::parse_arch(text);
    } catch (const std::invalid_argument& error) {
        fuzz::check_message("architecture ", error.what());
        return;
    }
    fuzz::require(widths.size() >= 2 && widths.size() <= 1025, "a number of layers out of range");
    std::string again;
    for (const int64_t width : widths) {
        fuzz::require(width >= 1 && width <= 1 << 20, "a width out of range");
        again += (again.empty() ? "" : "-") + std::to_string(width);
    }
    fuzz::require(bench::parse_arch(again) == widths, "an architecture reads otherwise");
}

void quoted(const std::string& text) {
    const std::string shown = detail::in_quotes(text);
    fuzz::require(shown.size() >= 2 && shown.size() < 100, "a quotation is too long");
    fuzz::require(detail::first_non_utf8(shown) == shown.size(), "a quotation is not UTF-8");
    fuzz::require(std::ranges::none_of(shown, [](char c) { return c >= 0 && c < 0x20; }),
                  "a quotation has control characters");
    bool valid = true;
    try {
        static_cast<void>(nlohmann::json(text).dump());
    } catch (const nlohmann::json::type_error&) {
        valid = false;
    }
    fuzz::require(valid == (detail::first_non_utf8(text) == text.size()),
                  "UTF-8 is what one of two takes for it");
}

void numbers(const std::string& text) {
    if (text.size() < sizeof(double)) return;
    float narrow;
    double wide;
    std::memcpy(&narrow, text.data(), sizeof narrow);
    std::memcpy(&wide, text.data(), sizeof wide);
    const auto reads_back = [](auto value) {
        const std::string shown = detail::number(value);
        decltype(value) back = 0;
        std::from_chars(shown.data(), shown.data() + shown.size(), back);
        return std::isnan(value) ? std::isnan(back) : back == value;
    };
    fuzz::require(reads_back(narrow) && reads_back(wide), "a number reads back as another");
}

}  // namespace

EGGROLL_FUZZ(data) {
    if (data.empty()) return;
    // "256x1024" is 1025 widths.
    const fuzz::MemoryLimit limit(50'000 + fuzz::allowance(data.size()));
    constexpr void (*kReaders[])(const std::string&) = {thread_count, quota,  instruction_set,
                                                        architecture, quoted, numbers};
    kReaders[data[0] % std::size(kReaders)](std::string(fuzz::text_of(data.subspan(1))));
}
