// SPDX-License-Identifier: MIT
#pragma once

#include "tests/cases.h"
#include "tests/model_bits.h"

#include <eggroll/eggroll.h>

#include <string>
#include <vector>

namespace eggroll::test {

/// A run that takes microseconds a generation and has all there is to save.
struct TinyRun {
    TinyRun()
        : model(nn::Linear(3, 2)),
          es(model, {.pop_size = 4,
                     .sigma = 0.1f,
                     .lr = 0.1f,
                     .rank = 1,
                     .seed = 9,
                     .optimizer = optim::momentum(),
                     .lr_schedule = schedule::exponential(0.999)}) {}

    Report step() {
        // The data of a generation are a function of its number.
        const float shift = static_cast<float>(es.generation() % 7);
        return es.step(Tensor::full({2, 3}, 0.5f + shift), loss::mse(Tensor::full({2, 2}, 1.0f)));
    }
    void step_to(int64_t generation) {
        while (es.generation() < generation) step();
    }

    nn::Linear model;
    Eggroll es;
};

/// The parameters after 0, 1, ... generations of a run that nothing happens to.
inline std::vector<std::string> uninterrupted(int64_t generations) {
    TinyRun run;
    std::vector<std::string> all = {bits(run.model)};
    while (run.es.generation() < generations) {
        run.step();
        all.push_back(bits(run.model));
    }
    return all;
}

}  // namespace eggroll::test
