// SPDX-License-Identifier: MIT
// The strategy's lifecycle: three ways in, what is refused, and that whatever is refused or thrown
// has changed nothing.
#include "core/storage.h"
#include "tests/cases.h"
#include "tests/errors.h"
#include "tests/model_bits.h"
#include "tests/reference.h"

#include <eggroll/eggroll.h>

#include <doctest/doctest.h>

#include <atomic>
#include <cmath>
#include <exception>
#include <functional>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

using namespace eggroll;
using namespace eggroll::test;
namespace ref = eggroll::test::reference;

namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

/// An exception of a user's own, of no type the library knows.
struct Boom {
    int code;
};

nn::Sequential small_model() {
    nn::Sequential model = here(nn::Sequential(nn::Linear(4, 7), nn::Tanh(), nn::Linear(7, 3)));
    model.init(1);
    return model;
}

Tensor small_input() {
    return random_tensor({5, 4});
}

void check_report(const Report& report, std::span<const float> fitness, int64_t generation) {
    const ref::Statistics want = ref::statistics(fitness);
    CHECK(report.generation == generation);
    CHECK(report.best_member == want.best_member);
    CHECK(report.non_finite == want.non_finite);
    CHECK(report.seconds >= 0.0);
    if (want.best_member < 0) return;
    // Statistics in double, rounded to float once.
    const auto near = [](float got, double value) {
        return std::fabs(static_cast<double>(got) - value) <= 2 * ref::kUnit * std::fabs(value);
    };
    CHECK(near(report.mean, want.mean));
    CHECK(near(report.std, want.std));
    CHECK(static_cast<double>(report.best) == want.best);
    CHECK(static_cast<double>(report.worst) == want.worst);
}

/// A strategy with optimizer state, a model of its own and another that never sees trouble.
class Twins {
public:
    explicit Twins(Options options = {.pop_size = 8, .optimizer = optim::adam()})
        : model(small_model()),
          calm_model(small_model()),
          es(model, options),
          calm(calm_model, options) {
        both();
        both();
    }

    /// One generation of each.
    void both() {
        const std::vector<float> fitness =
            random_fitness(es.options().pop_size, static_cast<uint32_t>(es.generation()));
        es.ask();
        es.tell(fitness);
        calm.ask();
        calm.tell(fitness);
    }

    /// Nothing differs, now or later.
    void check_same() {
        CHECK((bits(model) == bits(calm_model)));
        CHECK(es.generation() == calm.generation());
        both();
        both();
        CHECK((bits(model) == bits(calm_model)));
        CHECK(es.generation() == calm.generation());
    }

    nn::Sequential model, calm_model;
    Eggroll es, calm;
};

}  // namespace

// --- Options ------------------------------------------------------------------------------------

TEST_CASE("strategy: the defaults are the seed's") {
    const Options options;
    CHECK(options.pop_size == 32);
    CHECK(options.sigma == 0.02f);
    CHECK(options.lr == 0.05f);
    CHECK(options.rank == 4);
    CHECK(options.seed == 0);
    CHECK(options.antithetic);
    CHECK(options.normalize_fitness);
    CHECK_FALSE(options.param_filter);
    CHECK_FALSE(options.parallel_fitness);
    static_assert(std::is_same_v<Eggroll::Options, Options>);
    static_assert(!std::is_constructible_v<Eggroll, nn::Sequential>);
    static_assert(!std::is_constructible_v<Eggroll, nn::Sequential, Options>);

    nn::Sequential model = small_model(), other = small_model();
    Eggroll es(model), same(other, {.pop_size = 32,
                                    .sigma = 0.02f,
                                    .lr = 0.05f,
                                    .rank = 4,
                                    .optimizer = optim::sgd(),
                                    .lr_schedule = schedule::constant()});
    CHECK(es.options().pop_size == 32);
    CHECK(es.generation() == 0);
    for (int step = 0; step < 3; ++step) {
        es.step(small_input(), loss::mse(zeros({5, 3})));
        same.step(small_input(), loss::mse(zeros({5, 3})));
    }
    CHECK((bits(model) == bits(other)));
}

TEST_CASE("strategy: bad options are refused by name and value") {
    nn::Sequential model = small_model();
    const std::string before = bits(model);
    const auto refused = [&](Options options, const std::vector<std::string>& parts) {
        check_refused([&] { Eggroll(model, options); }, parts);
    };
    refused({.pop_size = 33}, {"pop_size", "33", "even", "antithetic"});
    refused({.pop_size = 0}, {"pop_size", "0"});
    refused({.pop_size = 1}, {"pop_size", "1"});
    refused({.pop_size = 0, .antithetic = false}, {"pop_size", "0"});
    refused({.pop_size = 1, .antithetic = false}, {"pop_size", "1"});
    refused({.pop_size = -4}, {"pop_size", "-4"});
    refused({.pop_size = std::numeric_limits<int64_t>::max() - 1},
            {"pop_size", "9223372036854775806"});
    refused({.rank = 0}, {"rank", "0"});
    refused({.rank = -2}, {"rank", "-2"});
    refused({.factor_cache_bytes = -1}, {"factor_cache_bytes", "-1"});
    refused({.sigma = 0.0f}, {"sigma", "0"});
    refused({.sigma = -0.5f}, {"sigma", "-0.5"});
    refused({.sigma = kNan}, {"sigma", "nan"});
    refused({.sigma = kInf}, {"sigma", "inf"});
    refused({.lr = -0.25f}, {"lr", "-0.25"});
    refused({.lr = kNan}, {"lr", "nan"});
    refused({.lr = kInf}, {"lr", "inf"});
    refused({.param_filter = [](const std::string&, const Tensor&) { return false; }},
            {"param_filter", "4"});
    CHECK((bits(model) == before));
    // What is merely unusual is not refused.
    Eggroll(model, {.pop_size = 3, .lr = 0.0f, .rank = 1000, .antithetic = false});
}

TEST_CASE("strategy: a model without parameters is refused") {
    nn::Sequential model{nn::ReLU(), nn::Flatten()};
    check_refused([&] { Eggroll es(model); }, {"no parameters"});
}

TEST_CASE("strategy: bad optimizers and schedules are refused") {
    check_refused([] { optim::momentum({.beta = 1.0f}); }, {"momentum", "beta", "1"});
    check_refused([] { optim::momentum({.beta = -0.5f}); }, {"momentum", "beta", "-0.5"});
    check_refused([] { optim::adam({.beta1 = 1.5f}); }, {"adam", "beta1", "1.5"});
    check_refused([] { optim::adam({.beta2 = kNan}); }, {"adam", "beta2", "nan"});
    check_refused([] { optim::adam({.eps = 0.0f}); }, {"adam", "eps", "0"});
    check_refused([] { schedule::exponential(0.0); }, {"exponential", "0"});
    check_refused([] { schedule::exponential(1.5); }, {"exponential", "1.5"});
    check_refused([] { schedule::exponential(0.5, 2.0); }, {"exponential", "floor", "2"});
    check_refused([] { schedule::cosine(0); }, {"cosine", "0"});
    check_refused([] { schedule::cosine(10, -1.0); }, {"cosine", "-1"});
    check_refused([] { Schedule("mine", nullptr); }, {"mine"});
}

TEST_CASE("strategy: a throwing filter passes through") {
    nn::Sequential model = small_model();
    const auto make = [&] {
        Eggroll es(model, {.param_filter = [](const std::string&, const Tensor&) -> bool {
                       throw Boom{7};
                   }});
    };
    CHECK_THROWS_AS(make(), Boom);
}

// --- ask and tell -------------------------------------------------------------------------------

TEST_CASE("strategy: ask twice gives the same generation") {
    nn::Sequential model = small_model();
    Eggroll es(model, {.pop_size = 6});
    const Population first = es.ask(), second = es.ask();
    CHECK(first.generation() == 0);
    CHECK(second.generation() == 0);
    CHECK(first.size() == 6);
    CHECK(es.generation() == 0);
    const Tensor x = small_input();
    CHECK(host(first.forward(x)) == host(second.forward(x)));
    CHECK(first.member(4).index() == 4);
    CHECK(first.member(4).generation() == 0);

    const std::vector<float> fitness = random_fitness(6);
    check_report(es.tell(fitness), fitness, 0);
    CHECK(es.generation() == 1);
    const Population third = es.ask();
    CHECK(third.generation() == 1);
    CHECK(host(third.member(4)(x)).size() == 15);
}

TEST_CASE("strategy: tell takes floats, doubles, a tensor or a list") {
    const std::vector<float> fitness = {1.0f, 0.25f, -2.0f, 0.5f};
    const std::vector<double> doubles(fitness.begin(), fitness.end());
    std::vector<std::string> results;
    const auto run = [&](const std::function<void(Eggroll&)>& tell) {
        nn::Sequential model = small_model();
        Eggroll es(model, {.pop_size = 4});
        es.ask();
        tell(es);
        results.push_back(bits(model));
    };
    run([&](Eggroll& es) { es.tell(fitness); });
    run([&](Eggroll& es) { es.tell(doubles); });
    run([&](Eggroll& es) { es.tell(tensor({4}, fitness)); });
    run([&](Eggroll& es) { es.tell({1.0f, 0.25f, -2.0f, 0.5f}); });
    for (const std::string& result : results) CHECK(result == results[0]);
}

TEST_CASE("strategy: what is out of order is refused and changes nothing") {
    Twins twins;
    Eggroll& es = twins.es;
    const std::vector<float> fitness(8, 1.0f);
    check_refused([&] { es.tell(fitness); }, {"tell", "ask"});

    const Population population = es.ask();
    const Tensor x = small_input();
    const std::vector<float> before = host(population.forward(x));
    const auto objective = loss::mse(zeros({5, 3}));
    check_refused([&] { es.step(x, objective); }, {"step", "open"});
    check_refused([&] { es.step(x, [](const Tensor& y) { return mean(y); }); }, {"step", "open"});
    check_refused([&] { es.step([](const Member&) { return 1.0f; }); }, {"step", "open"});
    check_refused([&] { es.set_lr(1.0f); }, {"set_lr", "open"});
    check_refused([&] { es.set_sigma(1.0f); }, {"set_sigma", "open"});
    for (const size_t count : {0, 1, 7, 9}) {
        check_refused([&] { es.tell(std::vector<float>(count, 1.0f)); },
                      {std::to_string(count), "8"});
    }
    check_refused([&] { population.member(8); }, {"8"});
    check_refused([&] { population.member(-1); }, {"-1", "8"});

    // All the while the ask stays open and unchanged.
    CHECK(population.size() == 8);
    CHECK(population.generation() == 2);
    CHECK(host(population.forward(x)) == before);
    twins.check_same();
}

TEST_CASE("strategy: a population or member is of no use once it was told") {
    nn::Sequential model = small_model();
    Eggroll es(model, {.pop_size = 4});
    const Tensor x = small_input();
    const Population population = es.ask();
    const Member member = population.member(1);
    const auto copy = model.clone();
    es.tell({1.0f, 2.0f, 3.0f, 4.0f});
    for (const bool asked_again : {false, true}) {
        if (asked_again) es.ask();
        check_refused([&] { population.forward(x); }, {"generation 0"});
        check_refused([&] { population.evaluate(x, loss::mse(zeros({5, 3}))); }, {"generation 0"});
        check_refused([&] { population.member(0); }, {"generation 0"});
        check_refused([&] { population.size(); }, {"generation 0"});
        check_refused([&] { member(x); }, {"generation 0"});
        check_refused([&] { member.copy_to(*copy); }, {"generation 0"});
        CHECK(member.index() == 1);
    }
    CHECK(es.generation() == 1);
}

TEST_CASE("strategy: handles that outlive a step or the strategy are refused") {
    nn::Sequential model = small_model();
    const Tensor x = small_input();
    std::vector<Member> kept;
    std::vector<Population> populations;
    {
        Eggroll es(model, {.pop_size = 4});
        es.step([&](const Member& member) {
            kept.push_back(member);
            return 1.0f;
        });
        populations.push_back(es.ask());
        kept.push_back(populations[0].member(2));
    }
    for (const Member& member : kept) check_refused([&] { member(x); }, {"generation"});
    check_refused([&] { populations[0].forward(x); }, {"generation 1"});
}

TEST_CASE("strategy: refused inputs leave the ask open") {
    Twins twins;
    const Population population = twins.es.ask();
    const Tensor x = small_input();
    check_refused([&] { population.forward(random_tensor({5, 3})); }, {"0.weight", "(7,4)", "3"});
    check_refused([&] { population.forward(per_member(random_tensor({7, 5, 4}))); }, {"7", "8"});
    check_refused([&] { population.member(0)(random_tensor({5, 3})); }, {"0.weight", "(7,4)", "3"});
    check_refused([&] { population.member(0)(per_member(random_tensor({8, 5, 4}))); }, {"Member"});
    check_refused([&] { population.evaluate(x, loss::mse(zeros({5, 4}))); }, {"mse", "(5,4)"});
    nn::Sequential other(nn::Linear(4, 7), nn::Tanh(), nn::Linear(7, 2));
    const std::string before = bits(other);
    check_refused([&] { population.member(0).copy_to(other); }, {"2.weight", "(2,7)", "(3,7)"});
    CHECK((bits(other) == before));
    nn::Linear one(4, 7);
    check_refused([&] { population.member(0).copy_to(one); }, {"2", "4"});
    twins.check_same();
}

TEST_CASE("strategy: a move keeps the run and its open generation") {
    Twins twins;
    Eggroll moved = std::move(twins.es);
    const Population population = moved.ask();
    Eggroll again = std::move(moved);
    const Tensor x = small_input();
    CHECK(population.forward(x).members() == 8);
    twins.es = std::move(again);
    CHECK(population.forward(x).members() == 8);
    twins.check_same();
    check_refused([&] { population.forward(x); }, {"generation 2"});
}

// --- Three ways in ------------------------------------------------------------------------------

TEST_CASE("strategy: the three ways in make the same step") {
    const Tensor x = small_input(), target = random_tensor({5, 3}, 4);
    const auto one_loss = [&](const Tensor& y) { return -mse(y, target); };
    std::vector<std::vector<float>> results;
    std::vector<Report> reports;
    const auto run = [&](const std::function<Report(Eggroll&)>& step, bool parallel = false) {
        nn::Sequential model = small_model();
        Eggroll es(model, {.pop_size = 34, .lr = 0.5f, .seed = 1, .parallel_fitness = parallel});
        Report report;
        for (int i = 0; i < 3; ++i) report = step(es);
        CHECK(es.generation() == 3);
        std::vector<float> all;
        for (const auto& values : values_of(model))
            all.insert(all.end(), values.begin(), values.end());
        results.push_back(all);
        reports.push_back(report);
    };
    run([&](Eggroll& es) { return es.step(x, one_loss); });
    run([&](Eggroll& es) {
        return es.step(x, [&](const Tensor& y) { return host(one_loss(y)); });
    });
    run([&](Eggroll& es) {
        return es.step(x, [&](const Tensor& y) {
            const std::vector<float> values = host(one_loss(y));
            return std::vector<double>(values.begin(), values.end());
        });
    });
    run([&](Eggroll& es) { return es.step(x, loss::mse(target)); });
    run([&](Eggroll& es) { return es.tell(es.ask().evaluate(x, loss::mse(target))); });
    run([&](Eggroll& es) { return es.tell(one_loss(es.ask().forward(x))); });
    const size_t batched = results.size();
    // One member alone need not have the same last bit as it has among the others.
    run([&](Eggroll& es) {
        return es.step([&](const Member& m) { return one_loss(m(x)).item(); });
    });
    run([&](Eggroll& es) {
        return es.step([&](const auto& m) { return static_cast<double>(one_loss(m(x)).item()); });
    });
    run(
        [&](Eggroll& es) {
            return es.step([&](const Member& m) { return one_loss(m(x)).item(); });
        },
        true);
    run([&](Eggroll& es) {
        const Population population = es.ask();
        std::vector<float> fitness;
        for (int64_t p = 0; p < population.size(); ++p) {
            fitness.push_back(one_loss(population.member(p)(x)).item());
        }
        return es.tell(fitness);
    });
    for (size_t i = 1; i < results.size(); ++i) {
        CAPTURE(i);
        const size_t like = i < batched ? 0 : batched;
        CHECK(results[i] == results[like]);
        CHECK(reports[i].best_member == reports[like].best_member);
        CHECK(reports[i].mean == reports[like].mean);
        CHECK(reports[i].generation == 2);
    }
    for (size_t e = 0; e < results[0].size(); ++e) {
        // Fitness within 1e-6 of each other, shaped by a spread of about 0.05, lr 0.5.
        CHECK(std::fabs(results[0][e] - results[batched][e]) < 1e-4f);
    }
}

TEST_CASE("strategy: the fitness sees every member once, all outputs at once") {
    nn::Sequential model = small_model();
    Eggroll es(model, {.pop_size = 34, .parallel_fitness = true});
    std::vector<std::atomic<int>> seen(34);
    es.step([&](const Member& member) {
        ++seen[static_cast<size_t>(member.index())];
        return static_cast<float>(member.index());
    });
    for (const auto& count : seen) CHECK(count == 1);

    int calls = 0;
    const Report report = es.step(small_input(), [&](const Tensor& y) {
        ++calls;
        CHECK(y.shape() == Shape{34, 5, 3});
        CHECK(y.is_per_member());
        return random_fitness(34);
    });
    CHECK(calls == 1);
    check_report(report, random_fitness(34), 1);
}

TEST_CASE("strategy: built-in objectives are the losses computed outside") {
    const int64_t pop_size = 34;
    nn::Sequential model = small_model();
    Eggroll es(model, {.pop_size = pop_size, .sigma = 0.5f});
    const Population population = es.ask();
    const Tensor x = small_input();
    const Tensor y = population.forward(x);
    const Tensor target = random_tensor({5, 3}, 8);
    const Tensor targets = per_member(random_tensor({pop_size, 5, 3}, 9));
    const Tensor labels = int_tensor({5}, {0, 2, 1, 1, 0});
    std::vector<int32_t> many;
    for (int32_t i = 0; i < pop_size * 5; ++i) many.push_back(i * i % 3);
    const Tensor own_labels = per_member(int_tensor({pop_size, 5}, many));

    const auto at = [&](int64_t p, size_t b, size_t c) {
        return static_cast<double>(host(y)[static_cast<size_t>(p) * 15 + b * 3 + c]);
    };
    const auto label = [&](const Tensor& of, int64_t p, size_t b) {
        return static_cast<size_t>(
            host_ints(of)[(of.is_per_member() ? static_cast<size_t>(p) * 5 : 0) + b]);
    };
    using Fitness = std::function<double(int64_t)>;
    const auto squares = [&](const Tensor& of) -> Fitness {
        return [&](int64_t p) {
            double sum = 0;
            for (size_t e = 0; e < 15; ++e) {
                const size_t t = (of.is_per_member() ? static_cast<size_t>(p) * 15 : 0) + e;
                const double d = at(p, e / 3, e % 3) - static_cast<double>(host(of)[t]);
                sum += d * d;
            }
            return -sum / 15;
        };
    };
    const auto entropy = [&](const Tensor& of) -> Fitness {
        return [&](int64_t p) {
            double sum = 0;
            for (size_t b = 0; b < 5; ++b) {
                double total = 0;
                for (size_t c = 0; c < 3; ++c) total += std::exp(at(p, b, c));
                sum += std::log(total) - at(p, b, label(of, p, b));
            }
            return -sum / 5;
        };
    };
    const auto share = [&](const Tensor& of) -> Fitness {
        return [&](int64_t p) {
            double right = 0;
            for (size_t b = 0; b < 5; ++b) {
                size_t best = 0;
                for (size_t c = 1; c < 3; ++c) best = at(p, b, c) > at(p, b, best) ? c : best;
                right += best == label(of, p, b) ? 1 : 0;
            }
            return right / 5;
        };
    };
    const auto check = [&](const Objective& objective, const Fitness& want) {
        CAPTURE(objective.name());
        const std::vector<float> got = population.evaluate(x, objective);
        REQUIRE(got.size() == static_cast<size_t>(pop_size));
        CHECK(got == host(objective(y)));
        for (int64_t p = 0; p < pop_size; ++p) {
            // Accumulated in double; float logits and exponentials cost a few units each.
            const double off = static_cast<double>(got[static_cast<size_t>(p)]) - want(p);
            CHECK(std::fabs(off) <= 32 * ref::kUnit * std::max(1.0, std::fabs(want(p))));
        }
    };
    check(loss::mse(target), squares(target));
    check(loss::mse(targets), squares(targets));
    check(loss::cross_entropy(labels), entropy(labels));
    check(loss::cross_entropy(own_labels), entropy(own_labels));
    check(score::accuracy(labels), share(labels));
    check(score::accuracy(own_labels), share(own_labels));
    // The first of equals is the answer.
    CHECK(accuracy(zeros({2, 3}), int_tensor({2}, {0, 2})).item() == 0.5f);
}

TEST_CASE("strategy: fitness of the wrong count or kind is refused and changes nothing") {
    Twins twins;
    const Tensor x = small_input();
    check_refused(
        [&] { twins.es.step(x, [](const Tensor&) { return std::vector<float>(7, 1.0f); }); },
        {"7", "8"});
    check_refused([&] { twins.es.step(x, [](const Tensor& y) { return y; }); }, {"120", "8"});
    check_refused([&] { twins.es.step(x, [](const Tensor&) { return Tensor(); }); }, {"0", "8"});
    check_refused(
        [&] {
            twins.es.step(x, [](const Tensor&) {
                return int_tensor({8}, {1, 2, 3, 4, 5, 6, 7, 8});
            });
        },
        {"int32"});
    const Objective odd(
        "odd", [](const Tensor& y, const Tensor&) { return y; }, zeros({1}));
    check_refused([&] { twins.es.step(x, odd); }, {"odd"});
    twins.check_same();
}

TEST_CASE("strategy: outputs that no perturbed weight reaches are repeated for each member") {
    class Idle : public nn::Module {
    public:
        Idle() { weight_ = register_parameter("weight", {3, 4}, nn::init::normal(1.0f)); }
        Tensor forward(const Tensor& x, const View&) const override { return x * 2.0f; }

    private:
        Tensor weight_;
    };
    Idle model = here(Idle());
    Eggroll es(model, {.pop_size = 6});
    const Tensor x = small_input();
    const Population population = es.ask();
    const Tensor y = population.forward(x);
    REQUIRE(y.shape() == Shape{6, 5, 4});
    CHECK(y.is_per_member());
    for (size_t e = 0; e < 120; ++e) CHECK(host(y)[e] == 2.0f * host(x)[e % 20]);
    CHECK(host(population.member(3)(x)) == host(x * 2.0f));
    const std::vector<float> fitness = population.evaluate(x, loss::mse(zeros({5, 4})));
    CHECK(fitness == std::vector<float>(6, fitness[0]));
}

// --- Exceptions of callbacks --------------------------------------------------------------------

TEST_CASE("strategy: a callback's exception passes through and changes nothing") {
    for (const int threads : {1, 3}) {
        CAPTURE(threads);
        const ThreadScope scope(threads);
        Twins twins({.pop_size = 64, .optimizer = optim::adam(), .parallel_fitness = threads > 1});
        Eggroll& es = twins.es;
        const Tensor x = small_input();
        const auto code_of = [](const std::function<void()>& f) {
            try {
                f();
            } catch (const Boom& boom) {
                return boom.code;
            }
            return 0;
        };
        CHECK(code_of([&] { es.step(x, [](const Tensor&) -> Tensor { throw Boom{1}; }); }) == 1);
        for (const int64_t last : {0, 5, 63}) {
            CHECK(code_of([&] {
                      es.step([&](const Member& member) {
                          member(x);
                          if (member.index() == last) throw Boom{2};
                          return 1.0f;
                      });
                  }) == 2);
        }
        // In one chunk only, whichever thread has it.
        for (const int at : {0, 1, 2}) {
            if (at > 0 && on_cuda()) break;  // a GPU takes all in one
            std::atomic<int> calls{0};
            const Objective failing(
                "failing",
                [&](const Tensor& y, const Tensor&) {
                    if (calls++ == at) throw Boom{3};
                    return mean(y);
                },
                zeros({1}));
            CHECK(code_of([&] { es.step(x, failing); }) == 3);
        }
        // ask/tell: the callback is the caller's own; the ask stays open.
        const Population population = es.ask();
        const Objective failing(
            "failing", [](const Tensor&, const Tensor&) -> Tensor { throw Boom{4}; }, zeros({1}));
        CHECK(code_of([&] { population.evaluate(x, failing); }) == 4);
        CHECK(population.size() == 64);
        twins.check_same();
    }
}

TEST_CASE("strategy: exceptions of a layer, an optimizer and a schedule pass through") {
    class Failing : public nn::Module {
    public:
        Failing() { weight_ = register_parameter("weight", {3, 4}, nn::init::normal(1.0f)); }
        Tensor forward(const Tensor& x, const View& v) const override {
            if (!v.is_centre() && v.first() + v.size() == 64) throw Boom{5};
            return linear(x, weight_, Tensor(), v);
        }

    private:
        Tensor weight_;
    };
    Failing failing = here(Failing());
    const std::string before = bits(failing);
    const Tensor x = small_input();
    {
        Eggroll es(failing, {.pop_size = 64});
        CHECK_THROWS_AS(es.step(x, [](const Tensor& y) { return mean(y); }), Boom);
        CHECK_THROWS_AS(es.step(x, loss::mse(zeros({5, 3}))), Boom);
        CHECK_THROWS_AS(es.ask().forward(x), Boom);
        CHECK(es.generation() == 0);
        CHECK((bits(failing) == before));
        es.tell(random_fitness(64));
        CHECK(es.generation() == 1);
    }

    /// Fails at the second parameter of an update, when asked to.
    class Stubborn : public Optimizer {
    public:
        std::string name() const override { return "stubborn"; }
        int state_count() const override { return 1; }
        void apply(Tensor& value, const Tensor& g, std::span<Tensor> state,
                   const UpdateStep& step) const override {
            state[0].assign(state[0] + g);
            value.assign(value + state[0] * step.lr());
            if (fail && value.shape().size() == 1) throw Boom{6};
        }
        std::atomic<bool> fail{false};
    };
    const auto stubborn = std::make_shared<Stubborn>();
    Twins twins({.pop_size = 8, .optimizer = stubborn});
    stubborn->fail = true;
    twins.es.ask();
    CHECK_THROWS_AS(twins.es.tell(random_fitness(8)), Boom);
    CHECK(twins.es.ask().generation() == 2);
    stubborn->fail = false;
    twins.check_same();

    nn::Sequential model = small_model();
    Eggroll es(model, {.lr_schedule = {"failing", [](int64_t t) -> double {
                                           if (t == 1) throw Boom{7};
                                           return 1.0;
                                       }}});
    es.step(x, loss::mse(zeros({5, 3})));
    const std::string after = bits(model);
    CHECK_THROWS_AS(es.ask(), Boom);
    CHECK_THROWS_AS(es.step(x, loss::mse(zeros({5, 3}))), Boom);
    CHECK(es.generation() == 1);
    CHECK((bits(model) == after));
}

TEST_CASE("strategy: a step inside a step of the same strategy is refused") {
    Twins twins;
    const Tensor x = small_input();
    const auto objective = loss::mse(zeros({5, 3}));
    check_refused(
        [&] {
            twins.es.step([&](const Member&) {
                twins.es.step(x, objective);
                return 1.0f;
            });
        },
        {"step", "open"});
    twins.check_same();
}

// --- Fitness that is not finite, or huge --------------------------------------------------------

TEST_CASE("strategy: a non-finite fitness counts as the worst finite one") {
    for (const bool antithetic : {true, false}) {
        for (const bool normalize : {true, false}) {
            CAPTURE(antithetic);
            CAPTURE(normalize);
            nn::Sequential model = small_model();
            const Options options{.pop_size = 10,
                                  .sigma = 0.1f,
                                  .antithetic = antithetic,
                                  .normalize_fitness = normalize};
            ref::Trainer trainer(model, options, ref::Rule::sgd);
            Eggroll es(model, options);
            const std::vector<std::vector<float>> cases = {
                {kNan, 1, 2, 3, -4, 5, 6, 7, 8, 9},
                {1, kInf, 2, 3, -4, 5, kNan, 7, -8, -kInf},
                {kNan, kNan, kNan, -3, kNan, kInf, kInf, kInf, -kInf, 2},
                {-kInf, 3, 3, 3, 3, 3, 3, 3, 3, 3},
                {-5, -5, -6, -7, -5, -9, -9, -9, -9, kInf},
            };
            int64_t generation = 0;
            for (const std::vector<float>& fitness : cases) {
                es.ask();
                check_report(es.tell(fitness), fitness, generation++);
                trainer.tell(fitness);
                CHECK(trainer.excess_of(model) <= 1);
            }
            CHECK(trainer.blindness() < 1e-3);
        }
    }
}

TEST_CASE("strategy: one finite member is best, worst and mean") {
    nn::Sequential model = small_model();
    const std::string before = bits(model);
    Eggroll es(model, {.pop_size = 4});
    es.ask();
    const Report report = es.tell({kNan, kInf, 2.5f, -kInf});
    CHECK(report.best == 2.5f);
    CHECK(report.worst == 2.5f);
    CHECK(report.mean == 2.5f);
    CHECK(report.best_member == 2);
    CHECK(report.non_finite == 3);
    CHECK((bits(model) == before));  // all count as 2.5: nobody is better
}

TEST_CASE("strategy: without a finite fitness the generation ends without an update") {
    for (const ref::Rule rule : {ref::Rule::sgd, ref::Rule::momentum, ref::Rule::adam}) {
        nn::Sequential model = small_model();
        const Options options{.pop_size = 4, .optimizer = ref::optimizer_of(rule)};
        ref::Trainer trainer(model, options, rule);
        Eggroll es(model, options);
        const auto tell = [&](const std::vector<float>& fitness) {
            const Population population = es.ask();
            const Report report = es.tell(fitness);
            trainer.tell(fitness);
            CHECK(trainer.excess_of(model) <= 1);
            check_refused([&] { population.size(); }, {"generation"});
            return report;
        };
        tell({1, 2, 3, 5});
        const std::string before = bits(model);
        const Report report = tell({kNan, kInf, -kInf, kNan});
        CHECK((bits(model) == before));
        CHECK(report.generation == 1);
        CHECK(report.non_finite == 4);
        CHECK(report.best_member == -1);
        CHECK(std::isnan(report.mean));
        CHECK(es.generation() == 2);
        // The optimizer has not moved either: momentum and Adam's count go on from where they were.
        tell({4, 2, 3, 5});
        tell({1, 2, 9, 5});
    }
}

TEST_CASE("strategy: a fitness too large for the update is refused and changes nothing") {
    std::vector<float> huge(8, -3e38f);
    for (size_t p = 0; p < 8; p += 2) huge[p] = 3e38f;
    for (const bool antithetic : {true, false}) {
        for (const ref::Rule rule : {ref::Rule::sgd, ref::Rule::momentum, ref::Rule::adam}) {
            CAPTURE(antithetic);
            CAPTURE(static_cast<int>(rule));
            // σ large: the sum of the members' noise overflows, not only a difference of two.
            Twins twins({.pop_size = 8,
                         .sigma = 100.0f,
                         .antithetic = antithetic,
                         .normalize_fitness = false,
                         .optimizer = ref::optimizer_of(rule)});
            const Population population = twins.es.ask();
            for (int attempt = 0; attempt < 2; ++attempt) {
                check_refused([&] { twins.es.tell(huge); }, {"not finite", "generation 2"});
                CHECK((bits(twins.model) == bits(twins.calm_model)));
                CHECK(population.size() == 8);
            }
            twins.check_same();
            check_refused(
                [&] { twins.es.step(small_input(), [&](const Tensor&) { return huge; }); },
                {"not finite"});
            twins.check_same();
        }
    }
}

TEST_CASE("strategy: an optimizer that overflows is refused and changes nothing") {
    // g is finite, its square or the step is not.
    std::vector<float> large(8, -1e30f);
    for (size_t p = 0; p < 8; p += 2) large[p] = 1e30f;
    Twins adam({.pop_size = 8, .normalize_fitness = false, .optimizer = optim::adam()});
    adam.es.ask();
    check_refused([&] { adam.es.tell(large); }, {"adam", "not finite"});
    adam.check_same();

    Twins fast({.pop_size = 8, .normalize_fitness = false, .optimizer = optim::momentum()});
    fast.es.set_lr(1e30f);
    fast.es.ask();
    check_refused([&] { fast.es.tell(large); }, {"momentum", "not finite"});
    fast.es.tell(std::vector<float>(8, 0.0f));  // momentum moves on with that lr, in finite numbers
    CHECK(fast.es.generation() == 3);
}

TEST_CASE("strategy: huge fitness is harmless once normalized") {
    nn::Sequential model = small_model();
    const Options options{.pop_size = 8};
    ref::Trainer trainer(model, options, ref::Rule::sgd);
    Eggroll es(model, options);
    const std::vector<float> huge = {3e38f, -3e38f, 1e38f, 2e38f, 0.0f, -1e38f, 3e38f, -2e38f};
    es.ask();
    check_report(es.tell(huge), huge, 0);
    trainer.tell(huge);
    CHECK(trainer.excess_of(model) <= 1);
}

// --- Reports, schedules, rates ------------------------------------------------------------------

TEST_CASE("strategy: the report is of the raw fitness") {
    nn::Sequential model = small_model();
    Eggroll es(model, {.pop_size = 34});
    for (uint32_t generation = 0; generation < 4; ++generation) {
        std::vector<float> fitness = random_fitness(34, generation);
        for (float& f : fitness) f = f * 1e-3f + 1000.0f;  // a spread far below the mean
        es.ask();
        check_report(es.tell(fitness), fitness, generation);
    }
    // Of equals the first is the best.
    std::vector<float> ties(34, 1.0f);
    ties[7] = ties[20] = 2.0f;
    es.ask();
    CHECK(es.tell(ties).best_member == 7);
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

// --- Together -----------------------------------------------------------------------------------

TEST_CASE("strategy: two strategies in two threads are as alone") {
    const Tensor x = small_input();
    const auto train = [&](nn::Module& model, uint64_t seed, bool members) {
        Eggroll es(model, {.pop_size = 34,
                           .lr = 0.5f,
                           .seed = seed,
                           .optimizer = optim::adam(),
                           .parallel_fitness = true});
        const Tensor target = random_tensor({5, 3}, static_cast<uint32_t>(seed));
        for (int i = 0; i < (is_slow() ? 4 : 20); ++i) {
            if (members) {
                es.step([&](const Member& m) { return -mse(m(x), target).item(); });
            } else {
                es.step(x, loss::mse(target));
            }
        }
    };
    for (const int threads : {1, 3}) {
        CAPTURE(threads);
        const ThreadScope scope(threads);
        nn::Sequential first = small_model(), second = small_model();
        train(first, 1, false);
        train(second, 2, true);
        nn::Sequential first_again = small_model(), second_again = small_model();
        std::thread other([&] { train(first_again, 1, false); });
        train(second_again, 2, true);
        other.join();
        CHECK((bits(first) == bits(first_again)));
        CHECK((bits(second) == bits(second_again)));
        CHECK((bits(first) != bits(second)));
    }
}

TEST_CASE("strategy: the quick start learns") {
    nn::Sequential model = here(nn::Sequential(nn::Linear(10, 20), nn::ReLU(), nn::Linear(20, 5)));
    nn::Sequential teacher =
        here(nn::Sequential(nn::Linear(10, 20), nn::ReLU(), nn::Linear(20, 5)));
    teacher.init(77);
    const Tensor x = random_tensor({64, 10});
    const Tensor target = teacher(x);
    const float before = mse(model(x), target).item();
    Eggroll es(model, {.pop_size = 32, .sigma = 0.1f, .lr = 0.1f, .rank = 4});
    Report first, last;
    for (int step = 0; step < (is_slow() ? 40 : 100); ++step) {
        last = es.step(x, [&](const Tensor& y) { return -mse(y, target); });
        if (step == 0) first = last;
    }
    // A fixed run, so the margin only needs to be what nobody would call chance.
    CHECK(mse(model(x), target).item() < 0.5f * before);
    CHECK(last.mean > first.mean);
}

TEST_CASE("strategy: a step tells its generation itself") {
    nn::Linear model = here(nn::Linear(3, 2));
    Eggroll es(model, {.pop_size = 4});
    const auto before = bits(model);
    const Tensor x = zeros({2, 3});
    const auto tell_inside = [&](const Tensor&) {
        es.tell({1, 2, 3, 4});
        return std::vector<float>(4);
    };
    CHECK_THROWS_WITH_AS(es.step(x, tell_inside), doctest::Contains("belongs to a step"), Error);
    CHECK((bits(model) == before));
    CHECK(es.generation() == 0);
    es.ask();
    es.tell({1, 2, 3, 4});
    CHECK(es.generation() == 1);
}

TEST_CASE("strategy: what was moved from says so") {
    nn::Linear model(3, 2);
    Eggroll es(model, {.pop_size = 4});
    const Eggroll moved = std::move(es);
    CHECK_THROWS_WITH_AS(es.ask(), doctest::Contains("moved from"), Error);
    CHECK_THROWS_WITH_AS(es.generation(), doctest::Contains("moved from"), Error);
    CHECK(moved.generation() == 0);
}

TEST_CASE("strategy: messages show small values as they are") {
    nn::Linear model(3, 2);
    CHECK_THROWS_WITH_AS(Eggroll(model, {.sigma = -1e-9f}), doctest::Contains("-1e-09"), Error);
    CHECK_THROWS_WITH_AS(Eggroll(model, {.lr = -1e-9f}), doctest::Contains("-1e-09"), Error);
}

/// What an optimizer does to the tensors it is handed.
class Tampering : public Optimizer {
public:
    explicit Tampering(std::function<void(Tensor&, std::span<Tensor>)> act)
        : act_(std::move(act)) {}
    std::string name() const override { return "tampering"; }
    int state_count() const override { return 1; }
    void apply(Tensor& value, const Tensor&, std::span<Tensor> state,
               const UpdateStep&) const override {
        act_(value, state);
    }

private:
    std::function<void(Tensor&, std::span<Tensor>)> act_;
};

TEST_CASE("strategy: an optimizer that does not keep its tensors is refused and changes nothing") {
    nn::Linear model(3, 2);
    const auto before = bits(model);
    Eggroll* running = nullptr;
    const std::vector<std::function<void(Tensor&, std::span<Tensor>)>> ways = {
        [](Tensor& value, std::span<Tensor>) {
            if (value.size() == 2) value = zeros({7});
        },
        [](Tensor& value, std::span<Tensor>) {
            if (value.size() == 2) value = Tensor();
        },
        [](Tensor&, std::span<Tensor> state) { state[0] = Tensor(); },
        [](Tensor& value, std::span<Tensor>) {
            if (value.size() == 2) value = int_tensor({2}, {1, 2});
        },
        [&](Tensor&, std::span<Tensor>) {
            running->tell({1, 2, 3, 4});
        },
    };
    for (const auto& way : ways) {
        Eggroll es(model, {.pop_size = 4, .optimizer = std::make_shared<Tampering>(way)});
        running = &es;
        es.ask();
        CHECK_THROWS_AS(es.tell({1, 2, 3, 4}), Error);
        CHECK((bits(model) == before));
        CHECK(es.generation() == 0);
    }
}

TEST_CASE("strategy: a fitness in double beyond the range of float stays the best") {
    nn::Linear model(3, 2);
    Eggroll es(model, {.pop_size = 4});
    const std::vector<double> fitness = {0, 1e39, -1e39, 1};
    es.ask();
    const Report report = es.tell(fitness);
    CHECK(report.non_finite == 0);
    CHECK(report.best_member == 1);
    CHECK(report.worst == -std::numeric_limits<float>::max());
}

TEST_CASE("strategy: a member is not copied into the model that is trained") {
    nn::Linear model(3, 2);
    Eggroll es(model, {.pop_size = 4});
    const auto before = bits(model);
    CHECK_THROWS_WITH_AS(es.ask().member(0).copy_to(model), doctest::Contains("clone"), Error);
    CHECK((bits(model) == before));
}

TEST_CASE("strategy: a parameter without values is refused by name") {
    struct Hollow : nn::Module {
        std::vector<Parameter> parameters() const override { return {{"hollow", Tensor()}}; }
        Tensor forward(const Tensor& x, const View&) const override { return x; }
    };
    Hollow model;
    CHECK_THROWS_WITH_AS(Eggroll(model, {.pop_size = 4}), doctest::Contains("hollow"), Error);
}

TEST_CASE("strategy: after a callback throws, no further one is begun") {
    nn::Linear model(3, 2);
    Eggroll es(model, {.pop_size = 1000, .parallel_fitness = true});
    std::atomic<int> calls = 0;
    CHECK_THROWS_AS(es.step([&](const Member&) -> float {
        ++calls;
        throw std::runtime_error("no");
    }),
                    std::runtime_error);
    CHECK(calls <= num_threads());
}

TEST_CASE("strategy: the memory of outputs serves again once nobody holds them") {
    nn::Sequential model = small_model();
    Eggroll es(model, {.pop_size = 6});
    const auto outputs = [&] { return es.ask().forward(small_input()); };
    const auto address = [](const Tensor& y) { return detail::TensorAccess::floats(y); };
    Tensor y = outputs();
    const float* first = address(y);
    const std::vector<float> before = host(y);
    const Tensor part = y.reshape({6, 15});  // shares the memory
    y = Tensor();
    y = outputs();
    CHECK(address(y) != first);
    CHECK(host(part) == before);
    const float* second = address(y);
    y = Tensor();
    CHECK(address(outputs()) == second);
    // Other shapes get memory of their own.
    CHECK(es.ask().forward(random_tensor({2, 4})).shape() == Shape{6, 2, 3});
}
