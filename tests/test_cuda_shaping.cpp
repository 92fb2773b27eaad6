// SPDX-License-Identifier: MIT
// From fitness to update, the CUDA rows against the CPU's, bit for bit.
#include "core/backend.h"
#include "tests/backend_array.h"
#include "tests/cases.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

using namespace eggroll;
using namespace eggroll::test;
using detail::Backend;
using detail::ShapingKind;

namespace {

std::vector<uint32_t> bits_of(const std::vector<float>& values) {
    std::vector<uint32_t> all;
    for (const float v : values) all.push_back(std::bit_cast<uint32_t>(v));
    return all;
}

void add(std::vector<uint32_t>& all, double v) {
    const auto bits = std::bit_cast<uint64_t>(std::isnan(v) ? 0.0 : v);
    all.push_back(static_cast<uint32_t>(bits));
    all.push_back(static_cast<uint32_t>(bits >> 32));
}

/// Weights and statistics.
std::vector<uint32_t> shaped(const Backend& backend, detail::ShapingArgs args,
                             const std::vector<float>& fitness) {
    BackendArray<float> f(backend, fitness),
        weights(backend, fitness.size() / (args.antithetic ? 2 : 1));
    BackendArray<detail::FitnessStats> found(backend, 1);
    args.fitness = f.data();
    args.pop_size = static_cast<int64_t>(fitness.size());
    args.weights = weights.data();
    args.stats = found.data();
    backend.shape_fitness(args);
    std::vector<uint32_t> all = bits_of(weights.host());
    const detail::FitnessStats stats = found.host()[0];
    for (const double v : {stats.mean, stats.best, stats.worst, stats.std}) add(all, v);
    for (const int64_t v : {stats.best_member, stats.non_finite, stats.no_result, stats.used}) {
        all.push_back(static_cast<uint32_t>(v));
    }
    return all;
}

std::vector<float> trouble(int64_t n, int how) {
    std::vector<float> f = random_fitness(n);
    const auto at = [&](int64_t p) -> float& { return f[static_cast<size_t>(p % n)]; };
    for (int64_t p = 0; how == 1 && p < n; ++p) at(p) = std::round(3 * at(p)) / 3;  // ties
    if (how == 2) at(n / 2) = kNan;
    if (how == 2) at(3) = -kInf;
    if (how == 3) at(n / 3) = no_result();
    if (how == 3) at(n - 1) = kInf;
    if (how == 4) at(0) = no_result();
    if (how == 5) f.assign(f.size(), kInf);
    return f;
}

}  // namespace

TEST_CASE("cuda: every shaping has the CPU's bits" * doctest::skip(!on_cuda())) {
    for (const ShapingKind kind :
         {ShapingKind::z_score, ShapingKind::centre, ShapingKind::centred_rank,
          ShapingKind::sign_of_pair, ShapingKind::groups, ShapingKind::none,
          ShapingKind::against_first}) {
        for (int how = 0; how < 6; ++how) {
            for (const int way : {0, 1}) {
                const bool pairs = way == 0;
                if (pairs ? kind == ShapingKind::against_first
                          : kind == ShapingKind::sign_of_pair) {
                    continue;
                }
                // More than a round of lanes, of a group too, where it tells something.
                const int64_t n = way == how % 2 && how < 4 ? 516 : 12;
                const detail::ShapingArgs args{
                    .fitness = nullptr,
                    .pop_size = n,
                    .antithetic = pairs,
                    .kind = kind,
                    .weights = nullptr,
                    .stats = nullptr,
                    .drop = (how + way) % 2 == 0,
                    .group_size = how < 2 ? n / 2 : n / 6,
                    .spread = how % 3 == 0 ? Spread::group : Spread::global};
                CAPTURE(static_cast<int>(kind));
                CAPTURE(how);
                CAPTURE(pairs);
                const std::vector<float> fitness = trouble(n, how);
                CHECK(shaped(detail::cuda_backend(0), args, fitness) ==
                      shaped(detail::cpu_backend(), args, fitness));
            }
        }
    }
}

TEST_CASE("cuda: means of evaluations have the CPU's bits" * doctest::skip(!on_cuda())) {
    constexpr int64_t kMembers = 300, kTimes = 5;
    std::vector<float> fitness = random_fitness(kMembers * kTimes);
    fitness[3] = kNan;
    fitness[8] = -kInf;
    fitness[17] = no_result();
    for (size_t i = 20; i < 25; ++i) fitness[i] = no_result();
    fitness[26] = no_result();
    fitness[27] = kInf;
    const auto means = [&](const Backend& backend) {
        BackendArray<float> f(backend, fitness), mean(backend, kMembers);
        backend.mean_evaluations(f.data(), mean.data(), kMembers, kTimes);
        return mean.host();
    };
    const std::vector<float> got = means(detail::cuda_backend(0));
    CHECK(bits_of(got) == bits_of(means(detail::cpu_backend())));
    CHECK(is_no_result(got[4]));
    CHECK_FALSE(is_no_result(got[5]));
}

TEST_CASE("cuda: clipping has the CPU's bits" * doctest::skip(!on_cuda())) {
    for (const int64_t n : {1, 300, 33000}) {
        CAPTURE(n);
        const std::vector<float> x = random_fitness(n);
        for (const float limit : {0.5f, 1e6f}) {
            const auto clipped = [&](const Backend& backend) {
                BackendArray<float> to(backend, x);
                BackendArray<double> sum(backend, std::vector<double>{0.125});
                backend.add_squares(to.data(), n, sum.data());
                backend.clip(sum.data(), limit, to.data(), n);
                std::vector<uint32_t> all = bits_of(to.host());
                add(all, sum.host()[0]);
                return all;
            };
            CHECK(clipped(detail::cuda_backend(0)) == clipped(detail::cpu_backend()));
        }
    }
}
