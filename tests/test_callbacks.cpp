// SPDX-License-Identifier: MIT
// Early stop, keep the best, progress bar: against fitnesses and clocks that follow a script.
#include "tests/errors.h"
#include "tests/model_bits.h"
#include "tests/scripted.h"
#include "tests/temp_directory.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <sstream>
#include <string>

using namespace eggroll;
using namespace eggroll::test;

namespace {

/// How many generations a run of 10 has with these means.
int64_t generations(const std::vector<float>& means, EarlyStop& stop) {
    Scripted run;
    run.mean = in_turn(means);
    run.run(10, {stop});
    return run.es.generation();
}

}  // namespace

TEST_CASE("early_stop: patience, and how much counts as better [host]") {
    EarlyStop stop({.patience = 3});
    CHECK(generations({1, 2, 2, 1, 2, 9, 9, 9, 9, 9}, stop) == 5);
    CHECK(stop.stopped());
    CHECK(stop.best() == 2);
    CHECK(stop.best_generation() == 1);
    // It counts anew in every run.
    CHECK(generations({0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, stop) == 10);
    CHECK_FALSE(stop.stopped());
    CHECK(stop.best_generation() == 9);

    EarlyStop coarse({.patience = 3, .min_delta = 1});
    CHECK(generations({0, 0.5f, 1, 0.75f, 9, 9, 9, 9, 9, 9}, coarse) == 4);
    CHECK(coarse.best() == 1);
    CHECK(coarse.best_generation() == 0);
    // Small steps add up.
    CHECK(generations({0, 0.75f, 1.5f, 2.25f, 3, 3, 3, 3, 9, 9}, coarse) == 8);
    CHECK(coarse.best_generation() == 4);
}

TEST_CASE("early_stop: a target, of a value of one's own [host]") {
    EarlyStop mean({.target = 4});
    CHECK(generations({0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, mean) == 5);
    EarlyStop best({.value = &Report::best, .target = 4});
    CHECK(generations({0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, best) == 4);
    EarlyStop own(
        {.value = [](const Report& r) { return r.generation == 6 ? 1 : 0; }, .target = 1});
    CHECK(generations({0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, own) == 7);
    CHECK(own.stopped());
}

TEST_CASE("early_stop: what is not finite is no improvement [host]") {
    EarlyStop stop({.patience = 2});
    CHECK(generations({kNan, kNan, 1, 1, 1, 1, 1, 1, 1, 1}, stop) == 2);
    CHECK(stop.best_generation() == -1);
    CHECK(std::isnan(stop.best()));
    CHECK(generations({-5, kNan, -4, kNan, kNan, 9, 9, 9, 9, 9}, stop) == 5);
    CHECK(stop.best() == -4);
}

TEST_CASE("early_stop: options out of range are refused [host]") {
    const auto refusal = [](EarlyStopOptions options) {
        return error_of([&] { EarlyStop stop(options); });
    };
    CHECK(refusal({}) == "[early_stop] neither patience nor target is given: it would never stop");
    CHECK(refusal({.patience = -1}) == "[early_stop] patience is -1, not 0 or more");
    CHECK(refusal({.patience = 1, .min_delta = -0.5}) ==
          "[early_stop] min_delta is -0.5, not 0 or more");
    CHECK(refusal({.patience = 1, .min_delta = std::nan("")}) ==
          "[early_stop] min_delta is nan, not 0 or more");
    CHECK(refusal({.target = std::nan("")}) == "[early_stop] target is NaN");
    CHECK(refusal({.value = {}, .patience = 1}) == "[early_stop] value is empty");
    CHECK(refusal({.patience = 1, .name = ""}) == "[early_stop] name is empty");
}

TEST_CASE("early_stop: a run resumed from any checkpoint stops where it would have [host]") {
    const TempDirectory directory("early_stop_resumed");
    // Thirds, which a note must tell exactly; better by too little; nothing; by little again.
    const auto third = [](const Report& report) { return report.mean / 3.0; };
    const std::vector<float> means = {kNan, -1, 1, 1.2f, kNan, 1.6f, 1.7f, 1.6f, 1.5f, 9};
    for (const EarlyStopOptions& options :
         {EarlyStopOptions{.value = third, .patience = 3, .min_delta = 0.1},
          EarlyStopOptions{.value = third, .target = 0.55}}) {
        const auto save = [&](const Eggroll& es, const EarlyStop& early) {
            save_checkpoint(directory / std::to_string(es.generation()), es, early.notes());
        };
        Scripted whole;
        whole.mean = in_turn(means);
        EarlyStop early(options);
        save(whole.es, early);
        whole.run(10, {early, [&](Eggroll& es, Report&) { save(es, early); }});
        const int64_t end = whole.es.generation();
        CHECK(end == (options.patience > 0 ? 9 : 7));
        for (int64_t generation = 0; generation <= end; ++generation) {
            CAPTURE(generation);
            Scripted resumed;
            resumed.mean = whole.mean;
            EarlyStop again(options);
            again.resume(load_checkpoint(directory / std::to_string(generation), resumed.es).notes);
            CHECK(again.stopped() == (generation == end));
            for (int time = 0; time < 2; ++time) {
                if (time > 0) again.resume(again.notes());
                resumed.run(10, {again});
                CHECK(resumed.es.generation() == end);
                CHECK((bits(resumed.model) == bits(whole.model)));
                CHECK(again.stopped());
                CHECK(again.best() == early.best());
                CHECK(again.best_generation() == early.best_generation());
                CHECK((again.notes() == early.notes()));
            }
        }
    }
}

TEST_CASE("early_stop: what it goes on from lasts until there is a generation [host]") {
    EarlyStop first({.patience = 2});
    Scripted run;
    run.mean = in_turn({5, 4, 3, 2, 1, 0});
    run.run(2, {first});
    EarlyStop early({.patience = 2});
    early.resume(first.notes());
    run.run(2, {early});  // nothing to do
    run.run(6, {early});
    CHECK(run.es.generation() == 3);
    run.run(6, {early});  // it was told of one run
    CHECK(run.es.generation() == 6);
    CHECK(early.best() == 2);
    // More patience than that of the run that stopped.
    Scripted longer;
    longer.mean = in_turn({5, 4, 3, 2, 1, 0});
    EarlyStop patient({.patience = 3});
    patient.resume({{"early_stop.best", "5"},
                    {"early_stop.improved", "5"},
                    {"early_stop.best_generation", "0"},
                    {"early_stop.waited", "2"}});
    longer.run(6, {patient});
    CHECK(longer.es.generation() == 1);
}

TEST_CASE("early_stop: notes by name, none of them, and those that are damaged [host]") {
    EarlyStop mean({.patience = 2}), best({.value = &Report::best, .patience = 9, .name = "b"});
    Scripted run;
    run.mean = in_turn({3, 2});
    run.run(2, {mean, best});
    CHECK((mean.notes() == Notes{{"early_stop.best", "3"},
                                 {"early_stop.improved", "3"},
                                 {"early_stop.best_generation", "0"},
                                 {"early_stop.waited", "1"}}));
    Notes both = mean.notes();
    both.merge(best.notes());
    EarlyStop other({.patience = 9, .name = "b"});
    other.resume(both);
    CHECK(other.best() == 4);

    const Notes before = mean.notes();
    const auto refusal = [&](const std::string& key, const std::string& value) {
        Notes notes = before;
        notes["early_stop." + key] = value;
        const std::string message = error_of([&] { mean.resume(notes); });
        CHECK((mean.notes() == before));
        return message;
    };
    CHECK(refusal("waited", "1 ") ==
          "[early_stop] note \"early_stop.waited\" is \"1 \", not a number");
    CHECK(refusal("best", "") == "[early_stop] note \"early_stop.best\" is \"\", not a number");
    CHECK(contains(refusal("best_generation", "9223372036854775807"), "which no run can be"));
    CHECK(refusal("improved", "inf") ==
          "[early_stop] the notes \"early_stop\" say best 3, improved inf at generation 0, waited "
          "1, which no run can be");
    for (const auto& damaged :
         {std::pair("best", "2"), std::pair("best", "nan"), std::pair("improved", "nan"),
          std::pair("improved", "-inf"), std::pair("best", "inf"),
          std::pair("best_generation", "-1"), std::pair("best_generation", "-2"),
          std::pair("waited", "-1"), std::pair("waited", "9223372036854775807")}) {
        CAPTURE(damaged.first);
        CAPTURE(damaged.second);
        CHECK(contains(refusal(damaged.first, damaged.second), "which no run can be"));
    }
    Notes part = before;
    part.erase("early_stop.best");
    CHECK(error_of([&] { mean.resume(part); }) ==
          "[early_stop] there is no note \"early_stop.best\"");
    mean.resume({{"of", "others"}});
    CHECK((mean.notes() == EarlyStop({.patience = 1}).notes()));
}

TEST_CASE("keep_best: the centre of the generation with the best mean") {
    Scripted run;
    run.mean = in_turn({1, 3, kNan, 3, 2});
    std::vector<std::string> centres;  // before each generation
    KeepBest best(run.model);
    CHECK(error_of([&] { best.restore(); }) == "[keep_best] there is nothing to restore yet");
    centres.push_back(bits(run.model));
    run.run(5, {best, [&](Eggroll&, Report&) { centres.push_back(bits(run.model)); }});
    CHECK(best.generation() == 1);
    CHECK(best.value() == 3);
    CHECK((centres[1] != centres[2]));
    best.restore();
    CHECK((bits(run.model) == centres[1]));

    // It goes on from run to run.
    run.mean = in_turn({0, 0, 0, 0, 0, 2, 7});
    run.run(6, {best});
    CHECK(best.generation() == 1);
    const std::string sixth = bits(run.model);
    run.run(7, {best});
    CHECK(best.generation() == 6);
    best.restore();
    CHECK((bits(run.model) == sixth));
}

TEST_CASE("keep_best: the model as an update left it, by a measure of one's own") {
    Scripted run;
    const float measured[] = {1, 4, kNan, 2};
    int next = 0;
    std::string second;
    KeepBest best(run.model, {.measure = [&] { return measured[next++]; }});
    run.run(4, {best, [&](Eggroll& es, Report&) {
                    if (es.generation() == 2) second = bits(run.model);
                }});
    CHECK(best.generation() == 1);
    CHECK(best.value() == 4);
    best.restore();
    CHECK((bits(run.model) == second));
}

TEST_CASE("keep_best: the file is that of the best so far, also for a run that was resumed") {
    const TempDirectory directory("keep_best");
    const auto path = directory / "best.safetensors";
    write_bytes(path, "of an earlier run");
    std::string centre;
    {
        Scripted run;
        run.mean = in_turn({1, 5, 2, 0});
        run.run(1);
        centre = bits(run.model);
    }
    Scripted run;
    run.mean = in_turn({1, 5, 2, 3, 4, 6});
    {
        KeepBest best(run.model, {.path = path});
        run.run(3, {best});
    }
    // Another object, as in another process.
    KeepBest best(run.model, {.path = path});
    run.run(5, {best});
    CHECK(best.generation() == 1);
    CHECK(best.value() == 5);
    nn::Linear loaded = here(nn::Linear(3, 2));
    load_safetensors(path, loaded);
    CHECK((bits(loaded) == centre));
    const std::string fifth = bits(run.model);
    best.restore();
    CHECK((bits(run.model) == centre));
    run.run(6, {best});
    CHECK(best.generation() == 5);
    load_safetensors(path, loaded);
    CHECK((bits(loaded) == centre));  // the centre was put back to it
    CHECK((fifth != centre));
    CHECK(directory.list().size() == 1);
}

TEST_CASE("keep_best: a file that is no such file stops a resumed run and stays [host]") {
    const TempDirectory directory("keep_best_foreign");
    const auto path = directory / "best.safetensors";
    Scripted run;
    run.run(1);
    KeepBest best(run.model, {.path = path});
    save_safetensors(path, run.model);
    const std::string before = read_bytes(path);
    CHECK(error_of([&] { run.run(2, {best}); }).find("has no \"value\" in its metadata") !=
          std::string::npos);
    CHECK((read_bytes(path) == before));
    write_bytes(path, "nonsense");
    CHECK(error_of([&] { run.run(2, {best}); }).find("[keep_best]") == 0);
    CHECK(read_bytes(path) == "nonsense");
    CHECK(run.es.generation() == 1);

    nn::Linear other(4, 2);
    Eggroll es(other, {.pop_size = 4});
    std::filesystem::remove(path);
    KeepBest of_other(other, {.path = path});
    train(es, 1,
          [&] {
              es.ask();
              return es.tell({1, 2, 3, 4});
          },
          {of_other});
    const std::string refusal = error_of([&] { run.run(2, {best}); });
    CAPTURE(refusal);
    CHECK(refusal.find("[keep_best]") == 0);
    CHECK(refusal.find("(2,4)") != std::string::npos);
    CHECK(refusal.find("(2,3)") != std::string::npos);
    CHECK(error_of([&] { KeepBest(run.model, {.value = {}}); }) ==
          "[keep_best] neither value nor measure is given");
}

TEST_CASE("keep_best: a file that cannot be written is told, and written once it can be [host]") {
    const TempDirectory directory("keep_best_full");
    const auto folder = directory / "later", path = folder / "best.safetensors";
    Scripted run;
    run.mean = in_turn({5, 1, 1, 1});
    KeepBest best(run.model, {.path = path});
    std::vector<std::string> troubles;
    std::filesystem::create_directory(folder);
    const auto lose = [&](Eggroll& es, Report&) {
        if (es.generation() == 1) std::filesystem::remove_all(folder);
    };
    const auto listen = [&](Eggroll& es, Report& report) {
        troubles.push_back(report.trouble);
        if (es.generation() == 2) std::filesystem::create_directory(folder);
    };
    run.run(4, {lose, best, listen});
    REQUIRE(troubles.size() == 4);
    for (int i = 0; i < 2; ++i) CHECK(troubles[i].find("[keep_best]") == 0);
    CHECK(troubles[2].empty());
    CHECK(troubles[3].empty());
    CHECK(std::filesystem::exists(path));

    run.mean = [](int64_t) { return 9.0f; };
    const auto remove = [&](Eggroll&, Report&) { std::filesystem::remove_all(folder); };
    CHECK(error_of([&] { run.run(5, {remove, best}); }).find("[keep_best]") == 0);
    CHECK(run.es.generation() == 5);
    CHECK(best.generation() == 4);
    // Where none can be put from the first, the run does not begin.
    CHECK(contains(error_of([&] { run.run(9, {best}); }), "cannot create a file in its directory"));
    CHECK(run.es.generation() == 5);
}

TEST_CASE("keep_best: a file that is gone when a run is resumed is told [host]") {
    const TempDirectory directory("keep_best_gone");
    Scripted run;
    run.run(3);
    std::vector<std::string> troubles;
    KeepBest best(run.model, {.path = directory / "best"});
    run.run(5, {best, [&](Eggroll&, Report& report) { troubles.push_back(report.trouble); }});
    REQUIRE(troubles.size() == 2);
    CHECK(contains(troubles[0], "is not there: the best of the generations before 3 is not known"));
    CHECK(troubles[1].empty());

    // What was missed is no trouble of a run that finds it.
    Scripted other;
    other.run(3);
    KeepBest late(other.model, {.path = directory / "late"});
    other.run(3, {late});
    std::filesystem::copy(directory / "best", directory / "late");
    std::vector<std::string> more;
    other.run(4, {late, [&](Eggroll&, Report& report) { more.push_back(report.trouble); }});
    CHECK(more == std::vector<std::string>{""});
}

TEST_CASE("keep_best: a damaged file is refused before a log is cut [host]") {
    const TempDirectory directory("keep_best_damaged");
    const std::string line = "{\"generation\": 7, \"x\": 1}\n";
    write_bytes(directory / "best", "nothing");
    write_bytes(directory / "log", line);
    Scripted run;
    run.run(4);
    KeepBest best(run.model, {.path = directory / "best"});
    CHECK(contains(error_of([&] {
                       run.run(9, {JsonLines(directory / "log"), best});
                   }),
                   "too few for a safetensors file"));
    CHECK(read_bytes(directory / "log") == line);
}

TEST_CASE("progress_bar: lines for a log, with rate and time left by the clock [host]") {
    std::ostringstream out;
    double now = 100;
    Scripted run;
    run.run(20);  // before it was resumed
    ProgressBar bar(out, {.clock = [&] { return now; }});
    const auto pass = [&](Eggroll&, Report&) { now += 0.5; };
    run.run(60, {pass, bar});
    CHECK(out.str() ==
          "24/60  2/s  0:18 left  mean 23  best 24\n"
          "28/60  2/s  0:16 left  mean 27  best 28\n"
          "32/60  2/s  0:14 left  mean 31  best 32\n"
          "36/60  2/s  0:12 left  mean 35  best 36\n"
          "40/60  2/s  0:10 left  mean 39  best 40\n"
          "44/60  2/s  0:08 left  mean 43  best 44\n"
          "48/60  2/s  0:06 left  mean 47  best 48\n"
          "52/60  2/s  0:04 left  mean 51  best 52\n"
          "56/60  2/s  0:02 left  mean 55  best 56\n"
          "60/60  2/s  0:00 left  mean 59  best 60\n");
}

TEST_CASE("progress_bar: a slow run has a line once in a while, a stopped one its last [host]") {
    std::ostringstream out;
    double now = 0;
    Scripted run;
    ProgressBar bar(out,
                    {.status = [](const Report& r) { return "at " + std::to_string(r.generation); },
                     .line_seconds = 120,
                     .clock = [&] { return now; }});
    const auto pass = [&](Eggroll& es, Report&) {
        now += 50;
        return es.generation() == 5;
    };
    run.run(1000, {pass, bar});
    CHECK(out.str() ==
          "3/1000  0.02/s  13:50:50 left  at 2\n"
          "5/1000  0.02/s  13:49:10 left  at 4\n");
    CHECK(error_of([&] { ProgressBar(out, {.line_seconds = 0}); }) ==
          "[progress_bar] line_seconds is 0, not above 0");
}

TEST_CASE("progress_bar: trouble is told when it changes [host]") {
    std::ostringstream out;
    Scripted run;
    ProgressBar bar(out, {.status = [](const Report&) { return "ok"; },
                          .line_seconds = 1e9,
                          .clock = [] { return 0.0; }});
    const auto trouble = [](const Report& report) {
        const char* of[] = {"", "full", "full", "gone", "gone", "", "", "full", "full", "full"};
        return of[report.generation % 10];
    };
    run.run(10, {[&](Eggroll&, Report& report) { report.trouble = trouble(report); },
                 [](Eggroll& es, Report&) { return es.generation() == 9; }, bar});
    const auto told = [&] {
        std::istringstream text(out.str());
        out.str("");
        std::string lines;
        for (std::string line; std::getline(text, line);) {
            if (line.starts_with("generation")) lines += line + "\n";
        }
        return lines;
    };
    CHECK(told() ==
          "generation 1: full\n"
          "generation 3: gone\n"
          "generation 7: full\n");
    // Every run tells its own.
    run.run(10, {[&](Eggroll&, Report& report) { report.trouble = trouble(report); }, bar});
    CHECK(told() == "generation 9: full\n");
}

TEST_CASE("progress_bar: members without a fitness are counted [host]") {
    std::ostringstream out;
    Scripted run;
    ProgressBar bar(out, {.clock = [] { return 0.0; }});
    run.run(1, {[](Eggroll&, Report& report) {
                    report.non_finite = 2;
                    report.no_result = 1;
                },
                bar});
    CHECK(out.str() == "1/1  mean 0  best 1  2 not finite  1 without result\n");
}

TEST_CASE("progress_bar: one line on a terminal, trouble above it [host]") {
    std::ostringstream out;
    double now = 0;
    Scripted run;
    ProgressBar bar(out, {.status = [](const Report&) { return "ok"; },
                          .terminal = true,
                          .clock = [&] { return now; }});
    const auto pass = [&](Eggroll& es, Report& report) {
        now += es.generation() == 2 ? 0.01 : 1;
        if (es.generation() == 3) report.trouble = "disk full";
    };
    run.run(4, {pass, bar});
    CHECK(out.str() ==
          "\r[=======                       ]  25 %  1/s  0:03 left  ok\33[K"
          "\r\33[Kgeneration 2: disk full\n"
          "\r[======================        ]  75 %  1.49/s  0:01 left  ok\33[K"
          "\r[==============================] 100 %  1.33/s  0:00 left  ok\33[K\n");
    out.str("");
    run.run(4, {bar});  // nothing to do, nothing to say
    CHECK(out.str().empty());
}

TEST_CASE("progress_bar: lines of one's own stay, above the bar or in place of others [host]") {
    const auto shown = [](bool terminal) {
        std::ostringstream out;
        double now = 0;
        Scripted run;
        ProgressBar bar(out, {.status = [](const Report&) { return "ok"; },
                              .line = [](const Report& r) -> std::string {
                                  return r.generation % 2 == 1 ? "tested" : "";
                              },
                              .terminal = terminal,
                              .clock = [&] { return now; }});
        run.run(4, {[&](Eggroll& es, Report&) { now += es.generation() == 2 ? 0.01 : 1; }, bar});
        return out.str();
    };
    CHECK(shown(true) ==
          "\r[=======                       ]  25 %  1/s  0:03 left  ok\33[K"
          "\r\33[Ktested\n"
          "\r[===============               ]  50 %  1.98/s  0:01 left  ok\33[K"
          "\r[======================        ]  75 %  1.49/s  0:01 left  ok\33[K"
          "\r\33[Ktested\n"
          "\r[==============================] 100 %  1.33/s  0:00 left  ok\33[K\n");
    CHECK(shown(false) ==
          "1/4  1/s  0:03 left  ok\n"
          "tested\n"
          "3/4  1.49/s  0:01 left  ok\n"
          "tested\n");
}
