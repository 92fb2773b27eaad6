// SPDX-License-Identifier: MIT
#pragma once

#include <eggroll/strategy.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

// Runs that survive: all that a strategy is, in a file, so that going on from it gives the bits of
// never having stopped, for any number of threads.

namespace eggroll {

namespace detail {
class RunDirectory;
}  // namespace detail

/// Text of the caller's own that a checkpoint carries.
using Notes = std::map<std::string, std::string>;

/// What a checkpoint says of the run it was made of.
struct CheckpointInfo {
    std::filesystem::path path;
    std::string library;      // the version that wrote it, "0.1.0"
    std::string device;       // what computed: "cpu avx512", "cuda:0"
    int64_t generation = 0;   // completed
    int64_t updates = 0;      // of them those that changed the parameters
    float lr = 0, sigma = 0;  // the base values that schedules multiply
    /// What makes the run this one and no other: "seed", "pop_size", "optimizer", ...
    std::map<std::string, std::string> run;
    Notes notes;
    /// What went otherwise than it should without being a reason to stop: newer checkpoints that
    /// are damaged, another version of the library, another kind of device or instruction set.
    std::vector<std::string> warnings;
};

struct ResumeOptions {
    /// lr, sigma, their schedules and the precision may be others than the checkpoint's: those of
    /// the strategy are kept. Otherwise a difference is an Error, and lr and sigma become those
    /// that were last set before the checkpoint.
    bool accept_changes = false;
};

/// Writes all that `es` is to one safetensors file: tensors "parameters/NAME" and
/// "optimizer/I/NAME", the rest as its metadata, with a checksum over everything. Waits for what
/// was enqueued. A generation that is open is not in it: who goes on asks for it anew. The file
/// appears whole or not at all. Throws Error naming the file and the reason when it cannot be
/// written.
EGGROLL_API void save_checkpoint(const std::filesystem::path& path, const Eggroll& es,
                                 const Notes& notes = {});

/// Puts `es` where the run was. Throws Error, and has changed nothing, when the file is missing or
/// damaged, while a generation is open, and, naming what differs and both values, when the run was
/// another: names, shapes or noise of the parameters, which of them are trained, seed, population,
/// antithetic, rank, noise, shaping, optimizer; see also ResumeOptions.
EGGROLL_API CheckpointInfo load_checkpoint(const std::filesystem::path& path, Eggroll& es,
                                           ResumeOptions how = {});

/// What a checkpoint holds beside its tensors; throws Error when it is damaged or none.
EGGROLL_API CheckpointInfo read_checkpoint_info(const std::filesystem::path& path);

struct CheckpointOptions {
    int64_t every = 100;  // generations between two that save_if_due writes, >= 1
    int keep = 3;         // checkpoints that stay, >= 1
};

/// The directory of a run, held by one process: checkpoints of it, the last few of which are kept.
/// What a run draws itself, such as mini-batches, is in no checkpoint: drawn from `es.generation()`
/// it is the same after a resume, and the state of a generator can go into the notes.
///
///     Checkpoint run("runs/a", {.every = 100});
///     run.resume(es);
///     while (es.generation() < 10000) {
///         Report report = es.step(x, fitness);
///         run.save_if_due(es, report);
///     }
class EGGROLL_API Checkpoint {
public:
    /// Makes the directory if there is none, takes it until the end of this object (and of
    /// processes forked meanwhile that execute no other program), and removes what a killed process
    /// left half written. Throws Error when another one has it (naming the process), when it cannot
    /// be written to, or naming the option.
    explicit Checkpoint(const std::filesystem::path& directory, CheckpointOptions options = {});
    ~Checkpoint();
    Checkpoint(Checkpoint&&) noexcept;
    Checkpoint& operator=(Checkpoint&&) noexcept;

    /// Puts `es` where the newest checkpoint is that can be read, as load_checkpoint does; nothing
    /// when there is none. Newer ones that are damaged are passed over, and the warnings say so; if
    /// all are, it throws Error.
    std::optional<CheckpointInfo> resume(Eggroll& es, ResumeOptions how = {});

    /// Writes a checkpoint of this generation and removes those that are too many. Throws Error as
    /// save_checkpoint does, and when the directory holds a run that was not resumed, or `es` is
    /// not the one that last resumed here, or else first saved.
    void save(const Eggroll& es, const Notes& notes = {});
    /// The same if the number of generations completed is a multiple of `every`, but when the file
    /// cannot be written `report.trouble` says why, and the run may go on: older checkpoints are
    /// still there.
    void save_if_due(const Eggroll& es, Report& report, const Notes& notes = {});
    bool is_due(const Eggroll& es) const;
    /// Generations of the checkpoint that was saved or resumed last; -1 before there is one.
    int64_t saved() const;
    /// Throws Error when `save` would refuse `es`, and when the directory is no longer this
    /// process's: its lock was removed.
    void check(const Eggroll& es) const;

    /// Absolute.
    const std::filesystem::path& directory() const;
    const CheckpointOptions& options() const;

private:
    detail::RunDirectory& held() const;  // throws Error when moved from

    std::unique_ptr<detail::RunDirectory> held_;
    CheckpointOptions options_;
};

}  // namespace eggroll
