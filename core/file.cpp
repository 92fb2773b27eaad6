// SPDX-License-Identifier: MIT
#include "core/file.h"

#include <eggroll/error.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

namespace eggroll::detail {

namespace fs = std::filesystem;

std::string message_of(int error) {
    return std::generic_category().message(error);
}

void fail_at(const char* caller, const fs::path& path, const std::string& reason) {
    throw Error(std::string("[") + caller + "] \"" + path.string() + "\": " + reason);
}

FileCalls& file_calls() {
    static FileCalls calls{
        .open = [](const char* path, int flags, mode_t mode) { return ::open(path, flags, mode); },
        .pread = ::pread,
        .write = ::write,
        .fsync = ::fsync,
        .close = ::close,
        .rename = ::rename,
        .unlink = ::unlink,
        .flock = ::flock};
    return calls;
}

namespace {

/// The file a save to `path` must replace: where symbolic links lead. Devices and pipes are
/// refused, because renaming over them would destroy them.
fs::path resolve_target(const char* caller, const fs::path& path) {
    if (path.empty()) fail_at(caller, path, "names no file");
    std::error_code error;
    const fs::file_status status = fs::status(path, error);
    switch (status.type()) {
        case fs::file_type::not_found:
            return path;
        case fs::file_type::regular: {
            fs::path target = fs::canonical(path, error);
            if (error) fail_at(caller, path, error.message());
            // rename() would not mind that the file is read-only; whoever made it so does.
            if (::access(target.c_str(), W_OK) < 0) {
                fail_at(caller, path, "cannot write: " + message_of(errno));
            }
            return target;
        }
        case fs::file_type::directory:
            fail_at(caller, path, "is a directory");
        case fs::file_type::none:
            fail_at(caller, path, error.message());
        default:
            fail_at(caller, path, "is not a regular file");
    }
}

fs::path directory_of(const fs::path& path) {
    return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

/// A file beside its target, removed again unless it took the target's place.
class TemporaryFile {
public:
    TemporaryFile(const char* caller, const fs::path& path, const char* prefix)
        : caller_(caller),
          path_(path),
          target_(resolve_target(caller, path)),
          directory_(directory_of(target_)) {
        static std::atomic<uint64_t> count{0};
        // Before anything is replaced: what cannot be synced would not survive.
        if (directory_.error() != 0)
            fail("cannot create a file in its directory", directory_.error());
        do {
            name_ = directory_of(target_) /
                    (prefix + std::to_string(::getpid()) + "-" + std::to_string(count++) + ".tmp");
            descriptor_ = retry([&] {
                return file_calls().open(name_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
                                         0666);
            });
        } while (descriptor_ < 0 && errno == EEXIST);
        if (descriptor_ < 0) fail("cannot create a file in its directory", errno);
    }

    ~TemporaryFile() {
        if (descriptor_ >= 0) file_calls().close(descriptor_);
        if (!renamed_) file_calls().unlink(name_.c_str());
    }

    TemporaryFile(const TemporaryFile&) = delete;
    TemporaryFile& operator=(const TemporaryFile&) = delete;

    /// Who may read a file may read what takes its place, and nobody else.
    void keep_mode() {
        struct stat old = {};
        if (::stat(target_.c_str(), &old) < 0) return;  // it is new
        if (::fchmod(descriptor_, old.st_mode & 07777) < 0) {
            fail("cannot keep its permissions", errno);
        }
    }

    void write(std::span<const std::byte> bytes) {
        const WithoutSignal without(SIGXFSZ);
        while (!bytes.empty()) {
            const ssize_t written =
                retry([&] { return file_calls().write(descriptor_, bytes.data(), bytes.size()); });
            if (written <= 0) fail("cannot write", written < 0 ? errno : EIO);
            bytes = bytes.subspan(static_cast<size_t>(written));
        }
    }

    void take_place() {
        if (retry([&] { return file_calls().fsync(descriptor_); }) < 0) fail("cannot sync", errno);
        // Some file systems report a full disk or quota only here. After EINTR it is closed.
        if (file_calls().close(std::exchange(descriptor_, -1)) < 0 && errno != EINTR) {
            fail("cannot close", errno);
        }
        if (file_calls().rename(name_.c_str(), target_.c_str()) < 0)
            fail("cannot rename into place", errno);
        renamed_ = true;
        if (const int error = directory_.sync(); error != 0) {
            fail("was written, but its directory could not be synced", error);
        }
    }

private:
    [[noreturn]] void fail(const char* what, int error) const {
        fail_at(caller_, path_, std::string(what) + ": " + message_of(error));
    }

    const char* caller_;
    fs::path path_, target_, name_;
    OpenDirectory directory_;
    int descriptor_ = -1;
    bool renamed_ = false;
};

}  // namespace

WithoutSignal::WithoutSignal(int signal) {
    ::sigemptyset(&signal_);
    ::sigaddset(&signal_, signal);
    ::pthread_sigmask(SIG_BLOCK, &signal_, &before_);
    sigset_t pending;
    ::sigpending(&pending);
    was_pending_ = ::sigismember(&pending, signal) == 1;
}

WithoutSignal::~WithoutSignal() {
    const int error = errno;
    constexpr timespec kNow = {};
    if (!was_pending_) {
        while (::sigtimedwait(&signal_, nullptr, &kNow) < 0 && errno == EINTR) continue;
    }
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
    errno = error;
}

void require_place(const char* caller, const fs::path& path) {
    const fs::path directory = directory_of(resolve_target(caller, path));
    if (::access(directory.c_str(), W_OK | X_OK) < 0) {
        fail_at(caller, path, "cannot create a file in its directory: " + message_of(errno));
    }
}

OpenDirectory::OpenDirectory(const fs::path& directory)
    : descriptor_(retry([&] {
          return file_calls().open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
      })) {
    if (descriptor_ < 0 && errno != EACCES && errno != EPERM) error_ = errno;
}

OpenDirectory::~OpenDirectory() {
    if (descriptor_ >= 0) file_calls().close(descriptor_);
}

int OpenDirectory::sync() const {
    if (descriptor_ < 0) return error_;
    if (retry([&] { return file_calls().fsync(descriptor_); }) == 0) return 0;
    return errno == EIO || errno == ENOSPC || errno == EDQUOT ? errno : 0;
}

InputFile::InputFile(const char* caller, fs::path path) : caller_(caller), path_(std::move(path)) {
    // O_NONBLOCK: opening a pipe nobody writes to would wait for ever.
    descriptor_ = retry([&] {
        return file_calls().open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0);
    });
    if (descriptor_ < 0) fail("cannot open: " + message_of(errno));
    struct stat status = {};
    std::string refusal;
    if (::fstat(descriptor_, &status) < 0) {
        refusal = message_of(errno);
    } else if (S_ISDIR(status.st_mode)) {
        refusal = "is a directory";
    } else if (!S_ISREG(status.st_mode)) {
        refusal = "is not a regular file";
    }
    if (!refusal.empty()) {
        file_calls().close(descriptor_);
        fail(refusal);
    }
    size_ = static_cast<uint64_t>(status.st_size);
}

InputFile::InputFile(const char* caller, std::span<const std::byte> memory)
    : caller_(caller), path_("memory"), memory_(memory), size_(memory.size()) {}

InputFile::~InputFile() {
    if (descriptor_ >= 0) file_calls().close(descriptor_);
}

void InputFile::read_at(uint64_t offset, std::span<std::byte> to) const {
    if (descriptor_ < 0) {
        if (offset > size_ || to.size() > size_ - offset) {
            fail("ends at byte " + std::to_string(size_) + " while being read");
        }
        const auto from = memory_.subspan(static_cast<size_t>(offset), to.size());
        std::copy(from.begin(), from.end(), to.begin());
        return;
    }
    while (!to.empty()) {
        const ssize_t got = retry([&] {
            return file_calls().pread(descriptor_, to.data(), to.size(),
                                      static_cast<off_t>(offset));
        });
        if (got < 0) fail("cannot read: " + message_of(errno));
        if (got == 0) fail("ends at byte " + std::to_string(offset) + " while being read");
        to = to.subspan(static_cast<size_t>(got));
        offset += static_cast<uint64_t>(got);
    }
}

void InputFile::fail(const std::string& reason) const {
    fail_at(caller_, path_, reason);
}

void write_file_atomically(const char* caller, const fs::path& path,
                           const std::function<void(const WriteBytes&)>& content,
                           const char* temporary) {
    TemporaryFile file(caller, path, temporary);
    file.keep_mode();
    content([&file](std::span<const std::byte> bytes) { file.write(bytes); });
    file.take_place();
}

}  // namespace eggroll::detail
