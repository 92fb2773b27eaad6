// SPDX-License-Identifier: MIT
// The run loop: who is called when, and what is left when something throws.
#include "tests/cases.h"
#include "tests/errors.h"
#include "tests/model_bits.h"

#include <eggroll/eggroll.h>

#include <doctest/doctest.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

using namespace eggroll;
using namespace eggroll::test;

namespace {

struct Oops : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/// A small model that is trained towards fitnesses without order.
struct Trained {
    nn::Linear model{3, 2};
    Eggroll es{model, {.pop_size = 6, .sigma = 0.1f, .lr = 0.1f, .rank = 1}};

    Report step() {
        es.ask();
        return es.tell(random_fitness(6, static_cast<uint32_t>(es.generation())));
    }
    Report run(int64_t until, const std::vector<AnyCallback>& callbacks = {},
               const std::function<bool()>& stop = {}) {
        return train(
            es, until, [this] { return step(); }, callbacks, stop);
    }
};

/// The parameters after so many plain steps.
std::string bits_after(int64_t generations) {
    Trained plain;
    while (plain.es.generation() < generations) plain.step();
    return bits(plain.model);
}

/// Writes down how it is called, and throws where it is told to.
struct Recorder : Callback {
    Recorder(std::string& to, std::string own_name, std::string where = {})
        : log(to), name(std::move(own_name)), throws(std::move(where)) {}
    void note(const std::string& what) {
        log += name + what + " ";
        if (what == throws) throw Oops(name + what);
    }
    bool begin(const Eggroll& es, int64_t until) override {
        note(".begin" + std::to_string(es.generation()) + "-" + std::to_string(until));
        return nothing_to_do;
    }
    bool after(Eggroll& es, Report& report) override {
        CHECK(es.generation() == report.generation + 1);
        note("." + std::to_string(report.generation));
        return report.generation == stop_after;
    }
    void end(const Eggroll&) override { note(".end"); }

    std::string& log;
    std::string name, throws;
    int64_t stop_after = -1;
    bool nothing_to_do = false;
};

}  // namespace

TEST_CASE(
    "train: everybody is called in the order given, up to the same end after a resume [host]") {
    std::string log;
    Recorder a(log, "a"), b(log, "b");
    Trained trained;
    CHECK(trained.run(2, {a, b}).generation == 1);
    CHECK(log == "a.begin0-2 b.begin0-2 a.0 b.0 a.1 b.1 a.end b.end ");
    log.clear();
    CHECK(trained.run(3, {b, a}).generation == 2);
    CHECK(log == "b.begin2-3 a.begin2-3 b.2 a.2 b.end a.end ");
    log.clear();
    CHECK(trained.run(3, {a}).generation == -1);
    CHECK(log == "a.begin3-3 a.end ");
    CHECK(trained.run(1).generation == -1);
    CHECK((bits(trained.model) == bits_after(3)));
}

TEST_CASE("train: who sees comes before who saves, and who shows is last [host]") {
    struct Staged : Recorder {
        Staged(std::string& to, std::string own_name, Stage own)
            : Recorder(to, std::move(own_name)), at(own) {}
        Stage stage() const override { return at; }
        Stage at;
    };
    using Stage = Callback::Stage;
    std::string log;
    Staged a(log, "a", Stage::show), b(log, "b", Stage::save), c(log, "c", Stage::see),
        d(log, "d", Stage::see), e(log, "e", Stage::save);
    Trained trained;
    trained.run(1, {a, b, c, d, e});
    CHECK(contains(log, "c.0 d.0 b.0 e.0 a.0 "));
}

TEST_CASE("train: a callback that cannot do its part is heard before any begins [host]") {
    struct Careful : Recorder {
        using Recorder::Recorder;
        void check(const Eggroll&) const override {
            if (refuses) throw Oops(name);
        }
        bool refuses = false;
    };
    std::string log;
    Careful a(log, "a"), b(log, "b");
    b.refuses = true;
    Trained trained;
    CHECK_THROWS_WITH_AS(trained.run(2, {a, b}), "b", Oops);
    CHECK(log.empty());
    CHECK(trained.es.generation() == 0);
}

TEST_CASE("train: a callback stops the run after all have seen the generation [host]") {
    std::string log;
    Recorder a(log, "a"), b(log, "b");
    a.stop_after = 1;
    Trained trained;
    CHECK(trained.run(5, {a, b}).generation == 1);
    CHECK(log == "a.begin0-5 b.begin0-5 a.0 b.0 a.1 b.1 a.end b.end ");
    CHECK(trained.es.generation() == 2);
}

TEST_CASE("train: a callback stops the run before it begins, after all were told of it [host]") {
    std::string log;
    Recorder a(log, "a"), b(log, "b");
    a.nothing_to_do = true;
    Trained trained;
    CHECK(trained.run(5, {a, b}).generation == -1);
    CHECK(log == "a.begin0-5 b.begin0-5 a.end b.end ");
    CHECK(trained.es.generation() == 0);
}

TEST_CASE("train: stop is asked before each generation [host]") {
    std::string log;
    Recorder a(log, "a");
    Trained trained;
    int asked = 0;
    CHECK(trained.run(5, {a}, [&] { return ++asked == 3; }).generation == 1);
    CHECK(log == "a.begin0-5 a.0 a.1 a.end ");
    CHECK(trained.run(5, {}, [] { return true; }).generation == -1);
    CHECK(trained.es.generation() == 2);
}

TEST_CASE("train: callbacks by reference, kept, shared, and as functions [host]") {
    std::string log;
    Recorder by_reference(log, "r");
    const auto shared = std::make_shared<Recorder>(log, "s");
    Trained trained;
    int calls = 0;
    const Report report = trained.run(
        9, {by_reference, Recorder(log, "t"), shared, [&](Eggroll&, Report&) { ++calls; },
            [](Eggroll& es, Report& r) {
                r.trouble = "told";
                return es.generation() == 2;
            }});
    CHECK(log == "r.begin0-9 t.begin0-9 s.begin0-9 r.0 t.0 s.0 r.1 t.1 s.1 r.end t.end s.end ");
    CHECK(calls == 2);
    CHECK(report.trouble == "told");
    CHECK(shared.use_count() == 1);
}

TEST_CASE("train: whoever throws, all are told the end and the state is intact [host]") {
    struct Throw {
        const char *a, *b;  // where they throw
        const char* log;
        const char* what;  // passes through
        int64_t completed;
    };
    const Throw cases[] = {
        {".begin0-3", "", "a.begin0-3 ", "a.begin0-3", 0},
        {"", ".begin0-3", "a.begin0-3 b.begin0-3 a.end ", "b.begin0-3", 0},
        {".1", "", "a.begin0-3 b.begin0-3 a.0 b.0 a.1 b.1 a.end b.end ", "a.1", 2},
        {"", ".1", "a.begin0-3 b.begin0-3 a.0 b.0 a.1 b.1 a.end b.end ", "b.1", 2},
        {".0", ".0", "a.begin0-3 b.begin0-3 a.0 b.0 a.end b.end ", "a.0", 1},
        {".end", "", "a.begin0-3 b.begin0-3 a.0 b.0 a.1 b.1 a.2 b.2 a.end b.end ", "a.end", 3},
        {".end", ".end", "a.begin0-3 b.begin0-3 a.0 b.0 a.1 b.1 a.2 b.2 a.end b.end ", "a.end", 3},
        {".end", ".0", "a.begin0-3 b.begin0-3 a.0 b.0 a.end b.end ", "b.0", 1},
    };
    const std::string whole = bits_after(3);
    for (const Throw& of : cases) {
        CAPTURE(of.log);
        std::string log;
        Recorder a(log, "a", of.a), b(log, "b", of.b);
        Trained trained;
        CHECK_THROWS_WITH_AS(trained.run(3, {a, b}), of.what, Oops);
        CHECK(log == of.log);
        CHECK(trained.es.generation() == of.completed);
        trained.run(3);
        CHECK((bits(trained.model) == whole));
    }
}

TEST_CASE("train: an exception of step or stop ends the run, and the run can go on [host]") {
    const std::string whole = bits_after(3);
    std::string log;
    Recorder a(log, "a", ".end");  // what it throws then is dropped
    Trained trained;
    const auto bad_step = [&] {
        if (trained.es.generation() == 1) throw Oops("step");
        return trained.step();
    };
    CHECK_THROWS_WITH_AS(train(trained.es, 3, bad_step, {a}), "step", Oops);
    CHECK(log == "a.begin0-3 a.0 a.end ");
    CHECK_THROWS_WITH_AS(trained.run(3, {a}, []() -> bool { throw Oops("stop"); }), "stop", Oops);
    // A fitness that throws leaves the generation to be asked again.
    CHECK_THROWS_AS(
        train(
            trained.es, 3,
            [&] { return trained.es.step([](const Member&) -> float { throw Oops("fitness"); }); }),
        Oops);
    CHECK(trained.es.generation() == 1);
    trained.run(3);
    CHECK((bits(trained.model) == whole));
}

TEST_CASE("train: what the caller gets wrong is refused before anything is called [host]") {
    std::string log;
    Recorder a(log, "a");
    Trained trained;
    CHECK(error_of([&] { trained.run(-1, {a}); }) == "[train] until is -1, not 0 or more");
    CHECK(error_of([&] { train(trained.es, 3, {}, {a}); }) == "[train] there is no step to call");
    CHECK(error_of([&] {
              trained.run(3, {a, std::shared_ptr<Recorder>()});
          }) == "[train] a callback is a null pointer");
    CHECK(log.empty());
    CHECK(error_of([&] { train(trained.es, 3, [] { return Report(); }, {a}); }) ==
          "[train] step completed no generation: it is still 0");
    CHECK(log == "a.begin0-3 a.end ");
}
