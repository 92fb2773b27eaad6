// SPDX-License-Identifier: MIT
#pragma once

#include <eggroll/report_value.h>
#include <eggroll/train.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace eggroll {

namespace detail {
class LogFile;
struct LogFormat;
}  // namespace detail

/// What JsonLines and CsvLog share: a file with a line for every generation of a run.
///
/// A regular file is this log's alone while a run lasts, where its file system has locks; without,
/// it is the caller's to see to. It is written through after every generation. When a run begins,
/// the lines of generations it has still to complete are removed, and a last line that a killed
/// process left unfinished: all of them for a new run, and for one that was resumed those after its
/// checkpoint. What cannot be written is told in `report.trouble`: that line is missing, the others
/// stay whole, and the run goes on.
class EGGROLL_API GenerationLog : public Callback {
public:
    ~GenerationLog() override;

    /// Throws Error, the file untouched, when it cannot be written, another log has it (in this
    /// process or another), or it holds anything but such a log.
    void check(const Eggroll& es) const override;
    bool begin(const Eggroll& es, int64_t until) override;
    /// Throws Error when what was written did not reach the disk; lines that could not be written
    /// were told when it happened.
    void end(const Eggroll& es) override;

protected:
    /// Opens nothing yet. Throws Error for a column without a name or value, or of a name that is
    /// taken.
    GenerationLog(const char* caller, std::filesystem::path path, std::vector<Column> columns,
                  const detail::LogFormat& format);
    GenerationLog(GenerationLog&&) noexcept;

    const std::vector<Column>& columns() const { return columns_; }
    /// Adds the line of a generation, with its end.
    void append(const std::string& line, Report& report);

private:
    detail::LogFile& file() const;  // throws Error when moved from

    const char* caller_;
    std::vector<Column> columns_;
    std::unique_ptr<detail::LogFile> file_;
};

}  // namespace eggroll
