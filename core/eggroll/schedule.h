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
    Schedule(std::string name, std::function<double(int64_t)> factor);

    const std::string& name() const { return name_; }
    /// The factor in a generation, counted from 0.
    double operator()(int64_t generation) const { return factor_(generation); }

private:
    std::string name_;
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

}  // namespace schedule
}  // namespace eggroll
