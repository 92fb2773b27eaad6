// SPDX-License-Identifier: MIT
#include "cpu/memory.h"

#include <eggroll/error.h>

#include <algorithm>
#include <new>
#include <string>
#include <vector>

namespace eggroll::cpu {

namespace {

using detail::class_of;
using detail::SizeClass;

constexpr std::align_val_t kAlignment{detail::kMemoryAlignment};
/// What a thread keeps for later, and no more than about what it had in use at a time: who only
/// releases what others made keeps nothing. The rest goes back to the system.
constexpr size_t kKeptBytes = size_t{64} << 20;
class Pool {
public:
    ~Pool();

    void* take(const SizeClass& size) {
        in_use_ += size.bytes;
        most_in_use_ = std::max(most_in_use_, in_use_);
        if (size.index >= free_.size() || free_[size.index].empty()) return nullptr;
        void* memory = free_[size.index].back();
        free_[size.index].pop_back();
        kept_ -= size.bytes;
        return memory;
    }

    bool keep(void* memory, const SizeClass& size) {
        in_use_ -= std::min(in_use_, size.bytes);  // it may have been another thread's
        if (kept_ + size.bytes > std::min(kKeptBytes, most_in_use_)) return false;
        try {
            if (size.index >= free_.size()) free_.resize(size.index + 1);
            free_[size.index].push_back(memory);
        } catch (const std::bad_alloc&) {
            return false;
        }
        kept_ += size.bytes;
        return true;
    }

private:
    std::vector<std::vector<void*>> free_;
    size_t kept_ = 0;
    size_t in_use_ = 0, most_in_use_ = 0;
};

/// Set when a thread's pool is gone: tensors that outlive it go straight back to the system.
thread_local bool pool_ended = false;
thread_local Pool pool;

Pool::~Pool() {
    pool_ended = true;
    for (const auto& blocks : free_) {
        for (void* memory : blocks) operator delete(memory, kAlignment);
    }
}

}  // namespace

void* allocate(size_t bytes) {
    const SizeClass size = class_of(bytes);
    if (!pool_ended) {
        if (void* memory = pool.take(size)) return memory;
    }
    void* memory = operator new(size.bytes, kAlignment, std::nothrow);
    if (memory == nullptr) {
        throw Error("[allocate] out of memory: " + std::to_string(bytes) + " bytes were asked for");
    }
    return memory;
}

void release(void* memory, size_t bytes) {
    if (memory == nullptr) return;
    const SizeClass size = class_of(bytes);
    if (pool_ended || !pool.keep(memory, size)) operator delete(memory, kAlignment);
}

}  // namespace eggroll::cpu
