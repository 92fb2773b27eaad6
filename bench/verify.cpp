// SPDX-License-Identifier: MIT
#include "bench/verify.h"

#include "bench/harness.h"
#include "bench/reference_noise.h"
#include "cpu/kernel_set.h"
#include "tests/reference.h"

#include <eggroll/eggroll.h>

#include <array>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>

#include <unistd.h>

namespace eggroll::bench {

namespace {

namespace ref = test::reference;

class Fnv1a {
public:
    void add(std::span<const std::byte> bytes) {
        for (const std::byte b : bytes) hash_ = (hash_ ^ static_cast<uint64_t>(b)) * 0x100000001B3;
    }
    uint64_t value() const { return hash_; }

private:
    uint64_t hash_ = 0xCBF29CE484222325;
};

void require_hash(const std::string& what, uint64_t got, uint64_t want) {
    if (got == want) return;
    char hashes[64];
    std::snprintf(hashes, sizeof hashes, "%016" PRIX64 ", not %016" PRIX64, got, want);
    fail("the hash of " + what + " is " + hashes);
}

uint64_t hash_of(const nn::Module& model) {
    Fnv1a hash;
    for (const std::vector<float>& values : test::values_of(model)) {
        hash.add(std::as_bytes(std::span(values)));
    }
    return hash.value();
}

/// Thread counts whose results must be alike.
std::vector<int> thread_counts() {
    return {1, 2, 3, std::max(4, static_cast<int>(std::thread::hardware_concurrency()))};
}

// --- The checks ---------------------------------------------------------------------------------

/// Salmon et al. 2011, Random123's kat_vectors.
void philox_answers() {
    using Words = std::array<uint32_t, 4>;
    const uint32_t ones = 0xFFFFFFFF;
    const bool well =
        philox4x32({0, 0, 0, 0}, {0, 0}) == Words{0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8} &&
        philox4x32({ones, ones, ones, ones}, {ones, ones}) ==
            Words{0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD} &&
        philox4x32({0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344}, {0xA4093822, 0x299F31D0}) ==
            Words{0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1};
    if (!well) fail("philox4x32 does not give the published words");
}

/// All lengths up to some vectors of any width, and a long one, from several places of streams. The
/// hash is that of noise version 1.
void noise_bits() {
    std::vector<size_t> sizes(133);
    for (size_t i = 0; i < sizes.size(); ++i) sizes[i] = i;
    sizes.push_back(1 << 16);
    Fnv1a hash;
    for (uint32_t pair = 0; pair < 4; ++pair) {
        for (const size_t n : sizes) {
            const NoiseStream stream{
                .seed = 7, .parameter = pair * 5, .pair = pair, .generation = 3};
            const uint64_t first = uint64_t{pair} << 31;
            std::vector<float> fast(n), slow((n + 3) / 4 * 4);
            fill_normal(stream, first, fast);
            reference_normals(stream, first, slow.data(), static_cast<int64_t>(slow.size()));
            if (n > 0 && std::memcmp(fast.data(), slow.data(), n * sizeof(float)) != 0) {
                fail("fill_normal of " + std::to_string(n) + " differs from the scalar reference");
            }
            hash.add(std::as_bytes(std::span(fast)));
        }
    }
    require_hash("the normals", hash.value(), 0xBC71BA0FC0DB208A);
}

/// Every member of every network, in a population and alone.
void forward_within_bounds() {
    for (const test::NetworkCase& of : test::network_cases()) {
        nn::Sequential model = test::make_model(of);
        Eggroll es(model, {.pop_size = of.pop_size,
                           .sigma = 0.1f,
                           .rank = of.rank,
                           .seed = 9,
                           .antithetic = of.antithetic});
        const Tensor x = test::random_tensor({of.batch, of.widths[0]}, 1);
        const std::vector<float> rows = test::host(x);
        const Population population = es.ask();
        const Tensor y = population.forward(x);
        for (int64_t p = 0; p < of.pop_size; ++p) {
            const std::vector<ref::Bounded> want = ref::forward(
                of, ref::member_parameters(model, ref::law_of(es.options()), p, 0), rows);
            const double together = ref::excess(test::part(y, p), want);
            const double alone = ref::excess(test::host(population.member(p)(x)), want);
            if (!(together <= 1 && alone <= 1)) {
                fail("network \"" + of.name + "\", member " + std::to_string(p) +
                     ": an output is further from the reference than rounding explains");
            }
        }
    }
}

/// Given the fitnesses, the parameters are a function of the seed alone. Their hash changes only
/// with what the changelog says of the update.
void update_bits() {
    const test::NetworkCase of{"", {33, 65, 10}, Act::tanh, true, true, 3, 1, 130, true};
    for (const int threads : thread_counts()) {
        const test::ThreadScope scope(threads);
        Fnv1a hash;
        for (const ref::Rule rule : {ref::Rule::sgd, ref::Rule::momentum, ref::Rule::adam}) {
            for (const bool antithetic : {true, false}) {
                nn::Sequential model = test::make_model(of, 5);
                Eggroll es(model, {.pop_size = of.pop_size,
                                   .sigma = 0.1f,
                                   .lr = 0.05f,
                                   .rank = of.rank,
                                   .seed = 0x123456789ABCDEF,
                                   .antithetic = antithetic,
                                   .optimizer = ref::optimizer_of(rule)});
                for (uint32_t t = 0; t < 8; ++t) {
                    es.ask();
                    es.tell(test::random_fitness(of.pop_size, t));
                }
                for (const std::vector<float>& values : test::values_of(model)) {
                    hash.add(std::as_bytes(std::span(values)));
                }
            }
        }
        require_hash("the parameters, with " + std::to_string(threads) + " threads,", hash.value(),
                     0xDA927F4C38252D7F);
    }
}

/// A run that evaluates its members is the same for any number of threads, and gets better.
void run_bits() {
    const test::NetworkCase of{"", {7, 33, 5}, Act::relu, true, false, 4, 16, 66, true};
    uint64_t first = 0;
    for (const int threads : thread_counts()) {
        const test::ThreadScope scope(threads);
        nn::Sequential model = test::make_model(of);
        Eggroll es(model, {.pop_size = of.pop_size, .sigma = 0.1f, .lr = 0.1f, .rank = of.rank});
        const Tensor x = test::random_tensor({of.batch, of.widths.front()}, 1);
        const Objective objective = loss::mse(test::random_tensor({of.batch, of.widths.back()}, 2));
        const Report at_first = es.step(x, objective);
        const Report at_last = train(es, 30, [&] { return es.step(x, objective); });
        if (!(at_last.mean > at_first.mean)) fail("30 generations made nothing better");
        if (first == 0) first = hash_of(model);
        require_hash("a run with " + std::to_string(threads) + " threads", hash_of(model), first);
    }
}

struct Check {
    const char* what;
    void (*run)();
    bool on_gpu;  // it says something of a GPU
};

constexpr Check kChecks[] = {
    {"philox4x32-10 gives the published answers", philox_answers, false},
    {"noise has the bits of the scalar reference and of every machine", noise_bits, false},
    {"forward passes are within rounding of a reference in double", forward_within_bounds, true},
    {"updates have the bits of every machine, with any number of threads", update_bits, true},
    {"a run has the same bits with any number of threads, and learns", run_bits, true},
};

/// The target is an instruction set, or "cuda".
bool passes(const std::string& target, const Check& check) {
    const bool gpu = target == "cuda";
    const bool well = run_isolated(target + ": " + check.what, [&] {
        // Before the library's first use in this process.
        setenv("EGGROLL_DEVICE", gpu ? "cuda" : "cpu", 1);
        if (!gpu) setenv("EGGROLL_CPU_ISA", target.c_str(), 1);
        check.run();
    });
    std::printf("%s  %-8s  %s\n", well ? "pass" : "FAIL", target.c_str(), check.what);
    std::fflush(stdout);
    return well;
}

/// Asked in a process of its own, as all that uses the library.
bool has_gpu() {
    return run_isolated("the GPU", [] {
        try {
            Device::cuda();
        } catch (const Error&) {
            _exit(1);
        }
    });
}

}  // namespace

bool verify(bool need_gpu) {
    bool well = true;
    for (const cpu::KernelSet* set : cpu::kernel_sets()) {
        if (!cpu::missing_features(*set).empty()) continue;
        for (const Check& check : kChecks) well &= passes(set->name, check);
    }
    const bool gpu = has_gpu();
    if (need_gpu && !gpu) {
        std::printf("FAIL  cuda      there is a GPU that the library can use\n");
        return false;
    }
    for (const Check& check : kChecks) {
        if (gpu && check.on_gpu) well &= passes("cuda", check);
    }
    std::printf("%s\n",
                well ? "all as it should be" : "this machine or build is not as it should be");
    return well;
}

}  // namespace eggroll::bench
