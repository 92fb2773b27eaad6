// SPDX-License-Identifier: MIT
#include "core/run_directory.h"

#include "core/file.h"
#include "core/text.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

namespace eggroll::detail {

namespace fs = std::filesystem;

namespace {

/// Whether a name is that of a file which a process was writing that is gone: .eggroll-PID-N.tmp.
bool is_of_dead_process(std::string_view name) {
    const std::string_view prefix = kTemporaryPrefix;
    if (!name.starts_with(prefix)) return false;
    name.remove_prefix(prefix.size());
    pid_t pid = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), pid);
    return error == std::errc() && pid > 0 && end != name.data() + name.size() && *end == '-' &&
           ::kill(pid, 0) < 0 && errno == ESRCH;
}

constexpr const char* kCaller = "Checkpoint";
constexpr std::string_view kStem = "checkpoint-", kExtension = ".safetensors";
constexpr size_t kDigits = 10;  // the largest generation has as many

/// The generation a file is named after; -1 if it is no checkpoint.
int64_t generation_of(const std::string& name) {
    if (name.size() != kStem.size() + kDigits + kExtension.size() || !name.starts_with(kStem) ||
        !name.ends_with(kExtension)) {
        return -1;
    }
    const std::string_view digits = std::string_view(name).substr(kStem.size(), kDigits);
    return std::max<int64_t>(-1, number_in<int64_t>(digits).value_or(-1));
}

/// Names of what a directory holds. (std::filesystem's iterator ends the program when memory is
/// short.)
std::vector<std::string> names_in(const fs::path& directory) {
    const std::unique_ptr<DIR, int (*)(DIR*)> open(::opendir(directory.c_str()), ::closedir);
    if (!open) fail_at(kCaller, directory, "cannot be read: " + message_of(errno));
    std::vector<std::string> names;
    errno = 0;
    while (const dirent* entry = ::readdir(open.get())) {
        names.emplace_back(entry->d_name);
        errno = 0;
    }
    if (errno != 0) fail_at(kCaller, directory, "cannot be read: " + message_of(errno));
    return names;
}

/// The process that wrote its number into the lock file.
std::string holder(int descriptor) {
    char text[24] = {};
    const ssize_t got = ::pread(descriptor, text, sizeof text - 1, 0);
    const std::string_view digits(text, got > 0 ? static_cast<size_t>(got) : 0);
    const size_t end = digits.find('\n');
    return end == std::string_view::npos || end == 0
               ? "another process"
               : "process " + std::string(digits.substr(0, end));
}

}  // namespace

RunDirectory::RunDirectory(const fs::path& directory) {
    std::error_code error;
    path_ = fs::absolute(directory, error).lexically_normal();
    if (directory.empty() || error) {
        fail_at(kCaller, directory, directory.empty() ? "names no directory" : error.message());
    }
    if (!path_.has_filename()) path_ = path_.parent_path();  // "runs/a/"
    make();
    lock();
    try {
        sweep();
        if (const std::vector<int64_t> found = generations(); !found.empty()) {
            unclaimed = found.front();
        }
    } catch (...) {
        file_calls().close(lock_);
        throw;
    }
}

RunDirectory::~RunDirectory() {
    file_calls().close(lock_);  // and the lock is gone
}

void RunDirectory::make() const {
    std::error_code error;
    // From the top down, so that each survives a power cut.
    fs::path at;
    for (const fs::path& part : path_) {
        const fs::path above = at;
        at /= part;
        if (fs::create_directory(at, error)) {
            if (const int failed = OpenDirectory(above).sync(); failed != 0) {
                fail_at(kCaller, path_,
                        "the directory above could not be synced: " + message_of(failed));
            }
        }
        if (std::error_code ignored; error && !fs::is_directory(at, ignored)) {
            fail_at(kCaller, at,
                    error == std::errc::file_exists ? "is not a directory"
                                                    : "cannot be created: " + error.message());
        }
    }
}

void RunDirectory::lock() {
    const fs::path name = lock_name();
    lock_ = file_calls().open(name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (lock_ < 0) fail_at(kCaller, path_, "cannot be written to: " + message_of(errno));
    std::string refusal;
    if (file_calls().flock(lock_, LOCK_EX | LOCK_NB) < 0) {
        const int error = errno;
        refusal = error == EWOULDBLOCK ? "is in use by " + holder(lock_)
                                       : "cannot be locked: " + message_of(error);
    } else {
        // Only for the message above: what it says does not decide who holds it.
        const std::string number = std::to_string(::getpid()) + "\n";
        if (::ftruncate(lock_, 0) < 0 || ::pwrite(lock_, number.data(), number.size(), 0) < 0) {
            refusal = "cannot be written to: " + message_of(errno);
        }
    }
    if (refusal.empty()) return;
    file_calls().close(lock_);
    fail_at(kCaller, path_, refusal);
}

void RunDirectory::require_lock() const {
    struct stat held = {}, there = {};
    const bool seen = ::fstat(lock_, &held) == 0 && ::stat(lock_name().c_str(), &there) == 0;
    if (!seen && errno != ENOENT) {
        fail_at(kCaller, path_, "its file \"lock\" cannot be looked at: " + message_of(errno));
    }
    if (!seen || held.st_ino != there.st_ino || held.st_dev != there.st_dev) {
        fail_at(kCaller, path_,
                "its file \"lock\" was removed or replaced, so another process may use it");
    }
}

void RunDirectory::claim(const std::shared_ptr<const void>& strategy, int64_t generation) noexcept {
    unclaimed.reset();
    owner = strategy;
    saved = generation;
}

void RunDirectory::sweep() const {
    for (const std::string& name : names_in(path_)) {
        // Checkpoints half written are nobody's now; others may be of a process that still lives.
        const bool own = name.starts_with(kCheckpointPrefix);
        if ((own || is_of_dead_process(name)) && name.ends_with(".tmp")) {
            file_calls().unlink((path_ / name).c_str());
        }
    }
}

fs::path RunDirectory::lock_name() const {
    return path_ / "lock";
}

fs::path RunDirectory::checkpoint(int64_t generation) const {
    std::string digits = std::to_string(generation);
    digits.insert(0, kDigits - std::min(kDigits, digits.size()), '0');
    return path_ / (std::string(kStem) + digits + std::string(kExtension));
}

std::vector<int64_t> RunDirectory::generations() const {
    std::vector<int64_t> found;
    for (const std::string& name : names_in(path_)) {
        const int64_t generation = generation_of(name);
        if (generation >= 0) found.push_back(generation);
    }
    std::sort(found.begin(), found.end(), std::greater<>());
    return found;
}

void RunDirectory::remove_old(int64_t newest, int keep) const {
    for (const int64_t generation : generations()) {
        if (generation <= newest && keep-- <= 0) {
            file_calls().unlink(checkpoint(generation).c_str());
        }
    }
}

}  // namespace eggroll::detail
