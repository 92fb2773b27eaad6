// SPDX-License-Identifier: MIT
// The kernels of every instruction set that this machine can run: what must be the same bits is,
// forward passes agree within rounding, and a processor that cannot run them is told so.
#include "core/backend.h"
#include "cpu/kernel_set.h"
#include "tests/cases.h"
#include "tests/errors.h"

#include <eggroll/error.h>

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

using namespace eggroll;
using namespace eggroll::test;
using detail::Backend;

namespace {

struct Named {
    std::string name;
    Backend kernels;
};

std::vector<Named> runnable() {
    std::vector<Named> sets;
    for (const cpu::KernelSet* set : cpu::kernel_sets()) {
        if (cpu::missing_features(*set).empty()) sets.push_back({set->name, cpu::backend_of(*set)});
    }
    return sets;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

std::vector<float> updated(const Backend& kernels, int64_t rows, int64_t cols, int rank,
                           int64_t pop_size) {
    const detail::GenerationBlock block{
        .seed = 3, .generation = 5, .sigma = 0.1f, .noise_generation = 5};
    const std::vector<float> weights = random_fitness(pop_size / 2);
    std::vector<float> g(static_cast<size_t>(rows * cols));
    kernels.update({.block = &block,
                    .weights = weights.data(),
                    .streams = pop_size / 2,
                    .pop_size = pop_size,
                    .parameter = 1,
                    .rank = rank,
                    .rows = rows,
                    .cols = cols,
                    .g = g.data()});
    return g;
}

/// y of one perturbed layer, and beside each element the sum of the sizes of what it is made of.
struct Forward {
    std::vector<float> y, size;
};

Forward forward(const Backend& kernels, const LayerCase& of, int rank, bool shared) {
    const detail::GenerationBlock block{
        .seed = 3, .generation = 5, .sigma = 0.1f, .noise_generation = 5};
    const int64_t rows = of.pop_size * of.batch;
    Tensor x = host_random_tensor({shared ? of.batch : rows, of.inputs}, 1);
    Tensor w = host_random_tensor({of.outputs, of.inputs}, 2),
           b = host_random_tensor({of.outputs}, 3);
    const auto run = [&](const Tensor& from, const Tensor& weight) {
        std::vector<float> y(static_cast<size_t>(rows * of.outputs)), base;
        detail::LinearArgs args{
            .members = {&block, 0, of.pop_size, true},
            .x = from.data().data(),
            .shared_x = shared,
            .base = nullptr,
            .packed = nullptr,
            .w = {.value = weight.data().data(), .parameter = 0, .perturbed = true, .rank = rank},
            .b = {.value = b.data().data(), .parameter = 1, .perturbed = true},
            .act = Act::none,
            .y = y.data(),
            .batch = of.batch,
            .inputs = of.inputs,
            .outputs = of.outputs};
        if (shared) {
            base.resize(static_cast<size_t>(of.batch * of.outputs));
            kernels.product(args.x, args.w.value, base.data(), of.batch, of.inputs, of.outputs,
                            Precision::f32);
            args.base = base.data();
        }
        kernels.linear(args);
        return y;
    };
    Forward result{.y = run(x, w), .size = {}};
    // With the sizes of x and W; the noise's part, of the order of σ, is covered by the constant.
    for (float& v : x.data()) v = std::fabs(v);
    for (float& v : w.data()) v = std::fabs(v);
    result.size = run(x, w);
    return result;
}

/// Whether a process of its own that starts with this EGGROLL_CPU_ISA passes "isa: child".
bool child_passes(const std::string& isa, const std::string& expected) {
    const std::string self = std::filesystem::read_symlink("/proc/self/exe").string();
    const std::string command = "EGGROLL_CPU_ISA='" + isa + "' EGGROLL_TEST_EXPECTED='" + expected +
                                "' '" + self +
                                "' --no-skip --test-case='isa: child' | grep -q '1 passed'";
    return std::system(command.c_str()) == 0;
}

}  // namespace

TEST_CASE("isa: the update is the same bits with every instruction set") {
    // Heights and widths that no tile divides; more streams than a chain, and than a panel.
    struct Shape {
        int64_t rows, cols, pop_size;
    };
    constexpr Shape kShapes[] = {{1, 1, 2},     {5, 3, 34},     {17, 33, 600}, {64, 64, 1026},
                                 {10, 784, 66}, {515, 2, 1030}, {3, 5, 20000}, {246, 264, 2500}};
    const std::vector<Named> sets = runnable();
    for (const Shape& of : kShapes) {
        for (const int rank : {0, 1, 2, 3, 4, 8}) {
            if (rank > std::min(of.rows, of.cols) || (rank == 0 && of.rows > 1)) continue;
            const std::vector<float> first =
                updated(sets[0].kernels, of.rows, of.cols, rank, of.pop_size);
            for (const Named& set : sets) {
                CAPTURE(set.name);
                CAPTURE(of.rows);
                CAPTURE(of.cols);
                CAPTURE(rank);
                CHECK(same_bits(updated(set.kernels, of.rows, of.cols, rank, of.pop_size), first));
            }
        }
    }
    for (const int64_t n : {1, 10, 515}) {  // vectors, over several rounds of partial sums
        const std::vector<float> first = updated(sets[0].kernels, 1, n, 0, 40000);
        for (const Named& set : sets) {
            CAPTURE(set.name);
            CHECK(same_bits(updated(set.kernels, 1, n, 0, 40000), first));
        }
    }
}

TEST_CASE("isa: shaping and optimizers are the same bits with every instruction set") {
    const std::vector<Named> sets = runnable();
    const int64_t n = 1003;
    const std::vector<float> fitness = random_fitness(n + 1, 1), g = random_fitness(n, 2);
    const detail::GenerationBlock block{.sigma = 0.1f, .lr = 0.3f, .updates = 6};
    using detail::Rule;
    using detail::ShapingKind;
    for (const auto& [rule, kind] :
         std::vector<std::pair<Rule, ShapingKind>>{{Rule::sgd, ShapingKind::z_score},
                                                   {Rule::momentum, ShapingKind::centred_rank},
                                                   {Rule::adam, ShapingKind::groups},
                                                   {Rule::nesterov, ShapingKind::sign_of_pair},
                                                   {Rule::adamw, ShapingKind::none}}) {
        std::vector<std::vector<float>> first;
        for (const Named& set : sets) {
            CAPTURE(set.name);
            std::vector<float> weights(static_cast<size_t>(n + 1) / 2),
                value = random_fitness(n, 3), m = random_fitness(n, 4), v = random_fitness(n, 5);
            for (float& x : v) x *= x;
            detail::FitnessStats stats;
            set.kernels.shape_fitness({.fitness = fitness.data(),
                                       .pop_size = n + 1,
                                       .antithetic = true,
                                       .kind = kind,
                                       .weights = weights.data(),
                                       .stats = &stats,
                                       .group_size = 4});
            set.kernels.optimize({.rule = rule,
                                  .block = &block,
                                  .value = value.data(),
                                  .g = g.data(),
                                  .first_moment = m.data(),
                                  .second_moment = v.data(),
                                  .n = n,
                                  .beta1 = 0.9f,
                                  .beta2 = 0.999f,
                                  .eps = 1e-8f,
                                  .weight_decay = 0.01f});
            double squares = 0;
            std::vector<float> clipped = g;
            set.kernels.add_squares(g.data(), n, &squares);
            set.kernels.clip(&squares, 0.5f, clipped.data(), n);
            const std::vector<std::vector<float>> results = {weights, value, m, v, clipped};
            if (first.empty()) first = results;
            for (size_t i = 0; i < results.size(); ++i) CHECK(same_bits(results[i], first[i]));
        }
    }
}

TEST_CASE("isa: forward passes agree within rounding") {
    const std::vector<Named> sets = runnable();
    for (const LayerCase& of : kLayerCases) {
        for (const int rank : {1, 2, 4}) {
            if (rank > std::min(of.outputs, of.inputs)) continue;
            for (const bool shared : {false, true}) {
                const Forward first = forward(sets[0].kernels, of, rank, shared);
                for (const Named& set : sets) {
                    CAPTURE(set.name);
                    CAPTURE(of.inputs);
                    CAPTURE(of.outputs);
                    CAPTURE(rank);
                    CAPTURE(shared);
                    const Forward got = forward(set.kernels, of, rank, shared);
                    // Two sums of I + r + 2 terms, each off by at most an ulp a term of the sum of
                    // sizes; 8 stands for the noise's share, which the latter leaves out.
                    const double unit = 0x1p-24 * static_cast<double>(of.inputs + rank + 2);
                    int64_t outside = 0;
                    for (size_t i = 0; i < got.y.size(); ++i) {
                        const double difference = std::fabs(static_cast<double>(got.y[i]) -
                                                            static_cast<double>(first.y[i]));
                        outside += difference >
                                   2 * unit * (std::fabs(static_cast<double>(first.size[i])) + 8);
                    }
                    CHECK(outside == 0);
                }
            }
        }
    }
}

TEST_CASE("isa: noise is drawn once into the kept memory, and read from there") {
    constexpr int64_t kPairs = 9, kKept = 7, kInputs = 5, kOutputs = 34, kStride = 64;
    constexpr int kRank = 2;
    for (const Named& set : runnable()) {
        CAPTURE(set.name);
        std::vector<float> b(kKept * kRank * kInputs), a(kKept * kRank * kStride, -1.0f),
            eps(kKept * kStride, -1.0f);
        std::vector<std::atomic<uint8_t>> w_state(kKept), b_state(kKept);
        const detail::KeptNoise w_kept{b.data(), a.data(), w_state.data(), kKept, kStride};
        const detail::KeptNoise b_kept{nullptr, eps.data(), b_state.data(), kKept, kStride};
        const detail::GenerationBlock block{
            .seed = 3, .generation = 5, .sigma = 0.1f, .noise_generation = 5};
        const Tensor x = host_random_tensor({2 * kPairs, kInputs}),
                     w = host_random_tensor({kOutputs, kInputs});
        const Tensor bias = host_random_tensor({kOutputs}, 1);
        const auto outputs = [&](int64_t first, int64_t count, bool kept) {
            std::vector<float> y(static_cast<size_t>(count * kOutputs));
            detail::LinearArgs args{};
            args.members = {&block, first, count, true};
            args.x = x.data().data() + first * kInputs;
            args.w = {.value = w.data().data(), .perturbed = true, .rank = kRank};
            args.b = {.value = bias.data().data(), .parameter = 1, .perturbed = true};
            args.w.kept = kept ? &w_kept : nullptr;
            args.b.kept = kept ? &b_kept : nullptr;
            args.act = Act::none;
            args.y = y.data();
            args.batch = 1;
            args.inputs = kInputs;
            args.outputs = kOutputs;
            set.kernels.linear(args);
            return y;
        };
        const auto drawn = [&] {
            return std::count(w_state.begin(), w_state.end(), 2) +
                   std::count(b_state.begin(), b_state.end(), 2);
        };
        // One member first; a group that holds its pair draws the others beside it. What goes past
        // the kept pairs is not kept.
        CHECK(outputs(5, 1, true) == outputs(5, 1, false));
        CHECK(drawn() == 2);
        CHECK(outputs(0, 2 * kKept, true) == outputs(0, 2 * kKept, false));
        CHECK(drawn() == 2 * kKept);
        CHECK(outputs(0, 2 * kPairs, true) == outputs(0, 2 * kPairs, false));

        // The factors are those of the streams, the rows padded with zeros.
        std::vector<float> rows(kInputs * kRank);
        set.kernels.fill_normal({3, 0, 4, 5}, 0, rows.data(), kInputs * kRank);
        bool right = true;
        for (size_t e = 0; e < rows.size(); ++e) {
            const size_t row = 4 * kRank + e % kRank;
            right = right && b[row * kInputs + e / kRank] == rows[e];
        }
        for (size_t row = 0; row < kKept * kRank; ++row) {
            for (size_t o = kOutputs; o < kStride; ++o) right = right && a[row * kStride + o] == 0;
        }
        CHECK(right);

        // What is there is what is used: of twice the memory comes twice the update.
        const std::vector<float> weights(kKept, 1.0f);
        const auto updated = [&](const detail::KeptNoise* kept, bool matrix) {
            std::vector<float> g(static_cast<size_t>(matrix ? kOutputs * kInputs : kOutputs));
            set.kernels.update({.block = &block,
                                .weights = weights.data(),
                                .streams = kKept,
                                .pop_size = 2 * kKept,
                                .parameter = matrix ? 0u : 1u,
                                .rank = matrix ? kRank : 0,
                                .rows = matrix ? kOutputs : 1,
                                .cols = matrix ? kInputs : kOutputs,
                                .g = g.data(),
                                .kept = kept});
            return g;
        };
        const auto twice = [](std::vector<float> values) {
            for (float& v : values) v *= 2;
            return values;
        };
        const std::vector<float> g = updated(nullptr, true), g_bias = updated(nullptr, false);
        CHECK(updated(&w_kept, true) == g);
        CHECK(updated(&b_kept, false) == g_bias);
        const std::vector<float> before = outputs(0, 2, true);
        for (float& v : a) v *= 2;
        for (float& v : eps) v *= 2;
        CHECK(outputs(0, 2, true) != before);
        CHECK(updated(&w_kept, true) == twice(g));
        CHECK(updated(&b_kept, false) == twice(g_bias));
    }
}

TEST_CASE("isa: what a processor lacks is named") {
    // No processor has all of these.
    const cpu::KernelSet impossible{.name = "impossible",
                                    .needs = ~uint64_t{0},
                                    .fill_rows = nullptr,
                                    .fill_normal_many = nullptr,
                                    .fill_factors = nullptr,
                                    .normals_from_words = nullptr};
    CHECK_FALSE(cpu::missing_features(impossible).empty());
    const std::string message = error_of([] { cpu::choose_kernels("sse9"); });
    CAPTURE(message);
    CHECK(message.find("[EGGROLL_CPU_ISA]") == 0);
    CHECK(message.find("\"sse9\"") != std::string::npos);
    CHECK(error_of([] { cpu::choose_kernels("a\n\xFF" + std::string(5000, 'x')); }).size() < 250);
    for (const cpu::KernelSet* set : cpu::kernel_sets()) {
        CHECK(message.find(set->name) != std::string::npos);
        if (cpu::missing_features(*set).empty()) {
            CHECK(&cpu::choose_kernels(set->name) == set);
        } else {
            const std::string lacking = error_of([&] { cpu::choose_kernels(set->name); });
            CHECK(lacking.find(cpu::missing_features(*set)) != std::string::npos);
        }
    }
}

TEST_CASE("isa: the most capable set is taken unless the environment names one") {
    for (const cpu::KernelSet* set : cpu::kernel_sets()) {
        if (!cpu::missing_features(*set).empty()) continue;
        CAPTURE(set->name);
        CHECK(child_passes(set->name, set->name));
    }
    CHECK(child_passes("", cpu::choose_kernels("").name));
    CHECK(child_passes("sse9", ""));
}

/// Run by child_passes only.
TEST_CASE("isa: child" * doctest::skip()) {
    const char* expected = std::getenv("EGGROLL_TEST_EXPECTED");
    REQUIRE(expected != nullptr);
    if (*expected != 0) {
        CHECK(cpu::kernels_in_use().name == std::string(expected));
        return;
    }
    for (int attempt = 0; attempt < 2; ++attempt) {  // refused every time, and nothing hangs
        CHECK(error_of([] { Tensor::zeros({1}); }).find("EGGROLL_CPU_ISA") != std::string::npos);
    }
}
