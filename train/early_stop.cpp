// SPDX-License-Identifier: MIT
#include <eggroll/early_stop.h>

#include <eggroll/error.h>

#include "core/text.h"

#include <algorithm>
#include <cmath>

namespace eggroll {

namespace {

// What the keys of the notes end in.
constexpr const char* kBest = ".best";
constexpr const char* kImproved = ".improved";
constexpr const char* kBestGeneration = ".best_generation";
constexpr const char* kWaited = ".waited";
constexpr const char* kKeys[] = {kBest, kImproved, kBestGeneration, kWaited};

/// The number a note consists of.
template <class T>
T number_of(const Notes& notes, const std::string& key) {
    const auto found = notes.find(key);
    if (found == notes.end()) {
        throw Error("[early_stop] there is no note " + detail::in_quotes(key));
    }
    const auto number = detail::number_in<T>(found->second);
    if (!number) {
        throw Error("[early_stop] note " + detail::in_quotes(key) + " is " +
                    detail::in_quotes(found->second) + ", not a number");
    }
    return *number;
}

}  // namespace

EarlyStop::EarlyStop(EarlyStopOptions options) : options_(std::move(options)) {
    if (!options_.value) throw Error("[early_stop] value is empty");
    if (options_.patience < 0) {
        throw Error("[early_stop] patience is " + std::to_string(options_.patience) +
                    ", not 0 or more");
    }
    if (!(options_.min_delta >= 0) || std::isinf(options_.min_delta)) {
        throw Error("[early_stop] min_delta is " + detail::number(options_.min_delta) +
                    ", not 0 or more");
    }
    if (options_.name.empty()) throw Error("[early_stop] name is empty");
    if (std::isnan(options_.target)) throw Error("[early_stop] target is NaN");
    if (options_.patience == 0 && options_.target == std::numeric_limits<double>::infinity()) {
        throw Error("[early_stop] neither patience nor target is given: it would never stop");
    }
}

bool EarlyStop::begin(const Eggroll&, int64_t) {
    if (!resumed_) seen_ = {};
    return stopped();
}

bool EarlyStop::after(Eggroll&, Report& report) {
    const double value = options_.value(report);
    resumed_ = false;
    ++seen_.waited;
    if (std::isfinite(value)) {
        if (!(value <= seen_.best)) seen_.best = value;
        // Measured from the last improvement, so that many small steps add up to one.
        if (!(value - seen_.improved <= options_.min_delta)) {
            seen_.improved = value;
            seen_.best_generation = report.generation;
            seen_.waited = 0;
        }
    }
    return stopped();
}

Notes EarlyStop::notes() const {
    return {{options_.name + kBest, detail::number(seen_.best)},
            {options_.name + kImproved, detail::number(seen_.improved)},
            {options_.name + kBestGeneration, std::to_string(seen_.best_generation)},
            {options_.name + kWaited, std::to_string(seen_.waited)}};
}

void EarlyStop::resume(const Notes& notes) {
    Seen seen;
    const auto known = [&](const char* key) { return notes.contains(options_.name + key); };
    if (std::ranges::any_of(kKeys, known)) {
        seen.best = number_of<double>(notes, options_.name + kBest);
        seen.improved = number_of<double>(notes, options_.name + kImproved);
        seen.best_generation = number_of<int64_t>(notes, options_.name + kBestGeneration);
        seen.waited = number_of<int64_t>(notes, options_.name + kWaited);
        const bool can_be =
            seen.best_generation >= 0
                ? seen.best_generation < int64_t{kInitGeneration} && std::isfinite(seen.best) &&
                      std::isfinite(seen.improved) && seen.improved <= seen.best
                : seen.best_generation == -1 && std::isnan(seen.best) && std::isnan(seen.improved);
        if (!can_be || seen.waited < 0 || seen.waited > int64_t{kInitGeneration}) {
            throw Error("[early_stop] the notes " + detail::in_quotes(options_.name) +
                        " say best " + detail::number(seen.best) + ", improved " +
                        detail::number(seen.improved) + " at generation " +
                        std::to_string(seen.best_generation) + ", waited " +
                        std::to_string(seen.waited) + ", which no run can be");
        }
    }
    seen_ = seen;
    resumed_ = true;
}

bool EarlyStop::stopped() const {
    return seen_.best >= options_.target ||
           (options_.patience > 0 && seen_.waited >= options_.patience);
}

}  // namespace eggroll
