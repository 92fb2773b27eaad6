// SPDX-License-Identifier: MIT
#pragma once

#include <eggroll/report_value.h>
#include <eggroll/train.h>

#include <filesystem>
#include <memory>
#include <vector>

namespace eggroll {

namespace detail {
class LogFile;
}  // namespace detail

/// A line of JSON for every generation, with the fields of its Report and the columns given:
///
///     {"generation": 0, "mean": -1.25, ..., "seconds": 0.004, "accuracy": 0.5}
///
/// Numbers read back as the same float or double; one that is not finite is null. "trouble" is
/// there when there was some before it was logged.
///
/// A regular file is this log's alone while a run lasts, where its file system has locks; without,
/// it is the caller's to see to. It is written through after every generation. When
/// a run begins, the lines of generations it has still to complete are removed, and a last line
/// that a killed process left unfinished: all of them for a new run, and for one that was resumed
/// those after its checkpoint. What cannot be written is told in `report.trouble`: that line is
/// missing, the others stay whole, and the run goes on.
class EGGROLL_API JsonLines : public Callback {
public:
    /// Opens nothing yet. Throws Error for a column without a name or value, or of a name that is
    /// taken.
    explicit JsonLines(std::filesystem::path path, std::vector<Column> columns = {});
    JsonLines(JsonLines&&) noexcept;
    ~JsonLines() override;

    /// Throws Error, the file untouched, when it cannot be written, another log has it (in this
    /// process or another), or it holds anything but such a log.
    void check(const Eggroll& es) const override;
    bool begin(const Eggroll& es, int64_t until) override;
    bool after(Eggroll& es, Report& report) override;
    /// Throws Error when what was written did not reach the disk; lines that could not be written
    /// were told when it happened.
    void end(const Eggroll& es) override;

private:
    detail::LogFile& file() const;  // throws Error when moved from

    std::vector<Column> columns_;
    std::unique_ptr<detail::LogFile> file_;
};

}  // namespace eggroll
