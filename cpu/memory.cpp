// SPDX-License-Identifier: MIT
#include "cpu/memory.h"

#include <eggroll/error.h>

#include <algorithm>
#include <bit>
#include <new>
#include <string>
#include <vector>

namespace eggroll::cpu {

namespace {

constexpr std::align_val_t kAlignment{256};
constexpr size_t kSmallest = 256;
/// What a thread keeps for later, and no more than about what it had in use at a time: who only
/// releases what others made keeps nothing. The rest goes back to the system.
constexpr size_t kKeptBytes = size_t{64} << 20;
/// Four sizes to an octave, so that at most a quarter of a block is unused.
constexpr int kSizesPerOctave = 4;

struct SizeClass {
    size_t index, bytes;
};

SizeClass class_of(size_t bytes) {
    const size_t units = (bytes + kSmallest - 1) / kSmallest;
    if (units <= kSizesPerOctave) {
        const size_t n = units == 0 ? 1 : units;
        return {n - 1, n * kSmallest};
    }
    const int octave = static_cast<int>(std::bit_width(units - 1)) - 3;  // of a quarter
    const size_t quarters = ((units - 1) >> octave) + 1;                 // 5..8
    return {static_cast<size_t>(octave) * kSizesPerOctave + quarters - 1,
            (quarters << octave) * kSmallest};
}

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
