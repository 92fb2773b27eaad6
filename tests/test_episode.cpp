// SPDX-License-Identifier: MIT
// Episodes of <eggroll/episode.h> in a small world with known rewards.
#include "tests/errors.h"

#include <eggroll/eggroll.h>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <vector>

using namespace eggroll;
using namespace eggroll::test;

namespace {

/// A field of 5x5; the agent starts in a corner, the goal is where the seed put it. It sees its own
/// place, the way to the goal, and a constant: 5 numbers; 4 actions.
class GridWorld {
public:
    explicit GridWorld(int goal) : goal_x_(goal % 5), goal_y_(goal / 5) {}

    Tensor reset() {
        x_ = y_ = 0;
        return seen();
    }
    Transition<Tensor> step(int action) {
        constexpr int kMoves[4][2] = {{1, 0}, {-1, 0}, {0, 1}, {0, -1}};
        const int before = distance();
        x_ = std::clamp(x_ + kMoves[action][0], 0, 4);
        y_ = std::clamp(y_ + kMoves[action][1], 0, 4);
        const bool there = distance() == 0;
        return {seen(), before - distance() - 0.1 + (there ? 5 : 0), there};
    }

private:
    int distance() const { return std::abs(goal_x_ - x_) + std::abs(goal_y_ - y_); }
    Tensor seen() const {
        return Tensor::from({1, 5}, {static_cast<float>(x_) / 4, static_cast<float>(y_) / 4,
                                     static_cast<float>(goal_x_ - x_) / 4,
                                     static_cast<float>(goal_y_ - y_) / 4, 1.0f});
    }

    int goal_x_, goal_y_, x_ = 0, y_ = 0;
};

TEST_CASE("episode: rewards add up until the end or the limit [host]") {
    GridWorld world(7);  // (2,1)
    std::vector<int> plan = {0, 0, 2};
    size_t next = 0;
    const auto planned = [&](const Tensor&) { return plan[next++]; };
    const Episode there = run_episode(world, planned, 10);
    CHECK(there.terminated);
    CHECK(there.steps == 3);
    CHECK(there.reward == doctest::Approx(3 * 0.9 + 5));
    const Episode cut = run_episode(
        world, [](const Tensor&) { return 1; }, 4);
    CHECK_FALSE(cut.terminated);
    CHECK(cut.steps == 4);
    CHECK(cut.reward == doctest::Approx(-0.4));
    CHECK(contains(error_of([&] { run_episode(world, planned, 0); }), "max_steps"));
}

TEST_CASE("episode: a network 5-8-4 learns to walk to its goals [host]") {
    const std::vector<int> goals = {4, 8, 12, 20, 24};
    for (uint64_t seed = 0; seed < 3; ++seed) {
        CAPTURE(seed);
        nn::Sequential policy(nn::Linear(5, 8), nn::Tanh(), nn::Linear(8, 4));
        policy.init(seed);
        Eggroll es(policy, {.pop_size = 32, .sigma = 0.2f, .lr = 0.2f, .seed = seed});
        const auto walk = [](const auto& model, int goal) {
            GridWorld world(goal);
            const auto act = [&](const Tensor& seen) {
                return static_cast<int>(argmax(model(seen)).item());
            };
            return run_episode(world, act, 10);
        };
        const auto reached = [&] {
            return std::count_if(goals.begin(), goals.end(),
                                 [&](int goal) { return walk(policy, goal).terminated; });
        };
        CHECK(reached() < 5);
        for (int step = 0; step < 40; ++step) {
            es.step([&](const Member& m) {
                double sum = 0;
                for (const int goal : goals) sum += walk(m, goal).reward;
                return sum;
            });
        }
        CHECK(reached() == 5);
    }
}

}  // namespace
