// SPDX-License-Identifier: MIT

// How the cost of a generation grows: time and memory with the population, speed with the threads,
// against what the project claims. Status 1 where a claim does not hold.

#include "bench/cli.h"
#include "bench/workload.h"

#include "core/backend.h"
#include "tests/cases.h"

#include <sys/mman.h>

#include <algorithm>
#include <cmath>

using namespace eggroll;
using namespace eggroll::bench;

namespace {

// The claims.
constexpr double kUneven = 1.15;        // largest / smallest time per member of all populations
constexpr double kBytesPerMember = 16;  // of the O(P) scalars: fitness and what shaping makes of it
constexpr double kFlatMib = 16;         // growth of the peak beside them
constexpr double kEfficiency = 0.9;     // of n threads: 1.8 times the speed with two
constexpr double kRealCores = 0.95;     // that of the plain product, where n threads have n cores

// The model stays as it is, so that all generations cost alike: a step of 1e6 members can be so
// long that all have the same fitness from then on.
constexpr float kLr = 0;

/// Prints the line of a claim: at most `limit`. False, and the reason on stderr, when it is not so.
bool judge(JsonLine& line, const std::string& what, double value, double limit) {
    const bool holds = value <= limit;
    line.add("limit", limit).add("holds", holds).print();
    if (!holds) std::cerr << "error: " << what << ": " << value << " > " << limit << std::endl;
    return holds;
}

// --- With the population ------------------------------------------------------------------------

struct Settings {
    std::string arch = "64x3", clock = "wall";
    std::vector<int64_t> pops = {1000, 10000, 100000, 1000000};
    int threads = 1, rounds = 5;
    Repeats repeats{.at_least_ms = 100};
};

/// What a process measured: medians of a generation, and the peak memory of all above the start.
struct Sample {
    double ms, cpu_ms, mib;
};

/// Generations of rank 1, one shared row, the fitness computed in the chunks.
Sample generations(const Settings& s, int64_t pop_size) {
    set_num_threads(s.threads);
    reset_peak_memory();
    const double before = peak_memory_mib();
    const std::vector<int64_t> widths = parse_arch(s.arch);
    nn::Sequential model = make_mlp(widths);
    Eggroll es(model, {.pop_size = pop_size, .lr = kLr, .rank = 1});
    const Tensor x = make_input(widths.front(), pop_size, 1, true);
    const Objective objective = loss::mse(Tensor::zeros({1, widths.back()}));
    Report report;
    const Timing timing = measure(s.repeats, [&] { report = es.step(x, objective); });
    const double mib = peak_memory_mib() - before;
    if (!(report.std > 0)) fail("the members are not told apart");
    return {timing.median(), timing.cpu_median(), mib};
}

/// All processes of one population.
struct Growth {
    int64_t pop_size;
    Timing timing = {};
    double mib = 0;  // the largest

    double ns_per_member(const Settings& s) const {
        const double ms = s.clock == "cpu" ? timing.cpu_median() : timing.median();
        return 1e6 * ms / static_cast<double>(pop_size);
    }
};

/// A process of its own, which leaves what it measured in memory of both.
bool add_sample(const Settings& s, Growth& growth) {
    void* shared =
        mmap(nullptr, sizeof(Sample), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) fail("no memory to share with a process");
    Sample& sample = *new (shared) Sample{};
    const bool well = run_isolated("pop " + std::to_string(growth.pop_size),
                                   [&] { sample = generations(s, growth.pop_size); });
    growth.timing.ms.push_back(sample.ms);
    growth.timing.cpu_ms.push_back(sample.cpu_ms);
    growth.mib = std::max(growth.mib, sample.mib);
    munmap(shared, sizeof(Sample));
    return well;
}

/// Populations in turn, again and again: what disturbs the machine for a while disturbs all.
bool population(const Settings& s) {
    std::vector<Growth> all;
    for (const int64_t pop_size : s.pops) all.push_back({.pop_size = pop_size});
    for (int round = 0; round < s.rounds; ++round) {
        for (Growth& growth : all) {
            if (!add_sample(s, growth)) return false;
        }
    }
    const Growth& smallest =
        *std::min_element(all.begin(), all.end(),
                          [](const auto& a, const auto& b) { return a.pop_size < b.pop_size; });
    double least = smallest.ns_per_member(s), most = least, grown = 0;
    for (const Growth& growth : all) {
        const double ns = growth.ns_per_member(s);
        least = std::min(least, ns);
        most = std::max(most, ns);
        const double scalars =
            kBytesPerMember * static_cast<double>(growth.pop_size - smallest.pop_size) / (1 << 20);
        grown = std::max(grown, growth.mib - smallest.mib - scalars);
        JsonLine()
            .add("bench", "scaling")
            .add("arch", s.arch)
            .add("pop", growth.pop_size)
            .add("batch", 1)
            .add("rank", 1)
            .add("threads", s.threads)
            .add("clock", s.clock)
            .add("rounds", s.rounds)
            .add("ns_per_member", ns)
            .add("relative", ns / smallest.ns_per_member(s))
            .add("spread", growth.timing.spread())
            .add("over_start_mb", growth.mib)
            .print();
    }
    JsonLine time, memory;
    time.add("bench", "scaling").add("claim", "time").add("uneven", most / least);
    memory.add("bench", "scaling").add("claim", "memory").add("bytes_per_member", kBytesPerMember);
    memory.add("growth_mb", grown);
    const bool linear = judge(time, "largest / smallest time per member", most / least, kUneven);
    const bool flat =
        judge(memory, "MiB that the memory grows by beside O(P) scalars", grown, kFlatMib);
    return linear && flat;
}

// --- With the threads ---------------------------------------------------------------------------

/// A generation of 16384 members with one row of their own each, on `base` threads and on more in
/// turn, beside what the machine itself gives: our plain product, each thread on operands of its
/// own that fit its core's cache.
void speed_up(int base, int threads, const Repeats& repeats) {
    constexpr int64_t kPop = 16384, kWidth = 256, kRows = 240, kProductWidth = 128;
    nn::Sequential model = make_mlp({kWidth, kWidth, kWidth, kWidth});
    Eggroll es(model, {.pop_size = kPop, .lr = kLr, .rank = 1});
    const Tensor x = make_input(kWidth, kPop, 1, false);
    const Objective objective = loss::mse(Tensor::zeros({1, kWidth}));
    std::vector<PlainProduct> products;
    for (int i = 0; i < std::max(base, threads); ++i) {
        products.emplace_back(test::random_tensor({kRows, kProductWidth}),
                              test::random_tensor({kProductWidth, kProductWidth}), kRows);
    }
    const auto step = [&] { es.step(x, objective); };
    const auto multiply = [&] {
        in_parallel(num_threads(), [&](int64_t i) {
            for (int call = 0; call < 1000; ++call) products[static_cast<size_t>(i)].run();
        });
    };
    // New threads have no memory yet: a generation before the timed one gives them theirs.
    const auto on = [&](int count) {
        return [&step, count] {
            set_num_threads(count);
            step();
        };
    };
    const std::vector<Timing> timings =
        measure(repeats, std::vector<Side>{{.timed = step, .before = on(base)},
                                           {.timed = multiply, .before = on(base)},
                                           {.timed = step, .before = on(threads)},
                                           {.timed = multiply, .before = on(threads)}});
    const double more = static_cast<double>(threads) / base, limit = kEfficiency * more;
    const double plain = more * timings[1].median() / timings[3].median();
    // Repeats in which the product beside them had no cores to itself say nothing; if that is so of
    // most, none is left out and nothing is judged.
    const bool real_cores = plain >= kRealCores * more;
    Timing counted;
    for (size_t i = 0; i < timings[2].ms.size(); ++i) {
        const double scaled = more * timings[1].median() / timings[3].ms[i];
        if (real_cores && scaled < kRealCores * more) continue;
        counted.ms.push_back(timings[2].ms[i]);
        counted.cpu_ms.push_back(timings[2].cpu_ms[i]);
    }
    const double ours = timings[0].median() / counted.median();
    const bool holds = ours >= limit;
    JsonLine line;
    line.add("bench", "scaling").add("claim", "threads").add("arch", "256x3").add("pop", kPop);
    line.add("batch", 1).add("rank", 1).add("threads", threads).add("base_threads", base);
    line.add(counted).add("base_ms", timings[0].median()).add("speed_up", ours);
    line.add("repeats_counted", static_cast<int64_t>(counted.ms.size()));
    line.add("plain_speed_up", plain).add("real_cores", real_cores).add("limit", limit);
    line.add("holds", holds).print();
    if (real_cores && !holds) {
        fail("speed-up: " + std::to_string(ours) + " < " + std::to_string(limit));
    }
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app("How time and memory grow with the population, and speed with the threads.",
                 "bench_scaling");
    Settings s;
    std::vector<int> threads = {1, 2};
    app.option_defaults()->always_capture_default();
    app.add_option("--arch", s.arch, "MLP: 64x3 (three layers) or 64-128-10")
        ->check(readable_by(parse_arch));
    add_populations(app, s.pops, "populations of the first two claims");
    add_list(app, "--threads", threads,
             "the first for all populations, the others to compare with it")
        ->check(CLI::Range(1, 1024));
    app.add_option("--clock", s.clock, "of the populations; cpu: processor time")
        ->check(CLI::IsMember({"wall", "cpu"}));
    app.add_option("--rounds", s.rounds, "processes a population")->check(CLI::Range(1, 1000));
    add_repeats(app, s.repeats);
    return run_main(app, argc, argv, [&] {
        s.threads = threads.front();
        bool well = population(s);
        for (size_t i = 1; i < threads.size(); ++i) {
            well &= run_isolated(std::to_string(threads[i]) + " threads",
                                 [&] { speed_up(threads.front(), threads[i], s.repeats); });
        }
        return well;
    });
}
