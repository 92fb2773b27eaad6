// SPDX-License-Identifier: MIT
#include "core/run_facts.h"

#include "core/noise_law.h"
#include "core/shaping.h"
#include "core/text.h"

#include <cmath>

#include <new>

namespace eggroll::detail {

namespace {

std::string yes_or_no(bool value) {
    return value ? "yes" : "no";
}

std::string name_of(Precision precision) {
    return precision == Precision::f32 ? "f32" : precision == Precision::tf32 ? "tf32" : "bf16";
}

std::string name_of(NonFinite policy) {
    return policy == NonFinite::worst ? "worst" : policy == NonFinite::drop ? "drop" : "error";
}

std::string describe(const TableEntry& entry) {
    const NoiseShape& noise = entry.parameter.noise;
    std::string text =
        std::to_string(entry.index) + ": " + to_string(entry.parameter.value.shape());
    if (!entry.perturbed) {
        text += ", frozen";
    } else if (noise.is_matrix()) {
        text += ", " + name_of(entry.law) + " noise " + to_string({noise.rows, noise.cols});
        if (entry.rank > 0) text += " of rank " + std::to_string(entry.rank);
    } else {
        text += ", noise of a vector";
    }
    const float min = entry.parameter.min, max = entry.parameter.max;
    if (std::isfinite(min) || std::isfinite(max)) {
        text += ", read within " + number(min) + " and " + number(max);
    }
    if (entry.sigma_scale != 1.0f) text += ", sigma times " + number(entry.sigma_scale);
    return text;
}

/// A schedule is known by its description; one of somebody's own, which is only a name, also by
/// what it does next.
std::string describe(const Schedule& schedule, int64_t generation) {
    const std::string& text = schedule.describe();
    if (text != schedule.name() || text == Schedule().name()) return text;
    try {
        return text + ", " + number(schedule(generation)) + " in generation " +
               std::to_string(generation);
    } catch (const std::exception&) {
        return text;  // it has come to its end
    }
}

}  // namespace

std::vector<Fact> facts_of(const Strategy& strategy, int64_t generation) {
    const Options& o = strategy.options;
    std::vector<Fact> facts = {
        {"noise_version", std::to_string(kNoiseVersion)},
        {"noise", o.noise.name()},
        {"noise_reuse", std::to_string(o.noise_reuse)},
        {"seed", std::to_string(o.seed)},
        {"pop_size", std::to_string(o.pop_size)},
        {"antithetic", yes_or_no(o.antithetic)},
        {"rank", std::to_string(o.rank)},
        {"shaping", strategy.shaping.describe()},
        {"non_finite", name_of(o.non_finite)},
        {"evaluations", std::to_string(o.evaluations)},
        {"clip_norm", number(o.clip_norm)},
        {"optimizer", strategy.optimizer().describe()},
        {"optimizer_states", std::to_string(strategy.optimizer().state_count())},
        {"lr", number(o.lr), true},
        {"sigma", number(o.sigma), true},
        {"lr_schedule", describe(o.lr_schedule, generation), true},
        {"sigma_schedule", describe(o.sigma_schedule, generation), true},
        {"precision", name_of(o.precision), true},
    };
    for (const TableEntry& entry : strategy.table.entries()) {
        facts.push_back({"parameter " + entry.parameter.name, describe(entry)});
    }
    return facts;
}

}  // namespace eggroll::detail
