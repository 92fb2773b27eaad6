// SPDX-License-Identifier: MIT
#pragma once

#include <eggroll/report_value.h>

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <sys/types.h>

// What the logs that have a line for every generation share: their values, and a file that is
// appended to and stays whole.

namespace eggroll::detail {

/// One value of a line; its text is empty for a number that is not finite.
struct LogField {
    std::string_view name;
    std::string text;
};

/// The values of a report but for its trouble, floats and doubles as the shortest text that reads
/// back as the same number, then those of the columns.
std::vector<LogField> fields_of(const Report& report, std::span<const Column> columns);

/// Throws Error for a column without a value or a name, and for a name that is taken.
void require_columns(const char* caller, std::span<const Column> columns);

/// How a log's lines look.
struct LogFormat {
    std::string header;  // the first line, with its end; may be empty
    std::string begin;   // of every other line, before its generation and a comma; may be empty
    std::string end;     // of every other line; may be empty
};

/// A file of lines, one a generation. What is no regular file, such as a pipe or a terminal, is
/// only written to.
class LogFile {
public:
    LogFile(const char* caller, std::filesystem::path path, LogFormat format)
        : caller_(caller), path_(std::move(path)), format_(std::move(format)) {}
    ~LogFile() { close(); }
    LogFile(LogFile&& other) noexcept;
    LogFile& operator=(LogFile&&) = delete;

    /// Opens or makes the file, takes it until it is closed, and cuts off the lines of generations
    /// from `generation` on, and a last line that is not whole. Throws Error, nothing changed, when
    /// it cannot be written, another log has it, or it holds anything but such a log.
    void open(int64_t generation);
    /// Throws Error where `open` would as things are, and changes nothing; a pipe or device is not
    /// looked at.
    void check(int64_t generation);
    /// Adds a line, with its end, whole or not at all. What went wrong is added to the report.
    void append(std::string_view line, Report& report);
    /// Closes the file. Throws Error when what was written did not reach the disk.
    void finish();
    void close() noexcept;

private:
    /// Opens the file, takes it and finds what stays of it.
    void take(int flags, int64_t generation);
    /// Locks the file that is open and finds what stays of it.
    void look(int64_t generation);
    /// Where the file system has locks.
    void lock() const;
    /// The generation a line is of; -1: it is no line of such a log.
    int64_t generation_of(std::string_view line) const;
    /// Bytes to keep of what the file holds.
    uint64_t kept(int64_t generation) const;
    bool cut() const;
    [[noreturn]] void fail(const std::string& reason) const;

    const char* caller_;
    std::filesystem::path path_;
    LogFormat format_;
    int descriptor_ = -1;
    bool regular_ = false;
    pid_t holder_ = 0;      // the process that took it
    uint64_t size_ = 0;     // of the lines that are whole
    bool damaged_ = false;  // there is a part of a line behind them
};

}  // namespace eggroll::detail
