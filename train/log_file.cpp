// SPDX-License-Identifier: MIT
#include "train/log_file.h"

#include <eggroll/error.h>

#include "core/file.h"
#include "core/text.h"
#include "core/trouble.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <fstream>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

namespace eggroll::detail {

namespace {

template <class T>
std::string finite_number(T value) {
    return std::isfinite(value) ? number(value) : std::string();
}

}  // namespace

std::vector<LogField> fields_of(const Report& report, std::span<const Column> columns) {
    std::vector<LogField> fields = {
        {"generation", std::to_string(report.generation)},
        {"mean", finite_number(report.mean)},
        {"best", finite_number(report.best)},
        {"worst", finite_number(report.worst)},
        {"std", finite_number(report.std)},
        {"best_member", std::to_string(report.best_member)},
        {"non_finite", std::to_string(report.non_finite)},
        {"no_result", std::to_string(report.no_result)},
        {"seconds", finite_number(report.seconds)},
    };
    for (const Column& column : columns) {
        fields.push_back({column.name, finite_number(column.value(report))});
    }
    return fields;
}

void require_columns(const char* caller, std::span<const Column> columns) {
    std::vector<std::string> names = {"trouble"};
    for (const LogField& field : fields_of({}, {})) names.emplace_back(field.name);
    const auto fail = [&](const Column& column, const char* reason) {
        throw Error(std::string("[") + caller + "] column " + in_quotes(column.name) + reason);
    };
    for (const Column& column : columns) {
        if (column.name.empty()) fail(column, " has no name");
        if (!column.value) fail(column, " has no value");
        if (std::ranges::find(names, column.name) != names.end()) fail(column, " is there already");
        if (one_line(column.name) != column.name) fail(column, " is not printable text");
        names.push_back(column.name);
    }
}

LogFile::LogFile(LogFile&& other) noexcept
    : caller_(other.caller_),
      path_(std::move(other.path_)),
      format_(std::move(other.format_)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      regular_(other.regular_),
      holder_(other.holder_),
      size_(other.size_),
      damaged_(other.damaged_) {}

void LogFile::open(int64_t generation) {
    close();
    take(O_CREAT, generation);
    if (damaged_ && !cut()) {
        const int error = errno;
        close();
        fail("cannot cut it to the lines that stay: " + message_of(error));
    }
    damaged_ = false;
}

void LogFile::check(int64_t generation) {
    close();
    std::error_code error;
    const std::filesystem::file_status status = std::filesystem::status(path_, error);
    if (status.type() == std::filesystem::file_type::not_found) {
        return require_place(caller_, path_);
    }
    if (std::filesystem::is_directory(status)) fail("cannot open: " + message_of(EISDIR));
    if (!error && !std::filesystem::is_regular_file(status)) return;  // a pipe may have no reader
    take(0, generation);
    close();
}

void LogFile::take(int flags, int64_t generation) {
    descriptor_ = retry([&] {
        return file_calls().open(path_.c_str(), flags | O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY,
                                 0666);
    });
    holder_ = ::getpid();
    if (descriptor_ < 0) fail("cannot open: " + message_of(errno));
    try {
        look(generation);
    } catch (...) {
        close();
        throw;
    }
}

void LogFile::look(int64_t generation) {
    struct stat status = {};
    const auto get = [&] {
        if (::fstat(descriptor_, &status) < 0) fail(message_of(errno));
    };
    get();
    regular_ = S_ISREG(status.st_mode);
    if (regular_) {
        lock();
        get();  // another log may have written until now
    }
    size_ = regular_ && status.st_size > 0 ? kept(generation) : 0;
    damaged_ = regular_ && size_ < static_cast<uint64_t>(status.st_size);
}

void LogFile::lock() const {
    if (file_calls().flock(descriptor_, LOCK_EX | LOCK_NB) == 0) return;
    const int error = errno;
    if (error == EWOULDBLOCK) fail("is in use by another log");
    const bool no_locks = error == ENOLCK || error == EOPNOTSUPP || error == ENOSYS;
    if (!no_locks) fail("cannot be locked: " + message_of(error));
}

int64_t LogFile::generation_of(std::string_view line) const {
    if (!line.starts_with(format_.begin) || !line.ends_with(format_.end)) return -1;
    line.remove_prefix(format_.begin.size());
    int64_t generation = 0;
    const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), generation);
    const bool well = error == std::errc() && end != line.data() + line.size() && *end == ',';
    return well ? generation : -1;
}

uint64_t LogFile::kept(int64_t generation) const {
    std::ifstream file(path_, std::ios::binary);
    if (!file) fail("cannot read what it holds");
    uint64_t end = 0;
    int64_t last = -1;
    bool keep = true;
    int64_t count = 0;
    const auto refuse = [&] {
        fail("line " + std::to_string(count) +
             " is not of a log that this run could add to; give another path, or remove the file");
    };
    for (std::string line; std::getline(file, line); end += keep ? line.size() + 1 : 0) {
        const bool header = ++count == 1 && !format_.header.empty();
        const std::string& begin = header ? format_.header : format_.begin;
        if (file.eof()) {  // a run was killed here, unless all of it is something else
            const size_t n = std::min(line.size(), begin.size());
            if (count == 1 && line.compare(0, n, begin, 0, n) != 0) refuse();
            break;
        }
        if (header) {
            if (line + '\n' != format_.header) refuse();
            continue;
        }
        const int64_t of = generation_of(line);
        if (of <= last) refuse();
        last = of;
        keep = keep && of < generation;
    }
    if (file.bad()) fail("cannot read what it holds");
    return end;
}

void LogFile::append(std::string_view line, Report& report) {
    const auto failed = [&](const std::string& reason) {
        add_trouble(report, std::string("[") + caller_ + "] \"" + path_.string() +
                                "\": the line is missing: " + reason);
    };
    if (descriptor_ < 0) return failed("the file is not open");
    if (damaged_ && !cut()) return failed("cannot take back half a line: " + message_of(errno));
    damaged_ = false;
    const WithoutSignal without(regular_ ? SIGXFSZ : SIGPIPE);
    const std::string text = (size_ == 0 ? format_.header : std::string()) + std::string(line);
    for (size_t done = 0; done < text.size();) {
        const ssize_t written = retry([&] {
            return file_calls().write(descriptor_, text.data() + done, text.size() - done);
        });
        if (written <= 0) {
            const int error = written < 0 ? errno : EIO;
            damaged_ = done > 0 && !cut();
            return failed("cannot write: " + message_of(error));
        }
        done += static_cast<size_t>(written);
    }
    size_ += text.size();
}

bool LogFile::cut() const {
    return !regular_ || ::ftruncate(descriptor_, static_cast<off_t>(size_)) == 0;
}

void LogFile::finish() {
    const bool synced =
        !regular_ || descriptor_ < 0 || retry([&] { return file_calls().fsync(descriptor_); }) == 0;
    const int error = errno;
    close();
    if (!synced) fail("cannot sync: " + message_of(error));
}

void LogFile::close() noexcept {
    if (descriptor_ < 0) return;
    // By closing alone processes that were forked meanwhile would go on holding it.
    // One that was forked may not give up what its parent holds.
    if (regular_ && holder_ == ::getpid()) file_calls().flock(descriptor_, LOCK_UN);
    file_calls().close(std::exchange(descriptor_, -1));
}

void LogFile::fail(const std::string& reason) const {
    throw Error(std::string("[") + caller_ + "] \"" + path_.string() + "\": " + reason);
}

}  // namespace eggroll::detail
