// SPDX-License-Identifier: MIT
#include <eggroll/schedule.h>

#include "core/power.h"
#include "core/text.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

namespace eggroll {

Schedule::Schedule() : Schedule("constant", [](int64_t) { return 1.0; }) {}

Schedule::Schedule(std::string name, std::function<double(int64_t)> factor, std::string description)
    : name_(std::move(name)),
      description_(description.empty() ? name_ : std::move(description)),
      factor_(std::move(factor)) {
    if (!factor_) throw Error("[Schedule] \"" + name_ + "\" has no function");
}

namespace schedule {

namespace {

std::string towards(const char* name, int64_t generations, double final_factor) {
    return std::string(name) + "(generations=" + std::to_string(generations) +
           ",final_factor=" + detail::number(final_factor) + ")";
}

}  // namespace

Schedule constant() {
    return {};
}

Schedule exponential(double decay, double floor) {
    if (!(decay > 0.0 && decay <= 1.0) || !(floor >= 0.0 && floor <= 1.0)) {
        throw Error(
            "[schedule::exponential] decay must be in (0,1] and floor in [0,1] but they are " +
            detail::number(decay) + " and " + detail::number(floor));
    }
    return {"exponential", [=](int64_t t) { return std::max(floor, detail::power(decay, t)); },
            "exponential(decay=" + detail::number(decay) + ",floor=" + detail::number(floor) + ")"};
}

Schedule cosine(int64_t generations, double final_factor) {
    if (generations < 1 || !(final_factor >= 0.0 && final_factor <= 1.0)) {
        throw Error(
            "[schedule::cosine] generations must be >= 1 and final_factor in [0,1] but they "
            "are " +
            std::to_string(generations) + " and " + detail::number(final_factor));
    }
    return {"cosine",
            [=](int64_t t) {
                const double part =
                    std::min(1.0, static_cast<double>(t) / static_cast<double>(generations));
                return final_factor +
                       (1.0 - final_factor) * 0.5 * (1.0 + std::cos(std::numbers::pi * part));
            },
            towards("cosine", generations, final_factor)};
}

Schedule linear(int64_t generations, double final_factor) {
    if (generations < 1 || !(final_factor >= 0.0) || !std::isfinite(final_factor)) {
        throw Error(
            "[schedule::linear] generations must be >= 1 and final_factor non-negative and finite "
            "but they are " +
            std::to_string(generations) + " and " + detail::number(final_factor));
    }
    return {"linear",
            [=](int64_t t) {
                const double part =
                    std::min(1.0, static_cast<double>(t) / static_cast<double>(generations));
                return (1.0 - part) + part * final_factor;
            },
            towards("linear", generations, final_factor)};
}

Schedule warm_up(int64_t generations, Schedule then) {
    if (generations < 1) {
        throw Error("[schedule::warm_up] generations must be >= 1 but are " +
                    std::to_string(generations));
    }
    std::string description =
        "warm_up(generations=" + std::to_string(generations) + ",then=" + then.describe() + ")";
    return {"warm_up",
            [generations, then = std::move(then)](int64_t t) {
                if (t >= generations) return then(t - generations);
                return static_cast<double>(t + 1) / static_cast<double>(generations);
            },
            std::move(description)};
}

}  // namespace schedule
}  // namespace eggroll
