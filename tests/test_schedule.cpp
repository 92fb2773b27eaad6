// SPDX-License-Identifier: MIT
// Schedules by their formulas, and the lr and sigma that a strategy makes of them.
#include "tests/cases.h"
#include "tests/errors.h"
#include "tests/model_bits.h"
#include "tests/reference.h"
#include "tests/twins.h"

#include <eggroll/eggroll.h>

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

using namespace eggroll;
using namespace eggroll::test;
namespace ref = eggroll::test::reference;

TEST_CASE("schedule: linear and warm-up by hand [host]") {
    const Schedule linear = schedule::linear(4, 0.5);
    for (const auto& [t, want] : std::vector<std::pair<int, double>>{
             {0, 1.0}, {1, 0.875}, {2, 0.75}, {4, 0.5}, {99, 0.5}}) {
        CHECK(linear(t) == want);
    }
    CHECK(schedule::linear(3)(3) == 0.0);
    CHECK(schedule::linear(3, 0.1)(3) == 0.1);
    CHECK(schedule::linear(2, 3.0)(1) == 2.0);
    const Schedule warm = schedule::warm_up(4, schedule::linear(2, 0.0));
    for (const auto& [t, want] : std::vector<std::pair<int, double>>{
             {0, 0.25}, {1, 0.5}, {3, 1.0}, {4, 1.0}, {5, 0.5}, {6, 0.0}}) {
        CHECK(warm(t) == want);
    }
    CHECK(schedule::warm_up(1)(0) == 1.0);
    CHECK(schedule::warm_up(3)(7) == 1.0);
}

TEST_CASE("schedule: descriptions name every constant [host]") {
    CHECK(Schedule().describe() == "constant");
    CHECK(schedule::exponential(0.99, 0.1).describe() == "exponential(decay=0.99,floor=0.1)");
    CHECK(schedule::cosine(100).describe() == "cosine(generations=100,final_factor=0)");
    CHECK(schedule::linear(7, 0.25).describe() == "linear(generations=7,final_factor=0.25)");
    CHECK(schedule::warm_up(3, schedule::linear(7)).describe() ==
          "warm_up(generations=3,then=linear(generations=7,final_factor=0))");
    const auto one = [](int64_t) { return 1.0; };
    CHECK(Schedule("mine", one).describe() == "mine");
    CHECK(Schedule("mine", one, "mine(k=3)").describe() == "mine(k=3)");
    CHECK(Schedule("mine", one, "mine(k=3)").name() == "mine");
}

TEST_CASE("schedule: what is out of range is refused [host]") {
    check_refused([] { schedule::linear(0); }, {"linear", "0"});
    check_refused([] { schedule::linear(5, -0.5); }, {"linear", "-0.5"});
    check_refused([] { schedule::linear(5, std::numeric_limits<double>::infinity()); }, {"inf"});
    check_refused([] { schedule::warm_up(0); }, {"warm_up", "0"});
    check_refused([] { schedule::warm_up(-3); }, {"warm_up", "-3"});
}

TEST_CASE("schedule: a factor that is negative or not finite is an error naming all of it") {
    const Schedule falling("falling",
                           [](int64_t t) { return 1.0 - 0.75 * static_cast<double>(t); });
    const Schedule broken("broken", [](int64_t t) { return t < 2 ? 1.0 : std::nan(""); });
    nn::Sequential model = here(nn::Sequential(nn::Linear(4, 3)));
    const auto step = [](Eggroll& es) {
        es.ask();
        es.tell(random_fitness(8));
    };
    Eggroll negative(model, {.pop_size = 8, .lr = 0.5f, .lr_schedule = falling});
    Eggroll wild(model, {.pop_size = 8, .sigma_schedule = broken});
    for (Eggroll* es : {&negative, &wild}) {
        step(*es);
        step(*es);
        const std::string before = bits(model);
        const bool lr = es == &negative;
        check_refused([&] { es->ask(); }, {lr ? "[lr]" : "[sigma]", lr ? "falling" : "broken",
                                           lr ? "-0.25" : "nan", "generation 2"});
        CHECK(es->generation() == 2);
        CHECK((bits(model) == before));
    }
}

TEST_CASE("strategy: schedules by their formulas") {
    const Schedule none;
    CHECK(none(0) == 1.0);
    CHECK(schedule::constant()(123456) == 1.0);
    const Schedule half = schedule::exponential(0.5, 0.1);
    CHECK(half(0) == 1.0);
    CHECK(half(1) == 0.5);
    CHECK(half(3) == 0.125);
    CHECK(half(4) == 0.1);
    CHECK(schedule::exponential(1.0)(1000) == 1.0);
    const Schedule cosine = schedule::cosine(10, 0.1);
    CHECK(cosine(0) == 1.0);
    CHECK(cosine(5) == doctest::Approx(0.55).epsilon(1e-12));
    CHECK(cosine(10) == doctest::Approx(0.1).epsilon(1e-12));
    CHECK(cosine(1000) == doctest::Approx(0.1).epsilon(1e-12));
    CHECK(schedule::cosine(3)(1) == doctest::Approx(0.75).epsilon(1e-12));

    nn::Sequential model = small_model();
    Eggroll es(model, {.pop_size = 4,
                       .sigma = 0.5f,
                       .lr = 0.25f,
                       .lr_schedule = schedule::cosine(2),
                       .sigma_schedule = schedule::exponential(0.5)});
    CHECK(es.lr() == 0.25f);
    CHECK(es.sigma() == 0.5f);
    es.step([](const Member&) { return 1.0f; });
    CHECK(es.lr() == 0.125f);
    CHECK(es.sigma() == 0.25f);
    es.set_lr(1.0f);
    es.set_sigma(2.0f);
    CHECK(es.lr() == 0.5f);
    CHECK(es.sigma() == 1.0f);
    es.step([](const Member&) { return 1.0f; });
    CHECK(es.lr() == 0.0f);  // an lr of 0 moves nothing, which is allowed
    const std::string before = bits(model);
    es.step([](const Member& member) { return static_cast<float>(member.index()); });
    CHECK((bits(model) == before));
    CHECK(es.options().lr == 0.25f);  // running never writes into the options
    CHECK(es.options().sigma == 0.5f);
}

TEST_CASE("strategy: lr and sigma set between steps are used") {
    nn::Sequential model = small_model();
    Options options{.pop_size = 6, .sigma = 0.1f, .lr = 0.1f};
    Eggroll es(model, options);
    es.set_lr(0.7f);
    es.set_sigma(0.3f);
    options.lr = 0.7f;
    options.sigma = 0.3f;
    ref::Trainer trainer(model, options, ref::Rule::sgd);
    const auto weights = ref::member_parameters(model, ref::law_of(options), 3, 0);
    const auto copy = model.clone();
    es.ask().member(3).copy_to(*copy);
    CHECK(ref::excess(values_of(*copy)[0], weights[0].materialised()) <= 1);
    es.tell(random_fitness(6));
    trainer.tell(random_fitness(6));
    CHECK(trainer.excess_of(model) <= 1);

    check_refused([&] { es.set_lr(-0.5f); }, {"lr", "-0.5"});
    check_refused([&] { es.set_lr(kNan); }, {"lr", "nan"});
    check_refused([&] { es.set_sigma(0.0f); }, {"sigma", "0"});
    check_refused([&] { es.set_sigma(kInf); }, {"sigma", "inf"});
    CHECK(es.lr() == 0.7f);
    CHECK(es.sigma() == 0.3f);
}

TEST_CASE("strategy: a sigma schedule that reaches 0 is an error that changes nothing") {
    nn::Sequential model = small_model();
    Eggroll es(model, {.pop_size = 4,
                       .sigma_schedule = {"down", [](int64_t t) { return t < 2 ? 1.0 : 0.0; }}});
    const auto fitness = [](const Member& member) { return static_cast<float>(member.index()); };
    es.step(fitness);
    es.step(fitness);
    const std::string before = bits(model);
    check_refused([&] { es.step(fitness); }, {"sigma", "down", "2"});
    check_refused([&] { es.ask(); }, {"sigma", "down", "2"});
    check_refused([&] { es.tell(std::vector<float>(4, 1.0f)); }, {"ask"});
    CHECK(es.generation() == 2);
    CHECK((bits(model) == before));
    Eggroll odd(model, {.pop_size = 4, .lr_schedule = {"odd", [](int64_t) { return -1.0; }}});
    check_refused([&] { odd.ask(); }, {"lr", "odd"});
    Eggroll nan(model, {.pop_size = 4, .sigma_schedule = {"nan", [](int64_t) { return NAN; }}});
    check_refused([&] { nan.ask(); }, {"sigma", "nan"});
}
