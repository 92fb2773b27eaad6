// SPDX-License-Identifier: MIT
#pragma once

#include "options.h"

#include <eggroll/save_checkpoint.h>

#include <filesystem>
#include <functional>
#include <optional>

namespace examples {

struct CheckpointFlags {
    std::filesystem::path directory;  // empty: no checkpoints
    int64_t every = 100;
    bool resume = false, accept_changes = false;
};

/// Adds --checkpoint --every --resume --accept-changes.
void add_checkpoint_flags(CLI::App& app, CheckpointFlags& flags);

/// A run that can be stopped by Ctrl-C and gone on with, if the flags say so; a callback of train.
class Resumable : public eggroll::Callback {
public:
    /// `settings` are options of the program's own that make the run what it is: they are kept in
    /// the checkpoints, and others are refused when it is resumed. `notes` is asked for what else
    /// goes into each.
    Resumable(const CheckpointFlags& flags, eggroll::Notes settings,
              std::function<eggroll::Notes()> notes = {});
    Resumable(const Resumable&) = delete;
    Resumable& operator=(const Resumable&) = delete;

    /// With --resume: puts `es` where the newest checkpoint is. Returns its notes, if there is one.
    /// Throws eggroll::Error when that is of another run, or beyond `steps` generations.
    std::optional<eggroll::Notes> resume(eggroll::Eggroll& es, int64_t steps);

    Stage stage() const override { return Stage::save; }
    void check(const eggroll::Eggroll& es) const override;
    /// Throws Interrupted, after a checkpoint, when Ctrl-C was pressed.
    bool after(eggroll::Eggroll& es, eggroll::Report& report) override;
    void end(const eggroll::Eggroll& es) override;

private:
    std::optional<eggroll::Checkpoint> held_;
    std::optional<eggroll::SaveCheckpoint> saving_;
    eggroll::Notes settings_;
    bool wanted_;
    eggroll::ResumeOptions how_;
};

}  // namespace examples
