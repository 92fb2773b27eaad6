// SPDX-License-Identifier: MIT
// The command lines of examples and benchmarks: one argument a line. What they let through makes a
// strategy or is refused with the reason.
#include "bench/arch.h"
#include "bench/cli.h"
#include "examples/common/options.h"
#include "fuzz/check.h"

#include <eggroll/eggroll.h>

#include <algorithm>
#include <cmath>

using namespace eggroll;

namespace {

/// As CLI11 wants them: last first.
std::vector<std::string> arguments(std::string_view text) {
    std::vector<std::string> lines;
    while (lines.size() < 32) {
        const size_t end = std::min(text.find('\n'), text.size());
        lines.emplace_back(text.substr(0, end));
        if (end == text.size()) break;
        text.remove_prefix(end + 1);
    }
    std::ranges::reverse(lines);
    return lines;
}

bool parses(CLI::App& app, std::string_view text) {
    try {
        app.parse(arguments(text));
        return true;
    } catch (const CLI::Error&) {
        return false;
    }
}

void example(std::string_view text) {
    CLI::App app;
    examples::CommonFlags flags;
    Options options;
    examples::add_common_flags(app, flags, options);
    if (!parses(app, text)) return;
    fuzz::require(flags.steps >= 0 && flags.threads >= 0 && flags.threads <= 1024,
                  "an option out of its range");
    fuzz::accepts("[Options] ", [&] {
        static nn::Linear model(2, 1);
        const Eggroll es(model, options);
        fuzz::require(options.pop_size >= 2 && options.pop_size % 2 == 0 && options.rank >= 1 &&
                          options.sigma > 0 && std::isfinite(options.sigma) && options.lr >= 0 &&
                          std::isfinite(options.lr),
                      "a strategy was made of what cannot work");
    });
}

void benchmark(std::string_view text) {
    CLI::App app;
    bench::Repeats repeats;
    std::vector<int64_t> pops = {64};
    std::vector<int> ranks = {1};
    std::vector<std::string> works = {"step"};
    std::vector<std::string> archs = {"256x3"};
    bench::add_repeats(app, repeats);
    bench::add_populations(app, pops, "members");
    bench::add_list(app, "--rank", ranks, "ranks")->check(CLI::Range(1, 4096));
    bench::add_list(app, "--work", works, "work")->check(CLI::IsMember({"forward", "step"}));
    bench::add_list(app, "--arch", archs, "architectures")
        ->check(bench::readable_by(bench::parse_arch));
    if (!parses(app, text)) return;
    const auto all = [](const auto& values, auto good) {
        return std::ranges::all_of(values, good);
    };
    fuzz::require(repeats.count >= 1 && repeats.warmup >= 0, "repeats out of range");
    fuzz::require(
        all(pops, [](int64_t p) { return p >= 2 && p <= int64_t{1} << 32 && p % 2 == 0; }),
        "a population out of range");
    fuzz::require(all(ranks, [](int r) { return r >= 1 && r <= 4096; }), "a rank out of range");
    fuzz::require(all(works, [](auto& w) { return w == "forward" || w == "step"; }),
                  "work that is not known");
    for (const std::string& one : archs) bench::parse_arch(one);
}

}  // namespace

EGGROLL_FUZZ(data) {
    const std::string_view text = fuzz::text_of(data);
    example(text);
    benchmark(text);
}
