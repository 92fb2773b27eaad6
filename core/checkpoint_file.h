// SPDX-License-Identifier: MIT
#pragma once

#include "core/named_tensors.h"
#include "core/strategy.h"

#include <eggroll/checkpoint.h>

namespace eggroll::detail {

/// The strategy inside.
struct CheckpointAccess {
    static Strategy& strategy(const Eggroll& es) { return es.strategy(); }
};

/// A checkpoint that is whole; it may still be of another run.
class CheckpointFile {
public:
    /// Throws Error when the file is missing, damaged or no checkpoint.
    CheckpointFile(const char* caller, const std::filesystem::path& path);
    /// Of a file that is in memory, and stays there.
    CheckpointFile(const char* caller, std::span<const std::byte> memory);

    const CheckpointInfo& info() const { return info_; }
    /// Puts the strategy, which has no generation open, where the run was, and returns what there
    /// is to say of it, after these warnings. Throws Error, and has changed nothing, when the run
    /// was another.
    CheckpointInfo restore(Strategy& strategy, ResumeOptions how,
                           std::vector<std::string> warnings = {}) const;
    /// Throws Error when it is written in another format than this library reads.
    void require_format() const;

private:
    void read_info();
    void require_same(const Strategy& strategy, ResumeOptions how) const;

    TensorFile file_;
    CheckpointInfo info_;
    std::string format_;
};

/// Of a strategy that has no generation open and has waited.
void write_checkpoint(const char* caller, const std::filesystem::path& path,
                      const Strategy& strategy, const Notes& notes, const char* temporary);

}  // namespace eggroll::detail
