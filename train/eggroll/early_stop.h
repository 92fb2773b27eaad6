// SPDX-License-Identifier: MIT
#pragma once

#include <eggroll/checkpoint.h>
#include <eggroll/report_value.h>
#include <eggroll/train.h>

#include <limits>
#include <string>

namespace eggroll {

struct EarlyStopOptions {
    ReportValue value = &Report::mean;
    /// Generations in a row without an improvement, of whatever number; 0: any number of them.
    int64_t patience = 0;
    /// An improvement is more than this above the best so far, >= 0.
    double min_delta = 0;
    /// Stops at once when the value is this or more.
    double target = std::numeric_limits<double>::infinity();
    /// How its notes begin, not empty: several in one run have names of their own.
    std::string name = "early_stop";
};

/// Stops a run that has reached its target, or that no longer gets better. A value that is not
/// finite is no improvement. Each run counts anew, unless `resume` tells it what to go on from:
/// then it stops where a run without a break would have.
///
///     EarlyStop early({.patience = 50});
///     if (auto info = run.resume(es)) early.resume(info->notes);
///     train(es, 1000, step, {early, SaveCheckpoint(run, [&] { return early.notes(); })});
class EGGROLL_API EarlyStop : public Callback {
public:
    /// Throws Error for an option out of range, and when neither patience nor target is given.
    explicit EarlyStop(EarlyStopOptions options);

    /// True for a run that was resumed when it had stopped.
    bool begin(const Eggroll& es, int64_t until) override;
    bool after(Eggroll& es, Report& report) override;

    /// What it has seen so far, for a checkpoint: "early_stop.best" and the like.
    Notes notes() const;
    /// The next run goes on from these notes, with the options as they are now: one that had
    /// stopped goes on for more patience or a higher target. Without notes of this name it is as
    /// new. Throws Error, and has changed nothing, for those that are damaged.
    void resume(const Notes& notes);

    /// Largest value of the run; NaN before there is one.
    double best() const { return seen_.best; }
    /// Of the last improvement; -1 before there is one.
    int64_t best_generation() const { return seen_.best_generation; }
    /// Whether it was this that stopped the last run.
    bool stopped() const;

private:
    struct Seen {
        double best = std::numeric_limits<double>::quiet_NaN();
        double improved = best;  // the value of best_generation
        int64_t best_generation = -1;
        int64_t waited = 0;  // generations since
    };

    EarlyStopOptions options_;
    Seen seen_;
    bool resumed_ = false;  // and no generation has been since
};

}  // namespace eggroll
