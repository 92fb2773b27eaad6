// SPDX-License-Identifier: MIT
// The strategy's lifecycle: options, ask and tell, three ways in, and that whatever is refused has
// changed nothing.
#include "core/storage.h"
#include "tests/cases.h"
#include "tests/errors.h"
#include "tests/model_bits.h"
#include "tests/reference.h"
#include "tests/twins.h"

#include <eggroll/eggroll.h>

#include <doctest/doctest.h>

#include <atomic>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

using namespace eggroll;
using namespace eggroll::test;
namespace ref = eggroll::test::reference;

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
