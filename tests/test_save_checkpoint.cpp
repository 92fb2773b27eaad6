// SPDX-License-Identifier: MIT
// Checkpoints as a callback: what is saved has been seen by all, nothing of another run is touched,
// and the last generation is saved however the run ends.
#include "tests/errors.h"
#include "tests/model_bits.h"
#include "tests/scripted.h"
#include "tests/temp_directory.h"

#include <doctest/doctest.h>

#include <stdexcept>

using namespace eggroll;
using namespace eggroll::test;

namespace {

int64_t newest(const std::filesystem::path& directory) {
    Scripted reader;
    Checkpoint run(directory);
    const auto found = run.resume(reader.es);
    return found ? found->generation : -1;
}

}  // namespace

TEST_CASE("save_checkpoint: those that are due and the last, with notes of what was seen [host]") {
    const TempDirectory directory("save_checkpoint");
    int64_t seen = 0;
    std::vector<std::string> notes;
    {
        Scripted run;
        Checkpoint to(directory / "run", {.every = 2, .keep = 9});
        // Given first, it comes last all the same.
        run.run(5, {SaveCheckpoint(to,
                                   [&] {
                                       return Notes{{"seen", std::to_string(seen)}};
                                   }),
                    [&](Eggroll&, Report&) { ++seen; }});
        run.run(5, {SaveCheckpoint(to)});  // nothing to do, nothing to save
    }
    for (const int generation : {2, 4, 5}) {
        const auto info = read_checkpoint_info(
            directory / ("run/checkpoint-000000000" + std::to_string(generation) + ".safetensors"));
        CHECK(info.generation == generation);
        CHECK(info.notes.at("seen") == std::to_string(generation));
    }
    CHECK(newest(directory / "run") == 5);
}

TEST_CASE(
    "save_checkpoint: a run that was not resumed is refused before its logs are touched [host]") {
    const TempDirectory directory("save_checkpoint_logs");
    const auto log = directory / "log.jsonl", best = directory / "best.safetensors";
    const auto run_to = [&](int64_t until, bool resume) {
        Scripted run;
        Checkpoint to(directory / "run", {.every = 2});
        if (resume) to.resume(run.es);
        run.run(until, {JsonLines(log), KeepBest(run.model, {.path = best}), SaveCheckpoint(to)});
    };
    run_to(4, false);
    const std::string lines = read_bytes(log), kept = read_bytes(best);
    CHECK(contains(error_of([&] { run_to(6, false); }), "holds a run of 4 generations: resume it"));
    CHECK(read_bytes(log) == lines);
    CHECK(read_bytes(best) == kept);
    run_to(6, true);
    CHECK(read_bytes(log).starts_with(lines));
    CHECK(newest(directory / "run") == 6);
}

TEST_CASE("save_checkpoint: the last generation is saved whatever else goes wrong [host]") {
    const TempDirectory directory("save_checkpoint_end");
    struct Failing : Callback {
        void end(const Eggroll&) override { throw std::runtime_error("the end"); }
    };
    {
        Scripted run;
        Checkpoint to(directory / "end");
        CHECK_THROWS_WITH_AS(run.run(3, {Failing(), SaveCheckpoint(to)}), "the end",
                             std::runtime_error);
    }
    CHECK(newest(directory / "end") == 3);
    {
        Scripted run;
        Checkpoint to(directory / "thrown");
        const auto fail = [](Eggroll& es, Report&) {
            if (es.generation() == 2) throw std::runtime_error("seen enough");
        };
        CHECK_THROWS_WITH_AS(run.run(3, {fail, SaveCheckpoint(to)}), "seen enough",
                             std::runtime_error);
    }
    CHECK(newest(directory / "thrown") == 2);
}

TEST_CASE("save_checkpoint: a step that throws leaves what was completed saved [host]") {
    const TempDirectory directory("save_checkpoint_step");
    Scripted run;
    {
        Checkpoint to(directory / "run");
        const auto step = [&] {
            run.es.ask();  // which stays open
            if (run.es.generation() == 2) throw std::runtime_error("no fitness");
            return run.step();
        };
        CHECK_THROWS_WITH_AS(train(run.es, 9, step, {SaveCheckpoint(to)}), "no fitness",
                             std::runtime_error);
    }
    CHECK(newest(directory / "run") == 2);
}

TEST_CASE("save_checkpoint: what could not be saved at the end is saved by the next run [host]") {
    const TempDirectory directory("save_checkpoint_again");
    Scripted run;
    {
        Checkpoint to(directory / "run");
        const auto lock = directory / "run/lock", aside = directory / "aside";
        const auto hide = [&](Eggroll&, Report&) { std::filesystem::rename(lock, aside); };
        CHECK(contains(error_of([&] { run.run(1, {hide, SaveCheckpoint(to)}); }), "was removed"));
        std::filesystem::rename(aside, lock);
        CHECK(to.saved() == -1);
        run.run(1, {SaveCheckpoint(to)});
        CHECK(to.saved() == 1);
    }
    CHECK(newest(directory / "run") == 1);
}

TEST_CASE("save_checkpoint: a lock that was removed is told, and no file is written [host]") {
    const TempDirectory directory("save_checkpoint_lock");
    Scripted run;
    Checkpoint to(directory / "run", {.every = 1});
    std::vector<std::string> troubles;
    struct Listen : Callback {
        explicit Listen(std::vector<std::string>& list) : to(list) {}
        Stage stage() const override { return Stage::show; }
        bool after(Eggroll&, Report& report) override {
            to.push_back(report.trouble);
            return false;
        }
        std::vector<std::string>& to;
    };
    const auto remove = [&](Eggroll& es, Report&) {
        if (es.generation() == 2) std::filesystem::remove(directory / "run/lock");
    };
    const std::string said = "its file \"lock\" was removed or replaced";
    CHECK(contains(error_of([&] {
                       run.run(2, {remove, SaveCheckpoint(to), Listen(troubles)});
                   }),
                   said));
    REQUIRE(troubles.size() == 2);
    CHECK(troubles[0].empty());
    CHECK(contains(troubles[1], said));
    CHECK(contains(error_of([&] { run.run(4, {SaveCheckpoint(to)}); }), said));
    CHECK(run.es.generation() == 2);
    CHECK(newest(directory / "run") == 1);
}
