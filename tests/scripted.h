// SPDX-License-Identifier: MIT
#pragma once

#include "tests/cases.h"

#include <eggroll/eggroll.h>

#include <functional>
#include <vector>

namespace eggroll::test {

/// A run whose generations have the mean fitness they are told to have; the best is 1 above it.
struct Scripted {
    nn::Linear model = here(nn::Linear(3, 2));
    Eggroll es{model, {.pop_size = 4, .sigma = 0.1f, .lr = 0.1f, .rank = 1}};
    std::function<float(int64_t)> mean = [](int64_t generation) {
        return static_cast<float>(generation);
    };

    Report step() {
        const float m = mean(es.generation());
        es.ask();
        return es.tell({m - 1, m + 1, m, m});
    }
    Report run(int64_t until, const std::vector<AnyCallback>& callbacks = {}) {
        return train(
            es, until, [this] { return step(); }, callbacks);
    }
};

/// A script: the values in turn.
inline std::function<float(int64_t)> in_turn(std::vector<float> means) {
    return [means = std::move(means)](int64_t generation) {
        return means.at(static_cast<size_t>(generation));
    };
}

}  // namespace eggroll::test
