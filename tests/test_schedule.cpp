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
#include <vector>

using namespace eggroll;
using namespace eggroll::test;
namespace ref = eggroll::test::reference;

namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

}  // namespace

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
