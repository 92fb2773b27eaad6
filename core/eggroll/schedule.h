// SPDX-License-Identifier: MIT
#pragma once

#include <eggroll/error.h>

#include <cstdint>
#include <functional>
#include <string>

namespace eggroll {

/// A factor for lr or σ as a function of the generation; constant 1 by default.
class EGGROLL_API Schedule {
public:
    Schedule();
    /// `description`: name and parameters for `describe`; empty: the name.
    Schedule(std::string name, std::function<double(int64_t)> factor, std::string description = {});

    const std::string& name() const { return name_; }
    /// Name and parameters, "cosine(generations=100,final_factor=0)": equal for schedules that are.
    const std::string& describe() const { return description_; }
    /// The factor in a generation, counted from 0.
    double operator()(int64_t generation) const { return factor_(generation); }

private:
    std::string name_, description_;
    std::function<double(int64_t)> factor_;
};

namespace schedule {

/// 1 in every generation.
EGGROLL_API Schedule constant();
/// decayᵗ; 0 < decay <= 1. Never below `floor`.
EGGROLL_API Schedule exponential(double decay, double floor = 0.0);
/// From 1 to `final_factor` along half a cosine over `generations`, constant afterwards
/// (Loshchilov & Hutter 2017, without restarts).
EGGROLL_API Schedule cosine(int64_t generations, double final_factor = 0.0);
/// From 1 to `final_factor` (>= 0) in a straight line over `generations`, constant afterwards.
EGGROLL_API Schedule linear(int64_t generations, double final_factor = 0.0);
/// (t+1)/generations in the first `generations`, afterwards `then`, counting from 0.
EGGROLL_API Schedule warm_up(int64_t generations, Schedule then = {});

}  // namespace schedule
}  // namespace eggroll
