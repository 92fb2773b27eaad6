// SPDX-License-Identifier: MIT
// How many threads there are, who says so, and use from inside of them.
#include "cpu/threads.h"
#include "tests/cases.h"
#include "tests/errors.h"

#include <eggroll/eggroll.h>

#include <doctest/doctest.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <sched.h>
#endif

using namespace eggroll;
using namespace eggroll::test;

namespace {

/// Whether num_threads() is `expected`, or throws Error when that is 0, in a process of its own
/// that starts with this EGGROLL_NUM_THREADS.
bool child_has_threads(const std::string& value, int expected, const std::string& prefix = "") {
    const std::string self = std::filesystem::read_symlink("/proc/self/exe").string();
    const std::string command = prefix + "EGGROLL_NUM_THREADS='" + value +
                                "' EGGROLL_TEST_EXPECTED='" + std::to_string(expected) + "' '" +
                                self + "' --no-skip --test-case='threads: child' >/dev/null 2>&1";
    return std::system(command.c_str()) == 0;
}

}  // namespace

/// Run by child_has_threads only.
TEST_CASE("threads: child" * doctest::skip()) {
    const char* expected = std::getenv("EGGROLL_TEST_EXPECTED");
    REQUIRE(expected != nullptr);
    const int n = std::atoi(expected);
    if (n > 0) {
        CHECK(num_threads() == n);
        set_num_threads(n + 1);
        CHECK(num_threads() == n + 1);
        return;
    }
    const char* value = std::getenv("EGGROLL_NUM_THREADS");
    REQUIRE(value != nullptr);
    for (int attempt = 0; attempt < 2; ++attempt) {
        const std::string message = error_of([] { num_threads(); });
        CHECK(message.find("EGGROLL_NUM_THREADS") != std::string::npos);
        CHECK(message.find(value) != std::string::npos);
    }
    set_num_threads(2);  // what the program asks for goes before the environment
    CHECK(num_threads() == 2);
}

TEST_CASE("threads: what is set is what there is") {
    const ThreadScope scope(1);
    for (const int n : {1, 2, 3, 8, 1}) {
        set_num_threads(n);
        CHECK(num_threads() == n);
    }
}

TEST_CASE("threads: a bad number is refused and changes nothing") {
    const ThreadScope scope(2);
    for (const int n : {0, -1, 2000, 1025}) {
        const std::string message = error_of([&] { set_num_threads(n); });
        CAPTURE(message);
        CHECK(message.find("set_num_threads") != std::string::npos);
        CHECK(message.find(std::to_string(n)) != std::string::npos);
        CHECK(num_threads() == 2);
    }
}

#if defined(__linux__)
TEST_CASE("threads: EGGROLL_NUM_THREADS") {
    CHECK(child_has_threads("3", 3));
    CHECK(child_has_threads("1", 1));
    CHECK_FALSE(child_has_threads("3", 2));  // the child is really asked
    for (const char* bad : {"0", "-2", "two", "3x", "2000", "1.5", "99999999999"}) {
        CAPTURE(std::string(bad));
        CHECK(child_has_threads(bad, 0));
    }
}

TEST_CASE("threads: what the environment says is a number and nothing else [host]") {
    CHECK(cpu::parse_thread_count("1") == 1);
    CHECK(cpu::parse_thread_count("1024") == 1024);
    // Short and on one line, whatever it was.
    for (const std::string& bad : {std::string("4\0x", 3), std::string(), std::string("1025"),
                                   std::string("+1"), "1\n\xFF" + std::string(5000, 'x')}) {
        const std::string message = error_of([&] { cpu::parse_thread_count(bad); });
        CAPTURE(message);
        CHECK(message.starts_with("[EGGROLL_NUM_THREADS] must be a number from 1 to 1024 but is "));
        CHECK(message.find_first_of("\n\xFF") == std::string::npos);
        CHECK(message.size() < 200);
    }
}

TEST_CASE(
    "threads: what a container grants is rounded up and never more than there may be [host]") {
    CHECK(cpu::processors_granted("200000", "100000") == 2);
    CHECK(cpu::processors_granted("150000", "100000") == 2);
    CHECK(cpu::processors_granted("1000", "100000") == 1);
    CHECK(cpu::processors_granted("1e300", "1") == 1024);
    for (const char* none : {"max", "-1", "0", "", "nan", "inf"}) {
        CAPTURE(std::string(none));
        CHECK(cpu::processors_granted(none, "100000") == 0);
        CHECK(cpu::processors_granted(none, none) == 0);
    }
}

TEST_CASE("threads: by default no more than the processors this process may use") {
    cpu_set_t allowed;
    REQUIRE(sched_getaffinity(0, sizeof allowed, &allowed) == 0);
    int first = 0;
    while (!CPU_ISSET(first, &allowed)) ++first;
    const std::string pinned = "taskset -c " + std::to_string(first) + " env ";
    CHECK(child_has_threads("", 1, pinned));
    CHECK_FALSE(child_has_threads("", 2, pinned));
}
#endif

TEST_CASE("threads: a fitness may use the library from inside") {
    const Tensor x = random_tensor({5, 4}), target = random_tensor({5, 3}, 1);
    const auto train = [&](nn::Module& model, uint64_t seed) {
        Eggroll es(model, {.pop_size = 10, .lr = 0.5f, .seed = seed});
        Report report;
        for (int i = 0; i < 3; ++i) report = es.step(x, loss::mse(target));
        return report.best;
    };
    // Alone: what training each seed from the start gives.
    std::vector<float> alone;
    for (uint64_t seed = 0; seed < 16; ++seed) {
        nn::Linear inner = here(nn::Linear(4, 3));
        alone.push_back(train(inner, seed));
    }
    // Within: a strategy in the fitness of another one's members.
    for (const int threads : {1, 3}) {
        CAPTURE(threads);
        const ThreadScope scope(threads);
        nn::Linear outer = here(nn::Linear(4, 3));
        std::vector<float> within(16);
        Eggroll es(outer, {.pop_size = 16, .parallel_fitness = true});
        es.step([&](const Member& member) {
            nn::Linear inner = here(nn::Linear(4, 3));
            const auto index = static_cast<size_t>(member.index());
            within[index] = train(inner, static_cast<uint64_t>(member.index()));
            return within[index] - mse(member(x), target).item();
        });
        CHECK(within == alone);
    }
}

TEST_CASE("threads: without parallel_fitness the caller's thread does all calls, in order") {
    const ThreadScope scope(3);
    nn::Linear model(4, 3);
    Eggroll es(model, {.pop_size = 34});
    std::vector<int64_t> order;
    bool same_thread = true;
    const std::thread::id caller = std::this_thread::get_id();
    es.step([&](const Member& member) {
        same_thread = same_thread && std::this_thread::get_id() == caller;
        order.push_back(member.index());
        return 1.0f;
    });
    CHECK(same_thread);
    REQUIRE(order.size() == 34);
    for (size_t i = 0; i < order.size(); ++i) CHECK(order[i] == static_cast<int64_t>(i));
}

TEST_CASE("threads: many callers at once, more than there are threads") {
    const ThreadScope scope(2);
    const Tensor x = random_tensor({16, 9});
    nn::Sequential model = here(nn::Sequential(nn::Linear(9, 33), nn::ReLU(), nn::Linear(33, 4)));
    Eggroll es(model, {.pop_size = 66});
    const Population population = es.ask();
    const std::vector<float> want = host(population.forward(x));
    std::atomic<int> right{0};
    std::vector<std::thread> callers;
    for (int i = 0; i < 6; ++i) {
        callers.emplace_back([&] {
            for (int repeat = 0; repeat < 5; ++repeat) {
                if (host(population.forward(x)) == want) ++right;
            }
        });
    }
    for (std::thread& caller : callers) caller.join();
    CHECK(right == 30);
}

TEST_CASE("threads: their number cannot be changed from a callback they run") {
    nn::Linear model(3, 2);
    Eggroll es(model, {.pop_size = 8, .parallel_fitness = true});
    const int before = num_threads();
    CHECK_THROWS_WITH_AS(es.step([](const Member&) {
        set_num_threads(2);
        return 0.0f;
    }),
                         doctest::Contains("[set_num_threads]"), Error);
    CHECK(num_threads() == before);
    CHECK(es.generation() == 0);
}
