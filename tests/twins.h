// SPDX-License-Identifier: MIT
#pragma once

#include "tests/cases.h"
#include "tests/model_bits.h"
#include "tests/reference.h"

#include <eggroll/eggroll.h>

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

// What the tests of the strategy share: a small model, what a report should say, and a pair of
// strategies to see that trouble changed nothing.

namespace eggroll::test {

/// An exception of a user's own, of no type the library knows.
struct Boom {
    int code;
};

/// Layers (7,4) and (3,7) with a tanh between them.
inline nn::Sequential small_model() {
    nn::Sequential model = here(nn::Sequential(nn::Linear(4, 7), nn::Tanh(), nn::Linear(7, 3)));
    model.init(1);
    return model;
}

/// Five rows for it.
inline Tensor small_input() {
    return random_tensor({5, 4});
}

/// The report of a generation with this raw fitness.
inline void check_report(const Report& report, std::span<const float> fitness, int64_t generation) {
    const reference::Statistics want = reference::statistics(fitness);
    CHECK(report.generation == generation);
    CHECK(report.best_member == want.best_member);
    CHECK(report.non_finite == want.non_finite);
    CHECK(report.seconds >= 0.0);
    if (want.best_member < 0) return;
    // Statistics in double, rounded to float once.
    const auto near = [](float got, double value) {
        return std::fabs(static_cast<double>(got) - value) <=
               2 * reference::kUnit * std::fabs(value);
    };
    CHECK(near(report.mean, want.mean));
    CHECK(near(report.std, want.std));
    CHECK(static_cast<double>(report.best) == want.best);
    CHECK(static_cast<double>(report.worst) == want.worst);
}

/// A strategy with optimizer state, a model of its own and another that never sees trouble.
class Twins {
public:
    explicit Twins(Options options = {.pop_size = 8, .optimizer = optim::adam()})
        : model(small_model()),
          calm_model(small_model()),
          es(model, options),
          calm(calm_model, options) {
        both();
        both();
    }

    /// One generation of each.
    void both() {
        const std::vector<float> fitness =
            random_fitness(es.options().pop_size, static_cast<uint32_t>(es.generation()));
        es.ask();
        es.tell(fitness);
        calm.ask();
        calm.tell(fitness);
    }

    /// Nothing differs, now or later.
    void check_same() {
        CHECK((bits(model) == bits(calm_model)));
        CHECK(es.generation() == calm.generation());
        both();
        both();
        CHECK((bits(model) == bits(calm_model)));
        CHECK(es.generation() == calm.generation());
    }

    nn::Sequential model, calm_model;
    Eggroll es, calm;
};

}  // namespace eggroll::test
