// SPDX-License-Identifier: MIT
#pragma once

#include "core/file.h"

#include <cstdint>
#include <memory>

// Things that go wrong when a test says so: the system calls of core/file.h, and memory.

namespace eggroll::test {

/// System calls on files fail to the end of the scope: call `number` (from 0) and no other, with
/// errno `error`. A call that fails does nothing, but for close(), which closes, and write(), which
/// may have written half. Nothing is synced meanwhile.
class FileFault {
public:
    FileFault(int64_t number, int error);
    ~FileFault();
    FileFault(const FileFault&) = delete;
    FileFault& operator=(const FileFault&) = delete;

    /// Whether there was a call of that number.
    static bool happened();
    /// What was called: "write".
    static const char* call();

private:
    std::unique_ptr<detail::FileCalls> before_;
};

/// The fault that never happens.
inline constexpr int64_t kNever = -1;

/// No allocation of C++ is granted: number `number` (from 0) and no other.
class MemoryFault {
public:
    explicit MemoryFault(int64_t number);
    ~MemoryFault();
    MemoryFault(const MemoryFault&) = delete;
    MemoryFault& operator=(const MemoryFault&) = delete;

    static bool happened();
    /// From here on all is granted.
    static void end();
};

}  // namespace eggroll::test
