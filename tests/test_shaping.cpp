// SPDX-License-Identifier: MIT
// From fitness to the weights of the update: every shaping against its formula in double and known
// answers, what becomes of members without a finite fitness, and evaluations that are averaged.
#include "core/shaping.h"
#include "core/storage.h"
#include "tests/backend_array.h"
#include "tests/cases.h"
#include "tests/errors.h"
#include "tests/model_bits.h"

#include <eggroll/eggroll.h>

#include <doctest/doctest.h>

#include <atomic>
#include <bit>
#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

using namespace eggroll;
using namespace eggroll::test;
using detail::ShapingAccess;
using detail::ShapingKind;

namespace {

struct Weights {
    std::vector<float> of_streams;
    detail::FitnessStats stats;
};

/// What the backend makes of a fitness.
Weights weights_of(const Options& options, const std::vector<float>& fitness) {
    const detail::Backend& backend = detail::backend_of(test_device());
    const size_t n = fitness.size();
    BackendArray<float> f(backend, fitness), weights(backend, options.antithetic ? n / 2 : n);
    BackendArray<detail::FitnessStats> stats(backend, 1);
    detail::ShapingArgs args = ShapingAccess::args(ShapingAccess::chosen(options), options);
    args.fitness = f.data();
    args.weights = weights.data();
    args.stats = stats.data();
    backend.shape_fitness(args);
    return {weights.host(), stats.host()[0]};
}

// --- The formulas once more, naively ------------------------------------------------------------

struct Naive {
    std::vector<double> weights;
    int64_t used = 0, non_finite = 0, no_result = 0;
};

double mean_of(const std::vector<double>& values) {
    double sum = 0;
    for (const double v : values) sum += v;
    return sum / static_cast<double>(values.size());
}

/// Around a given centre.
double std_of(const std::vector<double>& values, double centre) {
    if (values.size() < 2) return 0;
    double sum = 0;
    for (const double v : values) sum += (v - centre) * (v - centre);
    return std::sqrt(sum / static_cast<double>(values.size() - 1));
}

double over(double value, double std) {
    return std > 1e-8 ? value / std : value;
}

Naive naive(const Options& options, const std::vector<float>& fitness, ShapingKind kind,
            int64_t size, Spread spread) {
    const size_t n = fitness.size();
    std::vector<bool> in(n, true);
    double worst = std::numeric_limits<double>::infinity();
    Naive result;
    for (size_t p = 0; p < n; ++p) {
        if (is_no_result(fitness[p])) {
            ++result.no_result;
            in[p] = false;
        } else if (!std::isfinite(fitness[p])) {
            ++result.non_finite;
            if (options.non_finite == NonFinite::drop) in[p] = false;
        } else {
            worst = std::min(worst, static_cast<double>(fitness[p]));
        }
    }
    for (size_t p = 0; options.antithetic && p < n; p += 2) in[p] = in[p + 1] = in[p] && in[p + 1];
    if (std::isinf(worst)) in.assign(n, false);
    if (kind == ShapingKind::against_first && !in[0]) in.assign(n, false);
    std::vector<double> f(n), all, others;
    for (size_t p = 0; p < n; ++p) {
        f[p] = std::isfinite(fitness[p]) ? static_cast<double>(fitness[p]) : worst;
        if (!in[p]) continue;
        ++result.used;
        all.push_back(f[p]);
        if (p > 0) others.push_back(f[p]);
    }
    std::vector<double> centred(n, 0.0), every;
    for (size_t p = 0; kind == ShapingKind::groups && p < n; ++p) {
        std::vector<double> group;
        const size_t s = static_cast<size_t>(size), first = p / s * s;
        for (size_t q = first; q < first + s; ++q) {
            if (in[q]) group.push_back(f[q]);
        }
        if (!in[p]) continue;
        centred[p] = f[p] - mean_of(group);
        every.push_back(centred[p]);
        if (spread == Spread::group) centred[p] = over(centred[p], std_of(group, mean_of(group)));
    }
    std::vector<double> shaped(n, 0.0);
    for (size_t p = 0; p < n; ++p) {
        if (!in[p]) continue;
        switch (kind) {
            case ShapingKind::z_score:
                shaped[p] = over(f[p] - mean_of(all), std_of(all, mean_of(all)));
                break;
            case ShapingKind::centre:
                shaped[p] = f[p] - mean_of(all);
                break;
            case ShapingKind::centred_rank: {
                double rank = -0.5;  // less, and half of the equal, one of which it is itself
                for (const double v : all) rank += v < f[p] ? 1.0 : v == f[p] ? 0.5 : 0.0;
                const double most = static_cast<double>(all.size()) - 1;
                shaped[p] = most > 0 ? rank / most - 0.5 : 0.0;
                break;
            }
            case ShapingKind::sign_of_pair:
                shaped[p] = f[p] > f[p ^ 1] ? 0.5 : f[p] < f[p ^ 1] ? -0.5 : 0.0;
                break;
            case ShapingKind::groups:
                shaped[p] =
                    spread == Spread::global ? over(centred[p], std_of(every, 0.0)) : centred[p];
                break;
            case ShapingKind::none:
            case ShapingKind::own:
                shaped[p] = f[p];
                break;
            case ShapingKind::against_first:
                shaped[p] =
                    others.empty() ? 0.0 : over(f[p] - f[0], std_of(others, mean_of(others)));
                break;
        }
    }
    for (size_t j = 0; j < (options.antithetic ? n / 2 : n); ++j) {
        result.weights.push_back(options.antithetic ? shaped[2 * j] - shaped[2 * j + 1]
                                                    : shaped[j]);
    }
    return result;
}

/// A shaping and what the naive formulas call it.
struct Family {
    Shaping shaping;
    ShapingKind kind;
    int64_t size = 0;
    Spread spread = Spread::global;
};

bool fits(const Family& family, bool antithetic, int64_t pop_size) {
    if (family.kind == ShapingKind::sign_of_pair) return antithetic;
    if (family.kind == ShapingKind::against_first) return !antithetic;
    if (family.kind == ShapingKind::groups) {
        return pop_size % family.size == 0 && (!antithetic || family.size % 2 == 0);
    }
    return true;
}

std::vector<Family> families() {
    std::vector<Family> all = {{shaping::z_score(), ShapingKind::z_score},
                               {shaping::centre(), ShapingKind::centre},
                               {shaping::centred_rank(), ShapingKind::centred_rank},
                               {shaping::sign_of_pair(), ShapingKind::sign_of_pair},
                               {shaping::none(), ShapingKind::none},
                               {shaping::against_first(), ShapingKind::against_first}};
    for (const int64_t size : {2, 3, 4, 34, 515}) {
        for (const Spread spread : {Spread::global, Spread::group}) {
            all.push_back({shaping::groups(size, spread), ShapingKind::groups, size, spread});
        }
    }
    return all;
}

/// Fitness with ties, zeros of both signs, and what is not finite.
std::vector<float> trouble(int64_t n, int how) {
    std::vector<float> f = random_fitness(n, static_cast<uint32_t>(n));
    const auto at = [&](int64_t p) -> float& { return f[static_cast<size_t>(p % n)]; };
    if (how == 0) return f;
    for (int64_t p = 0; p < n; ++p) at(p) = std::round(2 * at(p)) / 2;  // many ties, and -0
    if (how == 1) return f;
    at(n / 2) = kNan;
    at(n - 1) = -kInf;
    at(5) = kInf;
    if (how == 2) return f;
    at(n / 3) = no_result();
    at(n / 3 + 7) = -no_result();
    if (how == 3) return f;
    if (how == 4) at(0) = no_result();
    if (how == 5) f.assign(f.size(), 0.25f);
    if (how == 6) f.assign(f.size(), kNan);
    if (how == 7) f.assign(f.size(), no_result());
    if (how == 8) {  // of each pair one
        for (int64_t p = 0; p < n; p += 2) at(p) = p % 4 == 0 ? kInf : no_result();
    }
    return f;
}

nn::Sequential small_model() {
    nn::Sequential model = here(nn::Sequential(nn::Linear(4, 7), nn::Tanh(), nn::Linear(7, 3)));
    model.init(1);
    return model;
}

/// A model, a strategy, and generations told.
struct Run {
    explicit Run(Options options) : model(small_model()), es(model, std::move(options)) {}

    Report tell(const std::vector<float>& fitness) {
        es.ask();
        return es.tell(fitness);
    }
    std::string values() const { return bits(model); }

    nn::Sequential model;
    Eggroll es;
};

}  // namespace

// --- The family ---------------------------------------------------------------------------------

TEST_CASE(
    "shaping: a fitness whose rows are no members is refused, and the generation stays open") {
    nn::Linear model = here(nn::Linear(3, 2));
    Eggroll es(model, {.pop_size = 4, .evaluations = 3});
    es.ask();
    CHECK_THROWS_WITH_AS(es.tell(zeros({3, 4})),
                         "[tell] the fitness (3,4) must have one row a member but the population "
                         "has 4 members",
                         Error);
    CHECK_THROWS_AS(es.tell(zeros({2, 2, 3})), Error);
    CHECK(es.generation() == 0);
    es.tell(zeros({4, 3}));
    CHECK(es.generation() == 1);
    es.ask();
    es.tell(zeros({12}));
    CHECK(es.generation() == 2);
}

TEST_CASE("shaping: every one is its formula") {
    int count = 0;  // emulated, a few of them
    for (const Family& family : families()) {
        for (const int64_t n : {2, 3, 4, 34, 1030}) {
            for (const bool antithetic : {true, false}) {
                if ((antithetic && n % 2 != 0) || !fits(family, antithetic, n)) continue;
                for (const NonFinite policy : {NonFinite::worst, NonFinite::drop}) {
                    for (int how = 0; how < 9; ++how) {
                        if (is_slow() && (n > 34 || ++count % 20 != 0)) continue;
                        const Options options{.pop_size = n,
                                              .antithetic = antithetic,
                                              .shaping = family.shaping,
                                              .non_finite = policy};
                        const std::vector<float> fitness = trouble(n, how);
                        CAPTURE(family.shaping.describe());
                        CAPTURE(n);
                        CAPTURE(antithetic);
                        CAPTURE(static_cast<int>(policy));
                        CAPTURE(how);
                        const Naive want =
                            naive(options, fitness, family.kind, family.size, family.spread);
                        const Weights got = weights_of(options, fitness);
                        CHECK(got.stats.used == want.used);
                        CHECK(got.stats.non_finite == want.non_finite);
                        CHECK(got.stats.no_result == want.no_result);
                        REQUIRE(got.of_streams.size() == want.weights.size());
                        int64_t outside = 0;
                        for (size_t j = 0; j < want.weights.size(); ++j) {
                            // Rounded to float once; in double two orders of a sum of n differ by
                            // some n units of the last place, blown up by 1/std < 100 here.
                            const double off =
                                std::fabs(static_cast<double>(got.of_streams[j]) - want.weights[j]);
                            outside += !(off <= 0x1p-24 * std::fabs(want.weights[j]) + 1e-11);
                        }
                        CHECK(outside == 0);
                    }
                }
            }
        }
    }
}

TEST_CASE("shaping: known answers") {
    const auto weights = [](const Shaping& shaping, bool antithetic, std::vector<float> fitness,
                            NonFinite policy = NonFinite::worst) {
        return weights_of({.pop_size = static_cast<int64_t>(fitness.size()),
                           .antithetic = antithetic,
                           .shaping = shaping,
                           .non_finite = policy},
                          fitness)
            .of_streams;
    };
    using Floats = std::vector<float>;
    CHECK(weights(shaping::centred_rank(), false, {5, 1, 3, 2, 4}) ==
          Floats{0.5f, -0.5f, 0, -0.25f, 0.25f});
    // Three of five share ranks 1, 2 and 3; zeros are equal.
    CHECK(weights(shaping::centred_rank(), false, {0.0f, 7, -0.0f, -1, 0.0f}) ==
          Floats{0, 0.5f, 0, -0.5f, 0});
    CHECK(weights(shaping::centred_rank(), false, {1, 1, 2, 2, 3}) ==
          Floats{-0.375f, -0.375f, 0.125f, 0.125f, 0.5f});
    CHECK(weights(shaping::centred_rank(), true, {1, 2, 4, 3, 3, 3, 0, 9}) ==
          weights(shaping::centred_rank(), true, {10, 20, 40, 30, 30, 30, 0, 90}));
    CHECK(weights(shaping::sign_of_pair(), true, {1, 2, 5, -9, 3, 3, kNan, 1, 4, no_result()}) ==
          Floats{-1, 1, 0, -1, 0});
    CHECK(weights(shaping::sign_of_pair(), true, {1, 2, kNan, 3, 1, kNan}, NonFinite::drop) ==
          Floats{-1, 0, 0});
    // Means 2 and 20; centred −1 1 −10 10, whose Σ² is 202 and std √(202/3).
    const auto scale = static_cast<float>(1.0 / std::sqrt(202.0 / 3.0));
    CHECK(weights(shaping::groups(2), false, {1, 3, 10, 30}) ==
          Floats{-scale, scale, static_cast<float>(-10.0 / std::sqrt(202.0 / 3.0)),
                 static_cast<float>(10.0 / std::sqrt(202.0 / 3.0))});
    // √(2/1) and √(200/1) in the groups.
    const auto half = static_cast<float>(1.0 / std::sqrt(2.0));
    CHECK(weights(shaping::groups(2, Spread::group), false, {1, 3, 10, 30}) ==
          Floats{-half, half, -half, half});
    CHECK(weights(shaping::none(), true, {1, 3, 10, 30, 7, 7}) == Floats{-2, -20, 0});
    CHECK(weights(shaping::none(), false, {1, no_result(), kNan, 4}) == Floats{1, 0, 1, 4});
    // std of 1, 3, 5 is 2.
    CHECK(weights(shaping::against_first(), false, {4, 1, 3, 5}) == Floats{0, -1.5f, -0.5f, 0.5f});
    CHECK(weights(shaping::against_first(), false, {no_result(), 1, 3, 5}) == Floats{0, 0, 0, 0});
}

TEST_CASE("shaping: a million members are ranked in the time of a sort [host]") {
    const int64_t n = 1'000'000;
    const Options options{.pop_size = n, .antithetic = false, .shaping = shaping::centred_rank()};
    std::vector<float> fitness(static_cast<size_t>(n)), weights(fitness.size());
    const auto rank = [&](int64_t p) { return p * 7919 % n; };  // a permutation: 7919 is prime
    for (int64_t p = 0; p < n; ++p) {
        fitness[static_cast<size_t>(p)] = static_cast<float>(rank(p));
    }
    detail::FitnessStats stats;
    detail::ShapingArgs args = ShapingAccess::args(options.shaping, options);
    args.fitness = fitness.data();
    args.weights = weights.data();
    args.stats = &stats;
    detail::cpu_backend().shape_fitness(args);
    int64_t wrong = 0;
    for (int64_t p = 0; p < n; ++p) {
        const double want = static_cast<double>(rank(p)) / static_cast<double>(n - 1) - 0.5;
        wrong += !(std::fabs(static_cast<double>(weights[static_cast<size_t>(p)]) - want) <= 1e-7);
    }
    CHECK(wrong == 0);
}

TEST_CASE("shaping: an equal fitness moves nothing") {
    for (const Family& family : families()) {
        for (const bool antithetic : {true, false}) {
            const int64_t n = family.size == 3 ? 6 : family.size > 4 ? family.size : 8;
            if (!fits(family, antithetic, n) || (antithetic && n % 2 != 0)) continue;
            if (is_slow() && n > 8) continue;
            CAPTURE(family.shaping.describe());
            CAPTURE(antithetic);
            Run run({.pop_size = n, .antithetic = antithetic, .shaping = family.shaping});
            const std::string before = run.values();
            run.tell(std::vector<float>(static_cast<size_t>(n), 0.3f));
            // What is not centred moves, unless the pairs cancel it.
            const bool still = family.kind != ShapingKind::none || antithetic;
            CHECK((run.values() == before) == still);
        }
    }
}

TEST_CASE("shaping: the default is z_score, and centre without normalize_fitness") {
    const auto after = [](Options options) {
        options.pop_size = 34;
        Run run(options);
        for (uint32_t t = 0; t < 3; ++t) run.tell(random_fitness(34, t));
        return run.values();
    };
    CHECK((after({}) == after({.shaping = shaping::z_score()})));
    CHECK((after({.normalize_fitness = false}) == after({.shaping = shaping::centre()})));
    CHECK((after({.normalize_fitness = false}) ==
           after({.normalize_fitness = false, .shaping = shaping::centre()})));
    CHECK((after({}) != after({.shaping = shaping::centred_rank()})));
}

TEST_CASE("shaping: names and descriptions") {
    CHECK(Shaping().name().empty());
    CHECK(shaping::z_score().describe() == "z_score");
    CHECK(shaping::centre().describe() == "centre");
    CHECK(shaping::centred_rank().describe() == "centred_rank");
    CHECK(shaping::sign_of_pair().describe() == "sign_of_pair");
    CHECK(shaping::none().describe() == "none");
    CHECK(shaping::against_first().describe() == "against_first");
    CHECK(shaping::groups(8).describe() == "groups(size=8,spread=global)");
    CHECK(shaping::groups(2, Spread::group).describe() == "groups(size=2,spread=group)");
    CHECK(shaping::own("mine", [](auto, auto) {}).describe() == "mine");
}

TEST_CASE("shaping: what does not fit is refused") {
    nn::Sequential model = small_model();
    const auto refused = [&](Options options, const std::vector<std::string>& parts) {
        check_refused([&] { Eggroll(model, options); }, parts);
    };
    refused({.normalize_fitness = false, .shaping = shaping::z_score()},
            {"shaping \"z_score\"", "normalize_fitness"});
    refused({.normalize_fitness = false, .shaping = shaping::none()}, {"none"});
    refused({.antithetic = false, .shaping = shaping::sign_of_pair()},
            {"sign_of_pair", "antithetic is false"});
    refused({.shaping = shaping::against_first()}, {"against_first", "antithetic is true"});
    refused({.pop_size = 32, .shaping = shaping::groups(6)}, {"size=6", "pop_size 32"});
    refused({.pop_size = 32, .shaping = shaping::groups(64)}, {"size=64", "pop_size 32"});
    refused({.pop_size = 30, .shaping = shaping::groups(3)}, {"size=3", "even"});
    refused({.non_finite = static_cast<NonFinite>(3)}, {"non_finite", "3"});
    refused({.non_finite = static_cast<NonFinite>(-1)}, {"non_finite", "-1"});
    refused({.evaluations = 0}, {"evaluations", "0"});
    refused({.evaluations = -3}, {"evaluations", "-3"});
    refused({.evaluations = int64_t{1} << 40}, {"evaluations", "1099511627776"});
    check_refused([] { shaping::groups(1); }, {"size", "1"});
    check_refused([] { shaping::groups(-2); }, {"size", "-2"});
    check_refused([] { shaping::groups(2, static_cast<Spread>(7)); }, {"spread", "7"});
    check_refused([] { shaping::own("mine", nullptr); }, {"mine", "no function"});
    check_refused([] { shaping::own("", [](auto, auto) {}); }, {"name"});
    Eggroll(model, {.pop_size = 30, .antithetic = false, .shaping = shaping::groups(3)});
}

// --- One's own ----------------------------------------------------------------------------------

TEST_CASE("shaping: one's own sees the fitness and gives the weights") {
    const std::vector<float> fitness = {4, 1, kNan, 3, no_result(), 8, 2, 2};
    std::vector<float> seen;
    const Shaping own = shaping::own("own", [&](std::span<const float> f, std::span<float> to) {
        seen.assign(f.begin(), f.end());
        for (size_t p = 0; p < f.size(); ++p) to[p] = 2 * f[p];
    });
    Run run({.pop_size = 8, .shaping = own});
    const Report report = run.tell(fitness);
    REQUIRE(seen.size() == 8);
    CHECK(std::vector<float>(seen.begin(), seen.begin() + 4) == std::vector<float>{4, 1, 1, 3});
    CHECK(is_no_result(seen[4]));
    CHECK(is_no_result(seen[5]));
    CHECK(report.non_finite == 1);
    CHECK(report.no_result == 1);
    CHECK(report.best == 8);
    CHECK(report.best_member == 5);

    Run doubled({.pop_size = 8, .shaping = shaping::none()});
    const Report same = doubled.tell({8, 2, 2, 6, 0, 0, 4, 4});
    CHECK(same.non_finite == 0);
    CHECK((run.values() == doubled.values()));

    Run drop({.pop_size = 8, .shaping = own, .non_finite = NonFinite::drop});
    drop.tell(fitness);
    CHECK(is_no_result(seen[2]));
    CHECK(is_no_result(seen[3]));
    CHECK(seen[7] == 2);

    seen.clear();  // not called without any finite fitness
    const std::string before = run.values();
    CHECK(run.tell(std::vector<float>(8, kNan)).non_finite == 8);
    CHECK(seen.empty());
    CHECK((run.values() == before));
    CHECK(run.es.generation() == 2);
}

TEST_CASE("shaping: one's own that fails changes nothing") {
    const std::vector<float> fitness = random_fitness(8);
    int how = 0;
    const Shaping own = shaping::own("mine", [&](std::span<const float> f, std::span<float> to) {
        if (how == 2) throw std::string("stop");
        std::copy(f.begin(), f.end(), to.begin());
        if (how == 1) to[6] = kInf;
    });
    const Options options{.pop_size = 8, .optimizer = optim::adam(), .shaping = own};
    Run run(options), calm(options);
    run.tell(fitness);
    calm.tell(fitness);
    run.es.ask();
    how = 1;
    check_refused([&] { run.es.tell(fitness); },
                  {"mine", "member 6", "inf", "nothing was changed"});
    how = 2;
    CHECK_THROWS_AS(run.es.tell(fitness), std::string);
    CHECK((run.values() == calm.values()));
    CHECK(run.es.generation() == 1);
    how = 0;
    run.es.tell(fitness);  // the generation is still open
    calm.tell(fitness);
    CHECK((run.values() == calm.values()));
}

// --- Members without a finite fitness -----------------------------------------------------------

TEST_CASE("shaping: no_result survives copies and conversions") {
    const float f = no_result();
    CHECK(is_no_result(f));
    CHECK(is_no_result(-f));
    CHECK(is_no_result(static_cast<float>(static_cast<double>(f))));
    CHECK(std::isnan(f));
    CHECK(is_no_result(host(tensor({2}, {f, 1.0f}))[0]));
    for (const float other : {kNan, -kNan, kInf, 0.0f, std::bit_cast<float>(0x7FFFFFFFu),
                              std::numeric_limits<float>::signaling_NaN()}) {
        CHECK_FALSE(is_no_result(other));
    }
    // Through every door.
    for (const NonFinite policy : {NonFinite::worst, NonFinite::drop, NonFinite::error}) {
        Run run({.pop_size = 4, .non_finite = policy});
        const auto check = [](const Report& report) {
            CHECK(report.no_result == 1);
            CHECK(report.non_finite == 0);
            CHECK(report.mean == 2);
        };
        run.es.ask();
        check(run.es.tell({1, no_result(), 2, 3}));
        run.es.ask();
        check(run.es.tell(std::vector<double>{1, static_cast<double>(no_result()), 2, 3}));
        run.es.ask();
        check(run.es.tell(tensor({4}, {1, no_result(), 2, 3})));
        check(run.es.step([](const Member& m) {
            return m.index() == 1   ? no_result()
                   : m.index() == 0 ? 1.0f
                                    : static_cast<float>(m.index());
        }));
        check(run.es.step(random_tensor({5, 4}), [](const Tensor&) {
            return std::vector<double>{1, static_cast<double>(no_result()), 2, 3};
        }));
        run.es.ask();
        run.es.enqueue_tell(tensor({4}, {1, no_result(), 2, 3}));
        check(run.es.wait());
    }
}

TEST_CASE("shaping: a dropped pair has no weight") {
    // As if both had had the same fitness, which is no part of any statistic.
    for (const float lost : {kNan, -kInf, no_result()}) {
        Run drop({.pop_size = 8, .shaping = shaping::none(), .non_finite = NonFinite::drop});
        Run level({.pop_size = 8, .shaping = shaping::none()});
        const Report report = drop.tell({1, 2, 9, lost, 5, 3, 4, 4});
        level.tell({1, 2, 9, 9, 5, 3, 4, 4});
        CHECK((drop.values() == level.values()));
        CHECK(report.non_finite + report.no_result == 1);
        CHECK(report.no_result == (is_no_result(lost) ? 1 : 0));
        CHECK(report.best == 9);  // the raw fitness is told
        CHECK(report.best_member == 2);
    }
}

TEST_CASE("shaping: when all are dropped there is no update") {
    // Each pair has lost one; momentum alone would move the parameters.
    const Options options{.pop_size = 8, .optimizer = optim::adam(), .non_finite = NonFinite::drop};
    for (const bool waiting : {true, false}) {
        Run run(options), calm(options);
        run.tell(random_fitness(8));
        calm.tell(random_fitness(8));
        run.es.ask();
        const std::vector<float> lost = {1, kNan, no_result(), 2, kInf, kNan, 3, kNan};
        if (waiting) {
            run.es.tell(lost);
        } else {
            run.es.enqueue_tell(tensor({8}, lost));
        }
        const Report report = run.es.wait();
        CHECK(report.non_finite == 4);
        CHECK(report.no_result == 1);
        CHECK(report.mean == 2);
        CHECK(run.es.generation() == 2);
        CHECK((run.values() == calm.values()));
    }
}

TEST_CASE("shaping: an error policy names the member and changes nothing") {
    const Options options{
        .pop_size = 4, .optimizer = optim::adam(), .non_finite = NonFinite::error};
    Run run(options), calm(options);
    run.tell({1, 2, 3, 4});
    calm.tell({1, 2, 3, 4});
    run.es.ask();
    check_refused(
        [&] {
            run.es.tell({1, 2, kInf, 4});
        },
        {"member 2", "inf", "nothing was changed"});
    check_refused([&] { run.es.enqueue_tell(tensor({4}, {1, kNan, 3, 4})); }, {"member 1", "nan"});
    CHECK((run.values() == calm.values()));
    CHECK(run.es.generation() == 1);
    run.es.tell({4, no_result(), 2, 1});
    calm.tell({4, no_result(), 2, 1});
    CHECK((run.values() == calm.values()));

    Run twice({.pop_size = 4, .non_finite = NonFinite::error, .evaluations = 2});
    twice.es.ask();
    check_refused([&] { twice.es.tell({1, 2, 3, 4, 5, -kInf, 7, 8}); }, {"member 2", "-inf"});
    // A step closes its generation when it is left.
    check_refused([&] { twice.es.step([](const Member&) { return kNan; }); }, {"is open"});
    twice.es.tell({1, 2, 3, 4, 5, 6, 7, 8});
    check_refused([&] { twice.es.step([](const Member&) { return kNan; }); }, {"member 0"});
    CHECK(twice.es.generation() == 1);
}

// --- Several evaluations of a member ------------------------------------------------------------

TEST_CASE("evaluations: the mean of a member's is its fitness") {
    for (const int64_t k : {2, 3, 7}) {
        CAPTURE(k);
        std::vector<float> all = random_fitness(8 * k), mean;
        all[static_cast<size_t>(k)] = no_result();  // of member 1 the first
        for (int64_t e = 0; e < k; ++e) all[static_cast<size_t>(2 * k + e)] = no_result();
        all[static_cast<size_t>(5 * k - 1)] = kInf;  // of member 4 the last
        for (int64_t p = 0; p < 8; ++p) {
            double sum = 0, count = 0;
            for (int64_t e = 0; e < k; ++e) {
                const float f = all[static_cast<size_t>(p * k + e)];
                if (is_no_result(f)) continue;
                sum += static_cast<double>(f);
                ++count;
            }
            mean.push_back(count > 0 ? static_cast<float>(sum / count) : no_result());
        }
        Run many({.pop_size = 8, .evaluations = k}), one({.pop_size = 8});
        const Report got = many.tell(all), want = one.tell(mean);
        CHECK(got.mean == want.mean);
        CHECK(got.non_finite == 1);
        CHECK(got.no_result == 1);
        CHECK((many.values() == one.values()));
        // By tensors of the device, without waiting.
        many.es.ask();
        many.es.enqueue_tell(tensor({8, k}, all));
        one.tell(mean);
        CHECK(many.es.wait().best == want.best);
        CHECK((many.values() == one.values()));
    }
}

TEST_CASE("evaluations: infinities of both signs are not finite, and the largest stay so") {
    const float largest = std::numeric_limits<float>::max();
    Run run({.pop_size = 2, .shaping = shaping::centred_rank(), .evaluations = 2});
    const Report report = run.tell({kInf, -kInf, largest, largest});
    CHECK(report.non_finite == 1);
    CHECK(report.best == largest);
    CHECK(report.best_member == 1);
}

TEST_CASE("evaluations: a step evaluates each member as often") {
    for (const bool parallel : {false, true}) {
        const Options options{.pop_size = 6, .parallel_fitness = parallel, .evaluations = 3};
        Run run(options), told(options);
        std::vector<std::atomic<int>> calls(18);
        const auto value = [](int64_t p, int64_t e) {
            return static_cast<float>(p * p + 10 * e) + (p == 2 ? 5.5f : 0.0f);
        };
        run.es.step([&](const Member& m) {
            ++calls[static_cast<size_t>(m.index() * 3 + m.evaluation())];
            return value(m.index(), m.evaluation());
        });
        std::vector<float> fitness;
        for (int64_t i = 0; i < 18; ++i) {
            CHECK(calls[static_cast<size_t>(i)] == 1);
            fitness.push_back(value(i / 3, i % 3));
        }
        told.tell(fitness);
        CHECK((run.values() == told.values()));
        // All outputs at once, and an objective of one's own: (P,k) values.
        run.es.step(random_tensor({5, 4}), [&](const Tensor&) { return fitness; });
        told.tell(fitness);
        CHECK((run.values() == told.values()));
    }
    Run run({.pop_size = 6, .evaluations = 3});
    CHECK(run.es.ask().member(3).evaluation() == 0);
    check_refused([&] { run.es.tell(random_fitness(6)); }, {"6 fitnesses", "6", "3 times"});
}

TEST_CASE("evaluations: an objective gives as many values") {
    const Tensor x = random_tensor({5, 4}), target = random_tensor({5, 3}, 1);
    const Objective twice(
        "twice",
        [](const Tensor& y, const Tensor& t) {
            const Tensor f = without_members(-mse(y, t)).reshape({-1, 1});
            return f + Tensor::from({1, 2}, {0.0f, 1.0f}).to(f.device());
        },
        target);
    Run run({.pop_size = 8, .evaluations = 2}), one({.pop_size = 8});
    CHECK(run.es.ask().evaluate(x, twice).size() == 16);
    run.tell(random_fitness(16));
    check_refused([&] { run.es.step(x, loss::mse(target)); }, {"one fitness a member", "is 2"});
    CHECK(run.es.generation() == 1);
    Run fresh({.pop_size = 8, .evaluations = 2});
    const Report got = fresh.es.step(x, twice), want = one.es.step(x, loss::mse(target));
    CHECK(static_cast<double>(got.best) ==
          doctest::Approx(static_cast<double>(want.best) + 0.5).epsilon(1e-6));
}

// --- On all ways --------------------------------------------------------------------------------

TEST_CASE("shaping: enqueued and captured steps have the bits of steps") {
    const Tensor x = random_tensor({5, 4}), target = random_tensor({5, 3}, 1);
    for (const Family& family : families()) {
        if (family.size != 0 && family.size != 4) continue;
        if (is_slow() && family.kind != ShapingKind::centred_rank && family.size == 0) continue;
        const bool antithetic = family.kind != ShapingKind::against_first;
        CAPTURE(family.shaping.describe());
        const Options options{.pop_size = 8,
                              .antithetic = antithetic,
                              .optimizer = optim::adamw(),
                              .shaping = family.shaping,
                              .non_finite = NonFinite::drop,
                              .clip_norm = 0.01f};
        Run plain(options), enqueued(options), replayed(options);
        CapturedStep captured = replayed.es.capture(x, loss::mse(target));
        for (int t = 0; t < 3; ++t) {
            plain.es.step(x, loss::mse(target));
            enqueued.es.enqueue(x, loss::mse(target));
            captured.enqueue();
        }
        CHECK(enqueued.es.wait().mean == plain.es.wait().mean);
        CHECK(replayed.es.wait().mean == plain.es.wait().mean);
        CHECK((enqueued.values() == plain.values()));
        CHECK((replayed.values() == plain.values()));
    }
}

TEST_CASE("shaping: what needs the host is enqueued all the same and not captured") {
    const Tensor x = random_tensor({5, 4}), target = random_tensor({5, 3}, 1);
    const Shaping own = shaping::own("mine", [](std::span<const float> f, std::span<float> to) {
        std::copy(f.begin(), f.end(), to.begin());
    });
    for (const bool is_own : {true, false}) {
        const Options options{.pop_size = 8,
                              .shaping = is_own ? own : Shaping(),
                              .non_finite = is_own ? NonFinite::worst : NonFinite::error};
        Run plain(options), enqueued(options);
        check_refused([&] { plain.es.capture(x, loss::mse(target)); },
                      {"capture", is_own ? "\"mine\"" : "non_finite", "host"});
        for (int t = 0; t < 3; ++t) {
            plain.es.step(x, loss::mse(target));
            enqueued.es.enqueue(x, loss::mse(target));
        }
        CHECK(enqueued.es.wait().best == plain.es.wait().best);
        CHECK((enqueued.values() == plain.values()));
    }
}

TEST_CASE("shaping: the number of threads changes no bit [host]") {
    for (const Family& family : families()) {
        const int64_t n = family.size == 515 ? 1030 : family.size == 3 ? 66 : 68;
        const bool antithetic = fits(family, true, n);
        CAPTURE(family.shaping.describe());
        const auto after = [&](int threads) {
            const ThreadScope scope(threads);
            nn::Sequential model{nn::Linear(200, 100)};  // several runs of a norm
            Eggroll es(model, {.pop_size = n,
                               .antithetic = antithetic,
                               .optimizer = optim::momentum({.nesterov = true}),
                               .shaping = family.shaping,
                               .evaluations = 2,
                               .clip_norm = 0.1f});
            for (uint32_t t = 0; t < 2; ++t) {
                es.ask();
                es.tell(random_fitness(2 * n, t));
            }
            return bits(model);
        };
        const std::string one = after(1);
        CHECK((after(3) == one));
        CHECK((after(8) == one));
    }
}

TEST_CASE("shaping: every one learns a small quadratic") {
    const Tensor x = full({1, 1}, 1.0f), target = tensor({1, 3}, {0.5f, -1.0f, 2.0f});
    std::vector<Family> all = families();
    all.push_back({shaping::own("half of the rest",
                                [](std::span<const float> f, std::span<float> to) {
                                    float mean = 0;
                                    for (const float v : f)
                                        mean += v / static_cast<float>(f.size());
                                    for (size_t p = 0; p < f.size(); ++p) to[p] = f[p] - mean;
                                }),
                   ShapingKind::own});
    for (const Family& family : all) {
        if (family.size != 0 && family.size != 4) continue;
        if (is_slow() && family.kind != ShapingKind::centred_rank && family.size == 0) continue;
        const bool antithetic = family.kind != ShapingKind::against_first;
        CAPTURE(family.shaping.describe());
        nn::Sequential model = here(nn::Sequential(nn::Linear(1, 3, false)));
        model.init(3);
        Eggroll es(model, {.pop_size = 32,
                           .sigma = 0.1f,
                           .lr = 0.02f,
                           .antithetic = antithetic,
                           .optimizer = optim::adam(),
                           .shaping = family.shaping});
        const auto error = [&] { return mse(model(x), target).item(); };
        const float before = error();
        const int steps = is_slow() ? 5 : 200;
        for (int t = 0; t < steps; ++t) es.step(x, loss::mse(target));
        CHECK(error() < (is_slow() ? before : 0.02f * before));
    }
}
