// SPDX-License-Identifier: MIT
#pragma once

#include <eggroll/error.h>

#include <concepts>
#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>

namespace eggroll {

/// What one action led to.
template <class Observation>
struct Transition {
    Observation observation;
    double reward = 0;
    bool terminated = false;  // the episode ended by the rules of the environment
};

/// `reset()` starts an episode and returns its first observation; `step(action)` returns a
/// Transition of the same kind of observation. Whatever is random in it comes from a seed of its
/// own.
template <class E>
concept Environment = requires(E& environment) {
    environment.reset();
};

/// How an episode went.
struct Episode {
    double reward = 0;  // sum of the rewards
    int64_t steps = 0;
    bool terminated = false;  // else it was cut off after max_steps
};

/// One episode of at most `max_steps` steps: action = policy(observation) until the environment
/// terminates it. As a fitness of one:
///
///     es.step([&](const Member& m) {
///         GridWorld world(seed);
///         return run_episode(world, [&](const Tensor& seen) { return act(m(seen)); }, 50).reward;
///     });
///
/// Throws Error when max_steps < 1.
template <Environment E, class Policy>
Episode run_episode(E& environment, Policy&& policy, int64_t max_steps) {
    if (max_steps < 1) {
        throw Error("[run_episode] max_steps must be at least 1 but is " +
                    std::to_string(max_steps));
    }
    Episode episode;
    auto observation = environment.reset();
    while (!episode.terminated && episode.steps < max_steps) {
        auto transition = environment.step(policy(std::as_const(observation)));
        episode.reward += transition.reward;
        episode.terminated = transition.terminated;
        ++episode.steps;
        observation = std::move(transition.observation);
    }
    return episode;
}

}  // namespace eggroll
