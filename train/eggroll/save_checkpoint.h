// SPDX-License-Identifier: MIT
#pragma once

#include <eggroll/checkpoint.h>
#include <eggroll/train.h>

#include <functional>

namespace eggroll {

/// Saves a run into its directory: whenever a checkpoint is due, after all callbacks that see the
/// generation, and its last generation, due or not, however the run ends. A checkpoint that cannot
/// be written is told in `report.trouble` and the run goes on; the last one, if it cannot be
/// written either, is an Error at the end. Logs have seen the generation before it is saved, so
/// that trouble of saving is not in them: ProgressBar tells it, as any callback of Stage::show can.
///
///     Checkpoint run("runs/a", {.every = 100});
///     run.resume(es);
///     train(es, 10000, step, {JsonLines("runs/a/log.jsonl"), SaveCheckpoint(run)});
class EGGROLL_API SaveCheckpoint : public Callback {
public:
    /// `run` must outlive this. `notes` is asked for the text that goes with each checkpoint.
    explicit SaveCheckpoint(Checkpoint& run, std::function<Notes()> notes = {});

    Stage stage() const override { return Stage::save; }
    /// Throws Error, before any log or file is touched, when the directory holds another run, or
    /// this one and it was not resumed.
    void check(const Eggroll& es) const override;
    bool after(Eggroll& es, Report& report) override;
    void end(const Eggroll& es) override;

private:
    Notes notes() const;

    Checkpoint* run_;
    std::function<Notes()> notes_;
};

}  // namespace eggroll
