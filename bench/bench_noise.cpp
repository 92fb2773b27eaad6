// SPDX-License-Identifier: MIT

// Nanoseconds per number and core of fill_words and fill_normal, beside the scalar reference, whose
// bits they must have.

#include "bench/cli.h"
#include "bench/reference_noise.h"

#include <eggroll/noise.h>
#include <eggroll/threads.h>

#include "core/backend.h"

#include <cstring>

using namespace eggroll;
using namespace eggroll::bench;

namespace {

/// Normals that are compared with the reference, from several places of several streams.
void check_bits(int64_t n) {
    std::vector<float> fast(static_cast<size_t>(n)), slow((fast.size() + 3) / 4 * 4);
    for (uint32_t pair = 0; pair < 8; ++pair) {
        const NoiseStream stream{.seed = 1, .parameter = pair * 7, .pair = pair, .generation = 3};
        const uint64_t first = uint64_t{pair} << 30;
        fill_normal(stream, first, fast);
        reference_normals(stream, first, slow.data(), static_cast<int64_t>(slow.size()));
        if (std::memcmp(fast.data(), slow.data(), fast.size() * sizeof(float)) != 0) {
            fail("fill_normal of " + std::to_string(n) + " differs from the reference");
        }
    }
}

/// Each thread fills a buffer of its own, of its own stream; a call draws another generation.
template <class T, class Fill>
void run(const char* what, int64_t n, int threads, const Repeats& repeats, const Fill& fill) {
    set_num_threads(threads);
    std::vector<std::vector<T>> buffers(static_cast<size_t>(threads),
                                        std::vector<T>(static_cast<size_t>((n + 3) / 4 * 4)));
    const int64_t calls = std::max<int64_t>(1, (int64_t{1} << 18) / n);
    uint32_t generation = 0;
    const auto one = [&](int64_t thread) {
        NoiseStream stream{.seed = 1, .pair = static_cast<uint32_t>(thread)};
        for (int64_t i = 0; i < calls; ++i) {
            stream.generation = generation + static_cast<uint32_t>(i);
            fill(stream, buffers[static_cast<size_t>(thread)], n);
        }
    };
    const Timing timing = measure(repeats, [&] {
        detail::cpu_backend().run_chunks(
            threads, [](void* context, int64_t i) { (*static_cast<decltype(one)*>(context))(i); },
            const_cast<void*>(static_cast<const void*>(&one)));
        generation += static_cast<uint32_t>(calls);
    });
    double sum = 0;
    for (const std::vector<T>& buffer : buffers) {
        for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(buffer[static_cast<size_t>(i)]);
    }
    const double numbers = static_cast<double>(n * calls);  // of one core
    JsonLine()
        .add("bench", "noise")
        .add("what", what)
        .add("n", n)
        .add("threads", threads)
        .add("ns", 1e6 * timing.median() / numbers)
        .add("ns_min", 1e6 * timing.min() / numbers)
        .add("spread", timing.spread())
        .add("cpu_ns", 1e6 * timing.cpu_median() / numbers / threads)
        .add("checksum", sum)
        .print();
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app("Nanoseconds per random number and core.", "bench_noise");
    std::vector<int64_t> sizes = {64, 256, 1024, 16384, 1000000};
    std::vector<int> threads = {1};
    Repeats repeats{.at_least_ms = 20};
    app.option_defaults()->always_capture_default();
    add_list(app, "--n", sizes, "numbers in a call")->check(CLI::Range(1, 1 << 28));
    add_list(app, "--threads", threads, "fills at the same time")->check(CLI::Range(1, 1024));
    add_repeats(app, repeats);
    return run_main(app, argc, argv, [&] {
        bool well = true;
        for (const int64_t n : sizes) {
            for (const int t : threads) {
                well &= run_isolated("n " + std::to_string(n), [&] {
                    check_bits(n);
                    run<float>("normal", n, t, repeats,
                               [](const auto& stream, auto& out, int64_t count) {
                                   fill_normal(stream, 0, {out.data(), static_cast<size_t>(count)});
                               });
                    run<uint32_t>(
                        "word", n, t, repeats, [](const auto& stream, auto& out, int64_t count) {
                            fill_words(stream, 0, {out.data(), static_cast<size_t>(count)});
                        });
                    run<float>("reference", n, t, repeats,
                               [](const auto& stream, auto& out, int64_t count) {
                                   reference_normals(stream, 0, out.data(), (count + 3) / 4 * 4);
                               });
                });
            }
        }
        return well;
    });
}
