// SPDX-License-Identifier: MIT
// A process that saves every generation is killed at moments of chance: which ones is chance, what
// it leaves is not.
#include "core/file.h"
#include "tests/errors.h"
#include "tests/reliability/tiny_run.h"
#include "tests/temp_directory.h"

#include <doctest/doctest.h>

#include <csignal>
#include <cstdio>
#include <ctime>
#include <random>

#include <sys/wait.h>

using namespace eggroll;
using namespace eggroll::test;

namespace {

namespace fs = std::filesystem;

constexpr int kKills = 1500;
constexpr int64_t kGenerations = 400;  // of a run; then a new one begins
constexpr int kLongest = 1500;         // microseconds that a child may live

/// What the child does until it is killed.
[[noreturn]] void train(const fs::path& directory) {
    try {
        detail::file_calls().fsync = [](int) { return 0; };  // a kill loses no page of the system's
        TinyRun run;
        Checkpoint held(directory, {.every = 1, .keep = 2});
        held.resume(run.es);
        while (run.es.generation() < kGenerations) {
            run.step();
            held.save(run.es);
        }
        ::_exit(0);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        ::_exit(1);
    }
}

bool has_temporaries(const fs::path& directory) {
    std::error_code none;
    for (const auto& entry : fs::directory_iterator(directory, none)) {
        if (entry.path().extension() == ".tmp") return true;
    }
    return false;
}

void wait_microseconds(int64_t count) {
    const timespec span{.tv_sec = 0, .tv_nsec = count * 1000};
    ::nanosleep(&span, nullptr);
}

}  // namespace

TEST_CASE("kill: a process killed at any moment leaves a checkpoint that leads where it should") {
    const ThreadScope one(1);  // and so no threads, which fork() would not copy
    const TempDirectory directory("reliability-kill");
    const fs::path path = directory / "run";
    const std::vector<std::string> expected = uninterrupted(kGenerations + 1);
    std::mt19937 random(6);
    int64_t reached = 0, saved = 0;
    int killed = 0, halfway = 0, runs = 0;
    while (killed < kKills) {
        const auto delay = static_cast<int64_t>(random() % kLongest);
        const pid_t child = ::fork();
        REQUIRE(child >= 0);
        if (child == 0) train(path);
        wait_microseconds(delay);
        ::kill(child, SIGKILL);
        int status = 0;
        REQUIRE(::waitpid(child, &status, 0) == child);
        if (WIFSIGNALED(status)) {
            REQUIRE(WTERMSIG(status) == SIGKILL);
            ++killed;
        } else {
            REQUIRE(WEXITSTATUS(status) == 0);
        }

        halfway += has_temporaries(path);
        Checkpoint held(path);
        TinyRun run;
        const auto found = held.resume(run.es);
        if (!found) {
            REQUIRE(reached == 0);  // killed before the first was saved
            continue;
        }
        CAPTURE(killed);
        REQUIRE(found->warnings.empty());
        const int64_t at = found->generation;
        REQUIRE(at >= reached);
        REQUIRE(at == run.es.generation());
        REQUIRE(bits(run.model) == expected[static_cast<size_t>(at)]);
        run.step();
        REQUIRE(bits(run.model) == expected[static_cast<size_t>(at) + 1]);
        REQUIRE(!has_temporaries(path));
        saved += at - reached;
        reached = at;
        if (reached == kGenerations) {
            fs::remove_all(path);
            reached = 0;
            ++runs;
        }
    }
    MESSAGE(killed << " kills, " << halfway << " of them while a file was being written; " << saved
                   << " generations saved, " << runs << " runs completed");
    CHECK(saved > 0);
}

TEST_CASE("lock: a second process is told which one has the directory") {
    const ThreadScope one(1);
    const TempDirectory directory("reliability-lock");
    const Checkpoint held(directory / "run");
    const std::string expected = "[Checkpoint] \"" + (directory / "run").string() +
                                 "\": is in use by process " + std::to_string(::getpid());
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        ::_exit(error_of([&] { Checkpoint second(directory / "run"); }) == expected ? 0 : 1);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 0);
}
