// SPDX-License-Identifier: MIT
// What a strategy is given and cannot use: exceptions of callbacks, fitness that is not finite or
// huge, optimizers that misbehave. Whatever is refused or thrown has changed nothing.
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
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

using namespace eggroll;
using namespace eggroll::test;
namespace ref = eggroll::test::reference;

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

// --- Optimizers that misbehave ------------------------------------------------------------------

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
