// SPDX-License-Identifier: MIT
// Steps that the host does not wait for, and steps that are captured: the bits of plain steps, and
// what becomes of failures that the host learns of late.
#include "core/storage.h"
#include "tests/cases.h"
#include "tests/errors.h"
#include "tests/model_bits.h"

#include <eggroll/eggroll.h>

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

using namespace eggroll;
using namespace eggroll::test;

namespace {

constexpr float kLargest = std::numeric_limits<float>::max();

/// A model, a strategy and what a step takes.
struct Run {
    explicit Run(Options options = {.pop_size = 8, .sigma = 0.1f, .optimizer = optim::adam()})
        : model(here(nn::Sequential(nn::Linear(4, 7), nn::Tanh(), nn::Linear(7, 3)))),
          es(model, std::move(options)) {}

    Objective objective() const { return loss::mse(target); }
    Report step() { return es.step(x, objective()); }
    /// A generation whose fitness is (v, −v, 0...).
    std::vector<float> fitness(float v) const {
        std::vector<float> values(static_cast<size_t>(es.options().pop_size), 0.0f);
        values[0] = v;
        values[1] = -v;
        return values;
    }
    Tensor told(float v) const { return tensor({es.options().pop_size}, fitness(v)); }

    nn::Sequential model;
    Eggroll es;
    Tensor x = random_tensor({5, 4}), target = random_tensor({5, 3}, 1);
};

void check_same(const Report& got, const Report& want) {
    CHECK(got.generation == want.generation);
    CHECK(got.mean == want.mean);
    CHECK(got.best == want.best);
    CHECK(got.worst == want.worst);
    CHECK(got.std == want.std);
    CHECK(got.best_member == want.best_member);
    CHECK(got.non_finite == want.non_finite);
    CHECK(got.seconds >= 0.0);
}

/// θ += lr g as a user would write it.
class OwnSgd : public Optimizer {
public:
    std::string name() const override { return "own sgd"; }
    int state_count() const override { return 0; }
    void apply(Tensor& value, const Tensor& g, std::span<Tensor>,
               const UpdateStep& step) const override {
        seen.push_back(step.index());
        value.assign(value + g * step.lr());
    }
    mutable std::vector<int64_t> seen;
};

}  // namespace

TEST_CASE("enqueue: generations that nobody waits for have the bits of steps") {
    Run plain, quiet;
    Report want;
    for (int t = 0; t < 6; ++t) want = plain.step();
    for (int t = 0; t < 6; ++t) quiet.es.enqueue(quiet.x, quiet.objective());
    CHECK(quiet.es.generation() == 6);
    check_same(quiet.es.wait(), want);
    check_same(quiet.es.wait(), want);  // as often as one likes
    CHECK((bits(quiet.model) == bits(plain.model)));
    check_same(quiet.step(), plain.step());
    CHECK((bits(quiet.model) == bits(plain.model)));
}

TEST_CASE("enqueue: fitness of the device is told without waiting") {
    Run plain, quiet;
    for (int t = 0; t < 4; ++t) {
        const auto value = static_cast<float>(t + 1);
        plain.es.ask();
        plain.es.tell(plain.fitness(value));
        quiet.es.ask();
        quiet.es.enqueue_tell(quiet.told(value));
        quiet.es.ask();  // the next is asked for before anybody knows how this one ended
    }
    const Report report = quiet.es.wait();
    CHECK(report.generation == 3);
    CHECK(report.best == 4.0f);
    CHECK((bits(quiet.model) == bits(plain.model)));
    plain.es.ask();
    check_same(quiet.es.tell(quiet.told(1)), plain.es.tell(plain.fitness(1)));
    CHECK((bits(quiet.model) == bits(plain.model)));
}

TEST_CASE("enqueue: schedules and values set between generations are those of steps") {
    const Options options{.pop_size = 8,
                          .sigma = 0.1f,
                          .optimizer = optim::momentum(),
                          .lr_schedule = schedule::cosine(20),
                          .sigma_schedule = schedule::exponential(0.9)};
    Run plain(options), quiet(options), replayed(options);
    CapturedStep captured = replayed.es.capture(replayed.x, replayed.objective());
    for (int t = 0; t < 6; ++t) {
        if (t == 3) {
            for (Run* run : {&plain, &quiet, &replayed}) {
                run->es.set_lr(0.3f);
                run->es.set_sigma(0.05f);
            }
        }
        plain.step();
        quiet.es.enqueue(quiet.x, quiet.objective());
        captured.enqueue();
    }
    quiet.es.wait();
    replayed.es.wait();
    CHECK((bits(quiet.model) == bits(plain.model)));
    CHECK((bits(replayed.model) == bits(plain.model)));
}

TEST_CASE("enqueue: a generation that fails is told late, and those after it change nothing") {
    // Without normalisation the largest floats make a direction that is none.
    const auto broken = [](Run& of) {
        of.es.ask();
        of.es.enqueue_tell(of.told(kLargest));
    };
    const Options raw{.pop_size = 8, .sigma = 0.1f, .normalize_fitness = false};
    Run failing(raw), calm(raw);
    failing.es.ask();
    failing.es.tell(failing.fitness(1));
    calm.es.ask();
    calm.es.tell(calm.fitness(1));
    broken(failing);
    failing.es.enqueue(failing.x, failing.objective());
    failing.es.enqueue(failing.x, failing.objective());
    CHECK(failing.es.generation() == 4);
    const std::string message = error_of([&] { failing.es.wait(); });
    CHECK(contains(message, "not finite in generation 1"));
    CHECK(contains(message, "nothing was changed"));
    CHECK(failing.es.generation() == 1);
    CHECK((bits(failing.model) == bits(calm.model)));
    CHECK(contains(error_of([&] { failing.es.wait(); }), "[wait]"));
    check_same(failing.step(), calm.step());
    CHECK((bits(failing.model) == bits(calm.model)));

    // The same, learnt by a step, or by a tell of a generation that was asked for since.
    broken(failing);
    CHECK(contains(error_of([&] { failing.step(); }), "not finite in generation 2"));
    CHECK(failing.es.generation() == 2);
    broken(failing);
    failing.es.ask();
    CHECK(contains(error_of([&] { failing.es.tell(failing.fitness(1)); }),
                   "not finite in generation 2"));
    CHECK(failing.es.generation() == 2);
    check_same(failing.step(), calm.step());
    CHECK((bits(failing.model) == bits(calm.model)));
}

TEST_CASE("enqueue: a generation without a finite fitness updates nothing and is counted") {
    Run run, calm;
    for (Run* of : {&run, &calm}) {
        of->es.ask();
        of->es.tell(of->fitness(1));
    }
    const std::string before = bits(run.model);
    run.es.ask();
    run.es.enqueue_tell(full({8}, kNan));
    const Report report = run.es.wait();
    CHECK(report.generation == 1);
    CHECK(report.non_finite == 8);
    CHECK(report.best_member == -1);
    CHECK(std::isnan(report.mean));
    CHECK((bits(run.model) == before));
    // Adam's bias correction counts updates: the twin loses its generation 1 by a tell.
    calm.es.ask();
    calm.es.tell(std::vector<float>(8, kNan));
    check_same(run.step(), calm.step());
    CHECK((bits(run.model) == bits(calm.model)));
}

TEST_CASE("enqueue: an optimizer of one's own sees the right step") {
    const auto own = std::make_shared<OwnSgd>();
    Run run({.pop_size = 8, .sigma = 0.1f, .optimizer = own}),
        plain({.pop_size = 8, .sigma = 0.1f});
    run.es.enqueue(run.x, run.objective());
    run.es.ask();
    run.es.enqueue_tell(full({8}, kNan));  // no update
    run.es.enqueue(run.x, run.objective());
    run.es.wait();
    CHECK((own->seen == std::vector<int64_t>{0, 0, 0, 0, 1, 1, 1, 1}));
    plain.step();
    plain.es.ask();
    plain.es.tell(std::vector<float>(8, kNan));
    plain.step();
    // The products are rounded apart from the sums in both.
    CHECK((bits(run.model) == bits(plain.model)));
    const std::string message = error_of([&] { run.es.capture(run.x, run.objective()); });
    CHECK(contains(message, "own sgd"));
}

TEST_CASE("enqueue: there is nothing to wait for at first") {
    Run run;
    CHECK(contains(error_of([&] { run.es.wait(); }), "[wait]"));
    run.es.enqueue(run.x, run.objective());
    CHECK(run.es.wait().generation == 0);
}

TEST_CASE("capture: replays have the bits of steps") {
    Run plain, replayed;
    CapturedStep captured = replayed.es.capture(replayed.x, replayed.objective());
    CHECK(replayed.es.generation() == 0);
    CHECK((bits(replayed.model) == bits(plain.model)));  // recording runs nothing
    for (int t = 0; t < 3; ++t) check_same(captured.step(), plain.step());
    CHECK((bits(replayed.model) == bits(plain.model)));
    // Between replays anything else may happen; the recording's memory is its own.
    check_same(replayed.step(), plain.step());
    const Tensor y = replayed.model(replayed.x);
    const std::vector<float> seen = host(y);
    check_same(captured.step(), plain.step());
    CHECK(host(y) == seen);
    // What is written in place is seen.
    for (Run* run : {&plain, &replayed}) {
        run->x.assign(host_random_tensor({5, 4}, 7));
        run->target.assign(host_random_tensor({5, 3}, 8));
        run->model.parameters()[1].value.assign(host_random_tensor({7}, 9));
    }
    check_same(captured.step(), plain.step());
    CHECK((bits(replayed.model) == bits(plain.model)));
    // Two recordings side by side.
    CapturedStep other = replayed.es.capture(replayed.x, replayed.objective());
    check_same(other.step(), plain.step());
    check_same(captured.step(), plain.step());
    CHECK((bits(replayed.model) == bits(plain.model)));
}

namespace {

/// x W^T scaled by numbers that are brought to the device when it is first called.
class Lazy : public nn::Module {
public:
    Lazy() { register_module("inner", inner_); }
    Tensor forward(const Tensor& x, const View& v) const override {
        std::call_once(called_, [&] {  // from whatever thread is first
            scale_ = Tensor::from({3}, {0.5f, 1.0f, 2.0f}).to(x.device());
        });
        return inner_.forward(x, v) * scale_;
    }

private:
    nn::Linear inner_{4, 3};
    mutable std::once_flag called_;
    mutable Tensor scale_;
};

}  // namespace

TEST_CASE("capture: a model that makes things when it is first called") {
    Lazy a, b;
    for (Lazy* model : {&a, &b}) {
        model->init(3);
        model->to(test_device());
    }
    const Tensor x = random_tensor({5, 4}), target = random_tensor({5, 3}, 1);
    Eggroll plain(a, {.pop_size = 6}), recorded(b, {.pop_size = 6});
    CapturedStep captured = recorded.capture(x, loss::mse(target));
    for (int t = 0; t < 3; ++t) check_same(captured.step(), plain.step(x, loss::mse(target)));
    CHECK((bits(a) == bits(b)));
}

TEST_CASE("capture: per-member inputs, labels and independent members") {
    const Options options{.pop_size = 7, .sigma = 0.1f, .antithetic = false};
    Run plain(options), replayed(options);
    const Tensor x = per_member(random_tensor({7, 2, 4}));
    const Objective objective = loss::cross_entropy(int_tensor({2}, {1, 2}));
    CapturedStep captured = replayed.es.capture(x, objective);
    for (int t = 0; t < 3; ++t) check_same(captured.step(), plain.es.step(x, objective));
    CHECK((bits(replayed.model) == bits(plain.model)));
}

TEST_CASE("capture: an objective of one's own") {
    Run plain, replayed;
    const auto make = [](const Run& run) {
        return Objective(
            "own",
            [](const Tensor& y, const Tensor& t) {
                const Tensor d = abs(y - t);
                return -sum(sum(d, 1), 0);
            },
            run.target);
    };
    CapturedStep captured = replayed.es.capture(replayed.x, make(replayed));
    for (int t = 0; t < 3; ++t) {
        check_same(captured.step(), plain.es.step(plain.x, make(plain)));
    }
    CHECK((bits(replayed.model) == bits(plain.model)));
}

TEST_CASE("capture: a failure is told, and the next replay goes on") {
    const Options raw{.pop_size = 8, .sigma = 0.1f, .lr = 0.0f, .normalize_fitness = false};
    Run run(raw), calm(raw);
    const auto steep = [](const Run& of) {
        return Objective(
            "steep", [](const Tensor& y, const Tensor& t) { return mse(y, t) * 1e30f; }, of.target);
    };
    CapturedStep captured = run.es.capture(run.x, steep(run));
    check_same(captured.step(), calm.es.step(calm.x, steep(calm)));
    run.es.set_lr(kLargest);  // times g, which is finite, more than a float holds
    captured.enqueue();
    run.es.set_lr(0.0f);
    captured.enqueue();
    const std::string message = error_of([&] { captured.step(); });
    CHECK(contains(message, "optimizer \"sgd\" makes"));
    CHECK(contains(message, "not finite in generation 1"));
    CHECK(contains(message, "lr 3.40"));
    CHECK(run.es.generation() == 1);
    CHECK((bits(run.model) == bits(calm.model)));
    run.es.set_lr(1e-30f);
    calm.es.set_lr(1e-30f);
    check_same(captured.step(), calm.es.step(calm.x, steep(calm)));
    CHECK((bits(run.model) == bits(calm.model)));
}

TEST_CASE("capture: what is refused") {
    Run run;
    SUBCASE("an open generation") {
        run.es.ask();
        CHECK(contains(error_of([&] { run.es.capture(run.x, run.objective()); }), "is open"));
    }
    SUBCASE("a step while a generation is open") {
        CapturedStep captured = run.es.capture(run.x, run.objective());
        run.es.ask();
        CHECK(contains(error_of([&] { captured.step(); }), "is open"));
        run.es.tell(run.fitness(1));
        captured.step();
        CHECK(run.es.generation() == 2);
    }
    SUBCASE("a strategy that is gone") {
        std::optional<Eggroll> es(std::in_place, run.model);
        CapturedStep captured = es->capture(run.x, run.objective());
        Eggroll moved = std::move(*es);
        captured.step();
        CHECK(moved.generation() == 1);
        { const Eggroll gone = std::move(moved); }
        CHECK(contains(error_of([&] { captured.step(); }), "gone"));
    }
    SUBCASE("wrong shapes") {
        const std::string before = bits(run.model);
        CHECK(contains(error_of([&] {
                           run.es.capture(random_tensor({5, 3}), run.objective()).step();
                       }),
                       "columns"));
        CHECK(contains(error_of([&] {
                           run.es.capture(run.x, loss::mse(zeros({4, 3}))).step();
                       }),
                       "mse"));
        CHECK((bits(run.model) == before));
        run.step();
        CHECK(run.es.generation() == 1);
    }
    SUBCASE("an objective that needs the host") {
        if (test_device().kind() == Device::Kind::cpu) return;
        const Objective nosy(
            "nosy",
            [](const Tensor& y, const Tensor&) {
                const std::vector<float> values = host(y);
                return Tensor::from(
                    {y.members()}, std::vector<float>(static_cast<size_t>(y.members()), values[0]));
            },
            Tensor());
        CHECK(contains(error_of([&] { run.es.capture(run.x, nosy); }), "captured"));
        Run plain;
        check_same(run.step(), plain.step());  // all is as it was
        CHECK((bits(run.model) == bits(plain.model)));
    }
    SUBCASE("parameters on another device") {
        if (test_device().kind() == Device::Kind::cpu) return;
        CapturedStep captured = run.es.capture(run.x, run.objective());
        captured.step();
        run.model.to(Device::cpu());
        CHECK(contains(error_of([&] { captured.step(); }), "moved"));
        run.es.step(run.x.to(Device::cpu()), loss::mse(run.target.to(Device::cpu())));
        CHECK(run.es.generation() == 2);
    }
}
