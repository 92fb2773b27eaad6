// SPDX-License-Identifier: MIT
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>

#include <signal.h>
#include <sys/types.h>

namespace eggroll::detail {

/// The system calls that files are read and written by; tests put others in their place.
struct FileCalls {
    int (*open)(const char* path, int flags, mode_t mode);
    ssize_t (*pread)(int descriptor, void* to, size_t count, off_t offset);
    ssize_t (*write)(int descriptor, const void* from, size_t count);
    int (*fsync)(int descriptor);
    int (*close)(int descriptor);
    int (*rename)(const char* from, const char* to);
    int (*unlink)(const char* path);
    int (*flock)(int descriptor, int operation);
};
FileCalls& file_calls();

/// Repeats a system call that a signal interrupted.
template <class Call>
auto retry(Call call) {
    auto result = call();
    while (result < 0 && errno == EINTR) result = call();
    return result;
}

/// While it lives, a signal that this thread's own calls raise is not delivered, so that they fail
/// with an errno instead: SIGXFSZ of a write beyond the limit of a file's size, SIGPIPE of one to a
/// pipe that nobody reads. One that was pending before stays so.
class WithoutSignal {
public:
    explicit WithoutSignal(int signal);
    ~WithoutSignal();
    WithoutSignal(const WithoutSignal&) = delete;
    WithoutSignal& operator=(const WithoutSignal&) = delete;

private:
    sigset_t signal_, before_;
    bool was_pending_ = false;
};

/// Throws Error unless a file could be put at `path` as things are.
void require_place(const char* caller, const std::filesystem::path& path);

/// Throws Error `[caller] "path": reason`.
[[noreturn]] void fail_at(const char* caller, const std::filesystem::path& path,
                          const std::string& reason);
/// What an errno means.
std::string message_of(int error);

/// A regular file open for reading. Every failure is an Error `[caller] "path": reason`; anything
/// but a regular file (a directory, a pipe, a device) is refused without waiting on it.
class InputFile {
public:
    InputFile(const char* caller, std::filesystem::path path);
    /// A file that is in memory already and stays there: "memory" in messages.
    InputFile(const char* caller, std::span<const std::byte> memory);
    ~InputFile();
    InputFile(const InputFile&) = delete;
    InputFile& operator=(const InputFile&) = delete;

    /// Bytes it held when it was opened.
    uint64_t size() const { return size_; }
    /// Fills `to` with the bytes from `offset` on; throws when the file ends before.
    void read_at(uint64_t offset, std::span<std::byte> to) const;
    [[noreturn]] void fail(const std::string& reason) const;

private:
    const char* caller_;
    std::filesystem::path path_;
    int descriptor_ = -1;  // -1: memory_ is what it holds
    std::span<const std::byte> memory_;
    uint64_t size_ = 0;
};

/// Appends bytes to the file being written.
using WriteBytes = std::function<void(std::span<const std::byte>)>;

/// How the names of temporary files begin, in the directory of what they will become.
inline constexpr const char* kTemporaryPrefix = ".eggroll-";

/// Writes a file that appears whole or not at all: `content` writes to a temporary file in the same
/// directory, which is synced and renamed over `path`. Its mode is what the umask leaves of 0666; a
/// symbolic link to a file keeps pointing to it, and a file that is replaced leaves its
/// permissions. On any failure the temporary file is removed, what `path` held before is still
/// there, and an Error `[caller] "path": reason` is thrown; an exception of `content` passes
/// through.
void write_file_atomically(const char* caller, const std::filesystem::path& path,
                           const std::function<void(const WriteBytes&)>& content,
                           const char* temporary = kTemporaryPrefix);

/// A directory that is open, so that what is created or renamed in it can be made to survive a
/// power cut.
class OpenDirectory {
public:
    /// Where it may not be read there is nothing to sync by; otherwise `error()` is the errno of
    /// what went wrong.
    explicit OpenDirectory(const std::filesystem::path& directory);
    ~OpenDirectory();
    OpenDirectory(const OpenDirectory&) = delete;
    OpenDirectory& operator=(const OpenDirectory&) = delete;

    int error() const { return error_; }
    /// The errno of an error of the disk, else 0: of a file system that cannot sync directories
    /// too.
    int sync() const;

private:
    int descriptor_ = -1, error_ = 0;
};

}  // namespace eggroll::detail
