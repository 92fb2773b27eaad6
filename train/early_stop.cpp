// SPDX-License-Identifier: MIT
#include <eggroll/early_stop.h>

#include <eggroll/error.h>

#include "core/text.h"

#include <cmath>

namespace eggroll {

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
    if (std::isnan(options_.target)) throw Error("[early_stop] target is NaN");
    if (options_.patience == 0 && options_.target == std::numeric_limits<double>::infinity()) {
        throw Error("[early_stop] neither patience nor target is given: it would never stop");
    }
}

bool EarlyStop::begin(const Eggroll&, int64_t) {
    best_ = improved_ = std::numeric_limits<double>::quiet_NaN();
    best_generation_ = -1;
    waited_ = 0;
    stopped_ = false;
    return false;
}

bool EarlyStop::after(Eggroll&, Report& report) {
    const double value = options_.value(report);
    ++waited_;
    if (std::isfinite(value)) {
        if (!(value <= best_)) best_ = value;
        // Measured from the last improvement, so that many small steps add up to one.
        if (!(value - improved_ <= options_.min_delta)) {
            improved_ = value;
            best_generation_ = report.generation;
            waited_ = 0;
        }
    }
    stopped_ = (std::isfinite(value) && value >= options_.target) ||
               (options_.patience > 0 && waited_ >= options_.patience);
    return stopped_;
}

}  // namespace eggroll
