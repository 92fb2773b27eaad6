// SPDX-License-Identifier: MIT
// Whatever one thing fails while a checkpoint is written or read, the run and the checkpoints it
// had are as they were.
#include "tests/errors.h"
#include "tests/reliability/faults.h"
#include "tests/reliability/tiny_run.h"
#include "tests/temp_directory.h"

#include <doctest/doctest.h>

#include <cerrno>
#include <functional>
#include <new>
#include <optional>

#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>

using namespace eggroll;
using namespace eggroll::test;

namespace {

namespace fs = std::filesystem;

/// A directory with checkpoints of generations 1, 2 and 3, and a run that has come to 4.
struct Scene {
    explicit Scene(const TempDirectory& in) : directory(in / "run") {
        const FileFault no_sync(kNever, 0);
        fs::remove_all(directory);
        held.emplace(directory, CheckpointOptions{.every = 1, .keep = 3});
        for (int i = 1; i <= 3; ++i) {
            run.step_to(i);
            held->save(run.es);
        }
        run.step_to(4);
        before = bits(run.model);
    }

    bool has_temporaries() const {
        for (const auto& entry : fs::directory_iterator(directory)) {
            if (entry.path().extension() == ".tmp") return true;
        }
        return false;
    }

    /// The run is as it was; what the directory holds can be resumed and leads where it should.
    /// Returns a sentence on what is wrong.
    std::string complaint(const std::vector<std::string>& expected) {
        const FileFault no_sync(kNever, 0);
        if (bits(run.model) != before || run.es.generation() != 4) return "the run has changed";
        if (has_temporaries()) return "a temporary file is left";
        TinyRun second;
        const auto found = held->resume(second.es);
        if (!found) return "no checkpoint is left";
        if (!found->warnings.empty()) return found->warnings.front();
        const int64_t at = found->generation;
        if (at != 3 && at != 4) return "it is at generation " + std::to_string(at);
        if (bits(second.model) != expected[static_cast<size_t>(at)]) return "other weights";
        second.step_to(6);
        if (bits(second.model) != expected[6]) return "it does not go on as it should";
        held->save(second.es);  // what failed once can be done now
        run.step_to(6);
        return bits(run.model) == expected[6] ? "" : "the run itself goes elsewhere";
    }

    fs::path directory;
    TinyRun run;
    std::optional<Checkpoint> held;
    std::string before;
};

/// Fails the first, the second, ... of what `attempt` needs, until it needs no more; returns how
/// many there were.
template <class Fault, class... Rest>
int64_t each_in_turn(const std::function<void(Scene&)>& attempt, Rest... rest) {
    const TempDirectory directory("reliability-faults");
    const std::vector<std::string> expected = uninterrupted(6);
    for (int64_t number = 0;; ++number) {
        Scene scene(directory);
        bool happened = false;
        std::string call = "memory";
        {
            const Fault fault(number, rest...);
            try {
                attempt(scene);
            } catch (const Error&) {
            } catch (const std::bad_alloc&) {
            }
            happened = Fault::happened();
            if constexpr (std::is_same_v<Fault, FileFault>) call = Fault::call();
        }
        CAPTURE(number);
        CAPTURE(call);
        const std::string complaint = scene.complaint(expected);
        if (!complaint.empty()) FAIL_CHECK(complaint);
        if (!happened) return number;
    }
}

}  // namespace

TEST_CASE("faults: each system call of a save") {
    const ThreadScope one(1);
    for (const int error : {EIO, ENOSPC}) {
        const int64_t calls = each_in_turn<FileFault>(
            [](Scene& scene) {
                scene.held->save(scene.run.es);
                // Not all failures are a save's: an old file that stays, a file that cannot be
                // closed once it is synced.
                const std::string call = FileFault::call();
                if (FileFault::happened() && call != "unlink" && call != "close") {
                    FAIL_CHECK("a failed " << call << " goes unnoticed");
                }
            },
            error);
        // The directory: open; the file: open, write the length, the header and four tensors,
        // fsync, close, rename; the directory: fsync, close; unlink the oldest.
        CHECK(calls == 14);
    }
}

TEST_CASE("faults: a save goes on where a signal interrupted it") {
    const ThreadScope one(1);
    const TempDirectory directory("reliability-eintr");
    for (int64_t number = 0;; ++number) {
        Scene scene(directory);
        const FileFault fault(number, EINTR);
        // rename() and unlink() are not interrupted.
        const std::string said = error_of([&] { scene.held->save(scene.run.es); });
        const std::string call = FileFault::call();
        if (call != "rename") CHECK(said == "");
        if (!FileFault::happened()) break;
    }
}

TEST_CASE("faults: each system call of a save that may fail") {
    const ThreadScope one(1);
    each_in_turn<FileFault>(
        [](Scene& scene) {
            Report report;
            scene.held->save_if_due(scene.run.es, report);
            const bool there = fs::exists(scene.directory / "checkpoint-0000000004.safetensors");
            if (report.trouble.empty() && !there) FAIL_CHECK("no file and no trouble");
        },
        EIO);
}

TEST_CASE("faults: each allocation of a save") {
    const ThreadScope one(1);
    const FileFault no_sync(kNever, 0);
    const int64_t saved = each_in_turn<MemoryFault>([](Scene& scene) {  //
        scene.held->save(scene.run.es);
    });
    CHECK(saved > 50);
    const int64_t may_fail = each_in_turn<MemoryFault>([](Scene& scene) {
        Report report;
        try {
            scene.held->save_if_due(scene.run.es, report);
        } catch (...) {
            FAIL_CHECK("save_if_due throws when memory is short");
        }
        if (MemoryFault::happened() && report.trouble.empty() &&
            !fs::exists(scene.directory / "checkpoint-0000000004.safetensors")) {
            FAIL_CHECK("no file and no trouble");
        }
    });
    CHECK(may_fail > 50);
}

TEST_CASE("faults: each allocation and each system call of a resume") {
    const ThreadScope one(1);
    const FileFault no_sync(kNever, 0);
    const std::vector<std::string> expected = uninterrupted(6);
    const auto attempt = [&](Scene& scene) {
        TinyRun other;
        other.step_to(1);
        std::optional<CheckpointInfo> info;
        try {
            info = scene.held->resume(other.es);
        } catch (const std::exception&) {
            if (bits(other.model) != expected[1] || other.es.generation() != 1) {
                FAIL_CHECK("a failed resume has changed the run");
            }
            throw;
        }
        MemoryFault::end();
        // A file that could not be read was passed over for an older one, and it is told.
        REQUIRE(info);
        CHECK(info->generation == 3 - static_cast<int64_t>(info->warnings.size()));
        CHECK(bits(other.model) == expected[static_cast<size_t>(info->generation)]);
    };
    CHECK(each_in_turn<MemoryFault>(attempt) > 50);
    CHECK(each_in_turn<FileFault>(attempt, EIO) > 5);
}

TEST_CASE("faults: each system call of taking a directory") {
    const ThreadScope one(1);
    const TempDirectory directory("reliability-open");
    for (int64_t number = 0;; ++number) {
        fs::remove_all(directory / "run");
        bool happened = false;
        std::string said;
        {
            const FileFault fault(number, EROFS);
            said = error_of([&] { Checkpoint held(directory / "run"); });
            happened = FileFault::happened();
        }
        if (!said.empty()) {
            const std::string at = "[Checkpoint] \"" + (directory / "run").string() + "\": ";
            const std::string reason = ": Read-only file system";
            const bool told = said == at + "cannot be written to" + reason ||
                              said == at + "cannot be locked" + reason ||
                              said == at + "the directory above could not be synced" + reason;
            CHECK_MESSAGE(told, said);
        }
        const Checkpoint again(directory / "run");  // nobody holds it
        if (!happened) break;
    }
}

// --- Full disks ---------------------------------------------------------------------------------

namespace {

/// A run of ten generations that saves each into `directory` while generations 3 and 4 cannot be
/// written. Returns a sentence on what is wrong.
std::string run_on_a_full_disk(const fs::path& directory, const std::function<void(bool)>& fill,
                               const std::string& reason) {
    TinyRun run;
    const std::vector<std::string> expected = uninterrupted(10);
    Checkpoint held(directory, {.every = 1, .keep = 2});
    for (int i = 1; i <= 10; ++i) {
        if (i == 3) fill(true);
        if (i == 5) fill(false);
        Report report = run.step();
        held.save_if_due(run.es, report);
        const bool full = i == 3 || i == 4;
        if (full != (report.trouble.find(reason) != std::string::npos)) {
            return "generation " + std::to_string(i) + ": trouble \"" + report.trouble + "\"";
        }
        if (full) {
            TinyRun second;
            load_checkpoint(directory / "checkpoint-0000000002.safetensors", second.es);
            second.step_to(10);
            if (bits(second.model) != expected[10]) return "the old one leads elsewhere";
        }
    }
    if (bits(run.model) != expected[10]) return "the run goes elsewhere";
    TinyRun last;
    return held.resume(last.es)->generation == 10 ? "" : "no checkpoint of the last generation";
}

/// In this process alone; false where that is not allowed.
bool mount_small_disk(const fs::path& at) {
    if (::unshare(CLONE_NEWNS) < 0) {
        const std::string user = "0 " + std::to_string(::getuid()) + " 1";
        const std::string group = "0 " + std::to_string(::getgid()) + " 1";
        if (::unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0) return false;
        write_bytes("/proc/self/setgroups", "deny");
        write_bytes("/proc/self/uid_map", user);
        write_bytes("/proc/self/gid_map", group);
    }
    return ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
           ::mount("none", at.c_str(), "tmpfs", 0, "size=64k") == 0;
}

}  // namespace

TEST_CASE("full disk: the report says so and the run goes on") {
    const ThreadScope one(1);
    SUBCASE("files that may not grow") {
        const TempDirectory directory("reliability-limit");
        rlimit before{};
        ::getrlimit(RLIMIT_FSIZE, &before);
        const auto fill = [&](bool full) {
            const rlimit limit{full ? 500 : before.rlim_cur, before.rlim_max};
            ::setrlimit(RLIMIT_FSIZE, &limit);
        };
        CHECK(run_on_a_full_disk(directory / "run", fill, "cannot write: File too large") == "");
    }
    SUBCASE("a file system of 64 KiB") {
        const TempDirectory directory("reliability-tmpfs");
        fs::create_directory(directory / "disk");
        const pid_t child = ::fork();
        REQUIRE(child >= 0);
        if (child == 0) {
            constexpr int kNotHere = 77;
            const fs::path disk = directory / "disk";
            if (!mount_small_disk(disk)) ::_exit(kNotHere);
            const auto fill = [&](bool full) {
                full ? write_bytes(disk / "junk", std::string(1 << 20, 'x'))
                     : void(fs::remove(disk / "junk"));
            };
            int status = 1;
            try {
                const std::string complaint =
                    run_on_a_full_disk(disk / "run", fill, "No space left on device");
                std::fprintf(stderr, "%s\n", complaint.c_str());
                status = complaint.empty() ? 0 : 1;
            } catch (const std::exception& error) {
                std::fprintf(stderr, "%s\n", error.what());
            }
            ::_exit(status);
        }
        int status = 0;
        REQUIRE(::waitpid(child, &status, 0) == child);
        REQUIRE(WIFEXITED(status));
        if (WEXITSTATUS(status) == 77) {
            MESSAGE("no file system may be mounted here");
        } else {
            CHECK(WEXITSTATUS(status) == 0);
        }
    }
}
