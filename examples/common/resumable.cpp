// SPDX-License-Identifier: MIT

#include "resumable.h"

#include "interrupt.h"
#include "text.h"

#include <eggroll/error.h>

#include <iostream>

namespace examples {

using eggroll::Notes;

namespace {

void warn(const std::string& text) {
    std::cerr << "warning: " << printable(text) << std::endl;
}

}  // namespace

void add_checkpoint_flags(CLI::App& app, CheckpointFlags& flags) {
    app.add_option("--checkpoint", flags.directory,
                   "folder for checkpoints, also of a run ended by Ctrl-C; none: no checkpoints");
    app.add_option("--every", flags.every, "generations between two checkpoints")
        ->check(at_least(1));
    app.add_flag("--resume", flags.resume,
                 "go on from the newest checkpoint of --checkpoint, if there is one")
        ->needs("--checkpoint");
    app.add_flag("--accept-changes", flags.accept_changes,
                 "with --resume: --lr, --sigma and schedules may be others than the checkpoint's")
        ->needs("--resume");
}

Resumable::Resumable(const CheckpointFlags& flags, Notes settings, std::function<Notes()> notes)
    : settings_(std::move(settings)), wanted_(flags.resume), how_{flags.accept_changes} {
    if (flags.directory.empty()) return;
    held_.emplace(flags.directory, eggroll::CheckpointOptions{.every = flags.every});
    saving_.emplace(*held_, [settings = settings_, notes = std::move(notes)] {
        Notes all = settings;
        if (notes) all.merge(notes());
        return all;
    });
    catch_interrupts();
}

std::optional<Notes> Resumable::resume(eggroll::Eggroll& es, int64_t steps) {
    if (!held_ || !wanted_) return {};
    const auto found = held_->resume(es, how_);
    if (!found) {
        warn("no checkpoint in \"" + held_->directory().string() + "\": a new run begins");
        return {};
    }
    for (const std::string& warning : found->warnings) warn(warning);
    for (const auto& [key, value] : settings_) {
        const auto saved = found->notes.find(key);
        if (saved == found->notes.end() || saved->second != value) {
            throw eggroll::Error("--" + key + " was " +
                                 (saved == found->notes.end() ? "not there" : saved->second) +
                                 " in \"" + found->path.string() + "\" but is " + value + " now");
        }
    }
    if (found->generation > steps) {
        throw eggroll::Error("--steps is " + std::to_string(steps) + " but the run in \"" +
                             found->path.string() + "\" has done " +
                             std::to_string(found->generation) + " already");
    }
    return found->notes;
}

void Resumable::check(const eggroll::Eggroll& es) const {
    if (saving_) saving_->check(es);
}

bool Resumable::after(eggroll::Eggroll& es, eggroll::Report& report) {
    if (!saving_) return false;
    if (interrupted()) {
        saving_->end(es);
        throw Interrupted{es.generation()};
    }
    return saving_->after(es, report);
}

void Resumable::end(const eggroll::Eggroll& es) {
    if (saving_) saving_->end(es);
}

}  // namespace examples
