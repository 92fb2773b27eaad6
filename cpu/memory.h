// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>

namespace eggroll::cpu {

/// Memory aligned to 256 bytes from a pool of the calling thread: once a generation has run, the
/// next one finds all its buffers there. Throws Error saying how much was asked for.
void* allocate(size_t bytes);
void release(void* memory, size_t bytes);

/// A buffer of plain values for the length of a scope.
template <class T>
class ScratchOf {
public:
    explicit ScratchOf(int64_t count)
        : bytes_(static_cast<size_t>(count) * sizeof(T)),
          data_(static_cast<T*>(allocate(bytes_))) {}
    ~ScratchOf() { release(data_, bytes_); }
    ScratchOf(const ScratchOf&) = delete;
    ScratchOf& operator=(const ScratchOf&) = delete;

    T* data() { return data_; }

private:
    size_t bytes_;
    T* data_;
};

using Scratch = ScratchOf<float>;

}  // namespace eggroll::cpu
