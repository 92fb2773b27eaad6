// SPDX-License-Identifier: MIT
#pragma once

#include <eggroll/report_value.h>
#include <eggroll/train.h>

#include <limits>

namespace eggroll {

struct EarlyStopOptions {
    ReportValue value = &Report::mean;
    /// Generations in a row without an improvement, of whatever number; 0: any number of them.
    int64_t patience = 0;
    /// An improvement is more than this above the best so far, >= 0.
    double min_delta = 0;
    /// Stops at once when the value is this or more.
    double target = std::numeric_limits<double>::infinity();
};

/// Stops a run that has reached its target, or that no longer gets better. A value that is not
/// finite is no improvement. Each run counts anew, one that was resumed too: what it waited for
/// before is not in a checkpoint.
class EGGROLL_API EarlyStop : public Callback {
public:
    /// Throws Error for an option out of range, and when neither patience nor target is given.
    explicit EarlyStop(EarlyStopOptions options);

    bool begin(const Eggroll& es, int64_t until) override;
    bool after(Eggroll& es, Report& report) override;

    /// Largest value of the run; NaN before there is one.
    double best() const { return best_; }
    /// Of the last improvement; -1 before there is one.
    int64_t best_generation() const { return best_generation_; }
    /// Whether it was this that stopped the last run.
    bool stopped() const { return stopped_; }

private:
    EarlyStopOptions options_;
    double best_ = std::numeric_limits<double>::quiet_NaN(), improved_ = best_;
    int64_t best_generation_ = -1, waited_ = 0;
    bool stopped_ = false;
};

}  // namespace eggroll
