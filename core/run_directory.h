// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <vector>

namespace eggroll::detail {

/// How the temporary files of checkpoints begin: whoever holds the directory knows that those it
/// finds were left by a process that was killed.
inline constexpr const char* kCheckpointPrefix = ".checkpoint-";

/// A directory of checkpoints that one process holds.
class RunDirectory {
public:
    /// Creates it if need be, locks it and sweeps it.
    explicit RunDirectory(const std::filesystem::path& directory);
    ~RunDirectory();
    RunDirectory(const RunDirectory&) = delete;
    RunDirectory& operator=(const RunDirectory&) = delete;

    const std::filesystem::path& path() const { return path_; }
    std::filesystem::path checkpoint(int64_t generation) const;
    /// Of the checkpoints there are, the newest first.
    std::vector<int64_t> generations() const;
    /// Throws Error when the lock that is held is no longer the directory's.
    void require_lock() const;
    /// Removes all but the newest `keep` of those up to `newest`. One that cannot be removed now is
    /// tried again the next time.
    void remove_old(int64_t newest, int keep) const;

    /// It holds the run of this strategy (Strategy::identity), which is at this checkpoint.
    void claim(const std::shared_ptr<const void>& strategy, int64_t generation) noexcept;

    /// Generations of the run it holds that nobody resumed; empty: there is none.
    std::optional<int64_t> unclaimed;
    /// Strategy::identity of the one whose run it is; null before there is one.
    std::shared_ptr<const void> owner;
    /// Generations of the checkpoint that its owner saved or resumed last; -1 before there is one.
    int64_t saved = -1;

private:
    std::filesystem::path lock_name() const;
    void make() const;
    void lock();
    void sweep() const;

    std::filesystem::path path_;
    int lock_ = -1;
};

}  // namespace eggroll::detail
