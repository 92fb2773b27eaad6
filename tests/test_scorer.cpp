// SPDX-License-Identifier: MIT
// Scores of <eggroll/scorer.h> against known answers.
#include "tests/cases.h"
#include "tests/errors.h"

#include <eggroll/eggroll.h>

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

using namespace eggroll;
using namespace eggroll::test;

namespace {

TEST_CASE("score: numeric is 1 within the tolerance and falls off beyond it") {
    CHECK(score::numeric(1.0, 1.0, 0.0) == 1.0);
    CHECK(score::numeric(1.5, 1.0, 0.5) == 1.0);
    CHECK(score::numeric(2.5, 1.0, 0.5) == 0.5);
    CHECK(score::numeric(-0.5, 1.0, 0.5, 0.5) == doctest::Approx(1.0 / 3.0));
    CHECK(score::numeric(HUGE_VAL, 1.0, 0.5) == 0.0);
    CHECK(std::isnan(score::numeric(std::nan(""), 1.0, 0.5)));
    double last = 1.0;
    for (double x = 1.6; x < 10; x += 0.1) {
        const double now = score::numeric(x, 1.0, 0.5);
        CHECK(now < last);
        last = now;
    }
    CHECK(contains(error_of([] { score::numeric(1, std::nan(""), 0); }), "nan"));
    CHECK(contains(error_of([] { score::numeric(1, 1, -1); }), "-1"));
    CHECK(contains(error_of([] { score::numeric(1, 1, 0, 0); }), "scale > 0"));

    const Tensor y = per_member(tensor({2, 3}, {1, 2, 4, 1, 1, NAN}));
    const std::vector<float> s = host(score::numeric(y, tensor({3}, {1, 1, 1}), 1.0f, 2.0f));
    CHECK(s[0] == doctest::Approx((1.0 + 1.0 + 0.5) / 3));
    CHECK(std::isnan(s[1]));
    CHECK(contains(error_of([&] { (void)score::numeric(y, zeros({2}), 1.0f); }), "(2)"));
}

TEST_CASE("score: exact and classification are shares of what is equal") {
    CHECK(score::exact("banana", "banana") == 1.0);
    CHECK(score::exact("banana", "bandit") == 0.5);
    CHECK(score::exact("ban", "banana") == 0.5);
    CHECK(score::exact("", "x") == 0.0);
    CHECK(score::exact("", "") == 1.0);
    const std::vector<int32_t> a = {1, 2, 3, 4}, b = {1, 0, 3, 0}, c = {1};
    CHECK(score::exact(a, b) == 0.5);
    CHECK(score::classification(a, b) == 0.5);
    CHECK(contains(error_of([&] { score::exact(a, c); }), "4 entries against 1"));
    const std::vector<float> f = {1, 2}, g = {1, NAN};
    CHECK(score::exact(f, f) == 1.0);
    CHECK(std::isnan(score::exact(f, g)));
    const Tensor y = per_member(tensor({3, 2}, {1, 2, 1, 3, NAN, 2}));
    const std::vector<float> s = host(score::exact(y, tensor({2}, {1, 2})));
    CHECK(s[0] == 1.0f);
    CHECK(s[1] == 0.5f);
    CHECK(std::isnan(s[2]));
    const Tensor logits = tensor({2, 3}, {0, 5, 1, 9, 2, 3});
    CHECK(score::classification(logits, int_tensor({2}, {1, 2})).item() == 0.5f);
}

TEST_CASE("score: a composite weighs its parts and tells them [host]") {
    using score::Composite;
    const Composite<double> half{{"same", 3, [](double x) { return x; }},
                                 {"other", 1, [](double x) { return 1 - x; }},
                                 {"unused", 0, [](double x) { return x / x; }}};
    CHECK(half(1.0) == 0.75);
    CHECK(half(0.5) == 0.5);
    CHECK(half.scored(1.0).parts == std::vector<double>{1, 0, 1});
    CHECK(std::isnan(half(0.0)));  // 0/0 of a part whose weight is 0

    const auto error = [](std::vector<score::Component<double>> parts) {
        return error_of([&] { Composite<double> composite(std::move(parts)); });
    };
    const auto f = [](double x) { return x; };
    CHECK(contains(error({{"a", 0, f}, {"b", 0, f}}), "add up to 0"));
    CHECK(contains(error({}), "its 0 parts"));
    CHECK(contains(error({{"a", -1, f}}), "-1"));
    CHECK(contains(error({{"a", HUGE_VAL, f}}), "inf"));
    CHECK(contains(error({{"a", std::nan(""), f}}), "nan"));
    CHECK(contains(error({{"a", 1, f}, {"a", 1, f}}), "\"a\" is there already"));
    CHECK(contains(error({{"", 1, f}}), "name"));
    CHECK(contains(error({{"a", 1, {}}}), "no function"));

    ParameterBundle bundle;
    bundle.scalar("x", 0.0f);
    Eggroll es(bundle, {.pop_size = 20, .sigma = 0.1f, .lr = 0.5f});
    const score::Composite fitness{
        {"near", 2,
         [](const Member& m) {
             return score::numeric(static_cast<double>(m.number("x")), 1.0, 0.1);
         }},
        {"positive", 1, [](const Member& m) { return m.number("x") > 0 ? 1.0 : 0.0; }}};
    for (int step = 0; step < 40; ++step) es.step(fitness);
    CHECK(std::fabs(bundle.number("x") - 1.0f) < 0.2f);
}

}  // namespace
