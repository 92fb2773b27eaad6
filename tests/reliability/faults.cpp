// SPDX-License-Identifier: MIT
#include "tests/reliability/faults.h"

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <new>

namespace eggroll::test {

namespace {

// --- System calls -------------------------------------------------------------------------------

const detail::FileCalls real = detail::file_calls();
int64_t calls_left = kNever;  // until the one that fails
int fault_errno = 0;
const char* failed_call = nullptr;

bool fails(const char* call) {
    if (failed_call != nullptr || calls_left < 0 || calls_left-- > 0) return false;
    failed_call = call;
    errno = fault_errno;
    return true;
}

detail::FileCalls faulty() {
    return {.open = [](const char* path, int flags,
                       mode_t mode) { return fails("open") ? -1 : real.open(path, flags, mode); },
            .pread =
                [](int descriptor, void* to, size_t count, off_t offset) {
                    return fails("pread") ? -1 : real.pread(descriptor, to, count, offset);
                },
            .write = [](int descriptor, const void* from, size_t count) -> ssize_t {
                if (!fails("write")) return real.write(descriptor, from, count);
                if (fault_errno != EINTR) (void)real.write(descriptor, from, count / 2);
                errno = fault_errno;
                return -1;
            },
            .fsync = [](int) { return fails("fsync") ? -1 : 0; },
            .close =
                [](int descriptor) {
                    const int result = real.close(descriptor);
                    return fails("close") ? -1 : result;
                },
            .rename = [](const char* from,
                         const char* to) { return fails("rename") ? -1 : real.rename(from, to); },
            .unlink = [](const char* path) { return fails("unlink") ? -1 : real.unlink(path); },
            .flock =
                [](int descriptor, int operation) {
                    return fails("flock") ? -1 : real.flock(descriptor, operation);
                }};
}

// --- Memory -------------------------------------------------------------------------------------

std::atomic<int64_t> allocations_left = kNever;
std::atomic<bool> refused = false;

void* allocate(size_t size, size_t alignment) {
    if (allocations_left.load(std::memory_order_relaxed) >= 0 &&
        allocations_left.fetch_sub(1) == 0) {
        refused = true;
        return nullptr;
    }
    if (size == 0) size = 1;
    if (alignment <= alignof(std::max_align_t)) return std::malloc(size);
    return std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}

void* allocate_or_throw(size_t size, size_t alignment) {
    void* memory = allocate(size, alignment);
    if (memory == nullptr) throw std::bad_alloc();
    return memory;
}

}  // namespace

FileFault::FileFault(int64_t number, int error)
    : before_(std::make_unique<detail::FileCalls>(detail::file_calls())) {
    calls_left = number;
    fault_errno = error;
    failed_call = nullptr;
    detail::file_calls() = faulty();
}

FileFault::~FileFault() {
    detail::file_calls() = *before_;
    calls_left = kNever;
}

bool FileFault::happened() {
    return failed_call != nullptr;
}

const char* FileFault::call() {
    return failed_call != nullptr ? failed_call : "none";
}

MemoryFault::MemoryFault(int64_t number) {
    refused = false;
    allocations_left = number;
}

MemoryFault::~MemoryFault() {
    end();
}

void MemoryFault::end() {
    allocations_left = kNever;
}

bool MemoryFault::happened() {
    return refused;
}

}  // namespace eggroll::test

// All memory of C++ in this program comes from here.

void* operator new(size_t size) {
    return eggroll::test::allocate_or_throw(size, 0);
}
void* operator new[](size_t size) {
    return eggroll::test::allocate_or_throw(size, 0);
}
void* operator new(size_t size, std::align_val_t alignment) {
    return eggroll::test::allocate_or_throw(size, static_cast<size_t>(alignment));
}
void* operator new[](size_t size, std::align_val_t alignment) {
    return eggroll::test::allocate_or_throw(size, static_cast<size_t>(alignment));
}
void* operator new(size_t size, const std::nothrow_t&) noexcept {
    return eggroll::test::allocate(size, 0);
}
void* operator new[](size_t size, const std::nothrow_t&) noexcept {
    return eggroll::test::allocate(size, 0);
}
void* operator new(size_t size, std::align_val_t alignment, const std::nothrow_t&) noexcept {
    return eggroll::test::allocate(size, static_cast<size_t>(alignment));
}
void* operator new[](size_t size, std::align_val_t alignment, const std::nothrow_t&) noexcept {
    return eggroll::test::allocate(size, static_cast<size_t>(alignment));
}
void operator delete(void* memory) noexcept {
    std::free(memory);
}
void operator delete[](void* memory) noexcept {
    std::free(memory);
}
void operator delete(void* memory, size_t) noexcept {
    std::free(memory);
}
void operator delete[](void* memory, size_t) noexcept {
    std::free(memory);
}
void operator delete(void* memory, std::align_val_t) noexcept {
    std::free(memory);
}
void operator delete[](void* memory, std::align_val_t) noexcept {
    std::free(memory);
}
void operator delete(void* memory, size_t, std::align_val_t) noexcept {
    std::free(memory);
}
void operator delete[](void* memory, size_t, std::align_val_t) noexcept {
    std::free(memory);
}
