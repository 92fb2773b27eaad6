// SPDX-License-Identifier: MIT
#include "examples/common/worker_pool.h"
#include "tests/errors.h"
#include "tests/temp_directory.h"

#include <doctest/doctest.h>

#include <cerrno>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include <sys/wait.h>

using eggroll::test::contains;
using eggroll::test::TempDirectory;
using examples::WorkerPool;

namespace {

std::vector<std::string> shell(const std::string& script) {
    return {"/bin/sh", "-c", script};
}

/// Answers each request with its second number.
const std::string kSecond = "while read word id n x y rest; do echo \"fitness $id $y\"; done";

std::vector<float> two(int64_t i) {
    return {-1.0f, static_cast<float>(i) / 3.0f};
}

size_t open_files() {
    size_t count = 0;
    for ([[maybe_unused]] const auto& entry :
         std::filesystem::directory_iterator("/proc/self/fd")) {
        ++count;
    }
    return count;
}

void check_second(const std::vector<double>& fitness) {
    for (size_t i = 0; i < fitness.size(); ++i) {
        CHECK(fitness[i] == static_cast<double>(static_cast<float>(i) / 3.0f));
    }
}

std::string error_of_pool(const std::string& script, int workers = 2) {
    try {
        WorkerPool pool(shell(script), workers);
        pool.evaluate(5, two);
    } catch (const std::runtime_error& error) {
        return error.what();
    }
    return "";
}

TEST_CASE("workers: numbers go out and come back exactly, and nothing is left behind [host]") {
    const size_t before = open_files();
    for (const int workers : {1, 3, 8}) {
        WorkerPool pool(shell(kSecond), workers);
        for (int call = 0; call < 3; ++call) {
            const std::vector<double> fitness = pool.evaluate(20, two);
            CHECK(fitness.size() == 20);
            check_second(fitness);
        }
        CHECK(pool.lost() == 0);
        CHECK(pool.evaluate(0, two).empty());
    }
    CHECK(open_files() == before);
    CHECK(::waitpid(-1, nullptr, WNOHANG) == -1);  // no child, alive or dead
    CHECK(errno == ECHILD);
}

TEST_CASE("workers: infinities, NaN and the smallest numbers arrive [host]") {
    WorkerPool pool(shell(kSecond), 1);
    const float inf = std::numeric_limits<float>::infinity();
    const std::vector<float> sent = {inf, -inf, NAN, -0.0f, 1e-45f, 3.4e38f};
    const std::vector<double> got = pool.evaluate(6, [&](int64_t i) {
        return std::vector<float>{0, sent[i]};
    });
    CHECK(got[0] == HUGE_VAL);
    CHECK(got[1] == -HUGE_VAL);
    CHECK(std::isnan(got[2]));
    CHECK(std::signbit(got[3]));
    for (size_t i = 3; i < 6; ++i) CHECK(got[i] == static_cast<double>(sent[i]));
}

TEST_CASE("workers: a candidate larger than a pipe holds [host]") {
    WorkerPool pool(shell("while read word id n rest; do echo \"fitness $id ${#rest}\"; done"), 2);
    const auto large = [](int64_t) { return std::vector<float>(6000, 0.1f); };
    // "0x1.99999ap-4" and a space, 6000 times; a pipe holds 65536 bytes.
    for (const double length : pool.evaluate(2, large)) CHECK(length == 6000 * 14 - 1);
}

TEST_CASE("workers: what a dead worker had is done by another [host]") {
    const size_t before = open_files();
    const TempDirectory folder("workers");
    // Each of the first three workers ends at its second request: one before it has read it, one
    // in the middle of its answer, one by a signal.
    const std::string mark = (folder / "mark").string();
    const std::string script = "for i in 1 2 3 none; do mkdir " + mark +
                               "$i 2>/dev/null && break; done; "
                               "read word id n x y; echo \"fitness $id $y\"; "
                               "case $i in 1) exit 3;; "
                               "2) read word id n x y; printf \"fitness $id 0x1\"; exit 0;; "
                               "3) read word id n x y; kill -9 $$;; esac; " +
                               kSecond;
    {
        WorkerPool pool(shell(script), 2);
        check_second(pool.evaluate(20, two));
        CHECK(pool.lost() == 3);
        check_second(pool.evaluate(20, two));
        CHECK(pool.lost() == 3);
        int64_t handed_out = 0;
        check_second(pool.evaluate(20, [&](int64_t i) {
            if (++handed_out == 7) pool.kill_next();
            return two(i);
        }));
        CHECK(pool.lost() == 4);
    }
    CHECK(open_files() == before);
    CHECK(::waitpid(-1, nullptr, WNOHANG) == -1);
}

TEST_CASE("workers: one that never answers is replaced [host]") {
    const TempDirectory folder("workers");
    const std::string mark = (folder / "mark").string();
    {
        WorkerPool pool(shell("mkdir " + mark + " 2>/dev/null && cat >/dev/null; " + kSecond), 1,
                        0.5);
        check_second(pool.evaluate(20, two));
        CHECK(pool.lost() >= 1);
    }
    const auto hang = [] {
        WorkerPool pool(shell("cat >/dev/null"), 1, 0.01);
        pool.evaluate(1, two);
    };
    CHECK_THROWS_WITH(hang(), doctest::Contains("after 0.01"));
    CHECK_THROWS_WITH(WorkerPool(shell(kSecond), 1, -1.0), doctest::Contains("seconds >= 0"));
    CHECK_THROWS_WITH(WorkerPool(shell(kSecond), -1), doctest::Contains("at least one worker"));
}

TEST_CASE("workers: what keeps going wrong is told, not tried for ever [host]") {
    CHECK(contains(error_of_pool("exit 3"), "6 times in a row"));
    CHECK(contains(error_of_pool("exit 3"), "exit status 3"));
    CHECK(contains(error_of_pool("read line; kill -9 $$", 1), "signal 9"));
    CHECK(contains(error_of_pool("read line; exit 1", 1), "at candidate 0"));
    CHECK(contains(error_of_pool("while read line; do echo hello; done"), "answered \"hello\""));
    CHECK(contains(error_of_pool("while read line; do echo fitness 77 1; done"), "fitness 77 1"));
    CHECK(contains(error_of_pool("while read w id r; do echo fitness $id; done"), "answered"));
    CHECK(contains(error_of_pool("while read w id r; do echo fitness $id 1 2; done"), "answered"));
    CHECK(contains(error_of_pool("tr -d '\\n' </dev/zero"), "answered"));
    const auto start = [] { WorkerPool pool({"/no/such/program"}, 2); };
    CHECK_THROWS_WITH(start(), doctest::Contains("/no/such/program"));
    CHECK(::waitpid(-1, nullptr, WNOHANG) == -1);
}

TEST_CASE("workers: an exception of the caller's passes, and the pool goes on [host]") {
    WorkerPool pool(shell(kSecond), 3);
    const auto thrown = [&] {
        pool.evaluate(20, [](int64_t i) {
            if (i == 11) throw std::logic_error("eleven");
            return two(i);
        });
    };
    CHECK_THROWS_AS(thrown(), std::logic_error);
    check_second(pool.evaluate(20, two));
}

}  // namespace
