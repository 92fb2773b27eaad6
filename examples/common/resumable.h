// SPDX-License-Identifier: MIT
#pragma once

#include "options.h"

#include <eggroll/checkpoint.h>

#include <filesystem>
#include <optional>

namespace examples {

struct CheckpointFlags {
    std::filesystem::path directory;  // empty: no checkpoints
    int64_t every = 100;
    bool resume = false, accept_changes = false;
};

/// Adds --checkpoint --every --resume --accept-changes.
void add_checkpoint_flags(CLI::App& app, CheckpointFlags& flags);

/// A run that can be stopped by Ctrl-C and gone on with, if the flags say so.
class Resumable {
public:
    /// `settings` are options of the program's own that make the run what it is: they are kept in
    /// the checkpoints, and others are refused when it is resumed.
    Resumable(const CheckpointFlags& flags, eggroll::Notes settings);

    /// With --resume: puts `es` where the newest checkpoint is. Returns its notes, if there is one.
    /// Throws eggroll::Error when that is of another run, or beyond `steps` generations.
    std::optional<eggroll::Notes> resume(eggroll::Eggroll& es, int64_t steps);
    /// After a generation: a checkpoint if one is due; `report.trouble` says what went wrong.
    /// Throws Interrupted, after another, when Ctrl-C was pressed.
    void after(const eggroll::Eggroll& es, eggroll::Report& report,
               const eggroll::Notes& notes = {});
    /// After the last generation: a checkpoint of it.
    void finish(const eggroll::Eggroll& es, const eggroll::Notes& notes = {});

private:
    eggroll::Notes with_settings(const eggroll::Notes& notes) const;

    std::optional<eggroll::Checkpoint> held_;
    eggroll::Notes settings_;
    bool wanted_;
    eggroll::ResumeOptions how_;
};

}  // namespace examples
