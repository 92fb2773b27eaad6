// SPDX-License-Identifier: MIT
#pragma once

// What the memory pools of the backends have in common.

#include <bit>
#include <cstddef>
#include <cstdint>

namespace eggroll::detail {

/// Tensors begin on a multiple of this.
constexpr size_t kMemoryAlignment = 256;

/// Sizes that a pool hands out, four to an octave, so that at most a quarter of a block is unused.
struct SizeClass {
    size_t index, bytes;
};

inline SizeClass class_of(size_t bytes) {
    constexpr size_t kSizesPerOctave = 4;
    const size_t units = (bytes + kMemoryAlignment - 1) / kMemoryAlignment;
    if (units <= kSizesPerOctave) {
        const size_t n = units == 0 ? 1 : units;
        return {n - 1, n * kMemoryAlignment};
    }
    const int octave = static_cast<int>(std::bit_width(units - 1)) - 3;  // of a quarter
    const size_t quarters = ((units - 1) >> octave) + 1;                 // 5..8
    return {static_cast<size_t>(octave) * kSizesPerOctave + quarters - 1,
            (quarters << octave) * kMemoryAlignment};
}

/// A buffer of plain values for the length of a scope, from a backend's pool.
template <class T, void* (*kAllocate)(size_t), auto kRelease>
class PoolBuffer {
public:
    explicit PoolBuffer(int64_t count)
        : bytes_(static_cast<size_t>(count) * sizeof(T)),
          data_(static_cast<T*>(kAllocate(bytes_))) {}
    ~PoolBuffer() { kRelease(data_, bytes_); }
    PoolBuffer(const PoolBuffer&) = delete;
    PoolBuffer& operator=(const PoolBuffer&) = delete;

    T* data() const { return data_; }

private:
    size_t bytes_;
    T* data_;
};

}  // namespace eggroll::detail
