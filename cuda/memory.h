// SPDX-License-Identifier: MIT
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <vector>

namespace eggroll::cuda {

/// Memory of one device in the order of its stream. What is released is kept and handed out again:
/// after the first generation nothing is asked of the driver.
class Memory {
public:
    Memory() = default;
    ~Memory();
    Memory(const Memory&) = delete;
    Memory& operator=(const Memory&) = delete;

    /// The stream whose work uses the memory.
    void begin(cudaStream_t stream) { stream_ = stream; }
    /// Aligned to 256 bytes; null for none. Throws Error saying how much was asked for and how
    /// much there is.
    void* allocate(size_t bytes);
    void release(void* memory, size_t bytes) noexcept;
    /// Gives back what is kept.
    void trim() noexcept;

private:
    cudaStream_t stream_ = nullptr;
    std::mutex mutex_;
    std::map<size_t, std::vector<void*>> kept_;  // by size class
    size_t in_use_ = 0;
};

/// Memory for the length of a row, of the current device.
template <class T>
class ScratchOf {
public:
    explicit ScratchOf(int64_t count);
    ~ScratchOf();
    ScratchOf(const ScratchOf&) = delete;
    ScratchOf& operator=(const ScratchOf&) = delete;
    T* data() const { return data_; }

private:
    size_t bytes_;
    T* data_;
};

void* allocate(size_t bytes);
void release(void* memory, size_t bytes) noexcept;

template <class T>
ScratchOf<T>::ScratchOf(int64_t count)
    : bytes_(static_cast<size_t>(count) * sizeof(T)), data_(static_cast<T*>(allocate(bytes_))) {}
template <class T>
ScratchOf<T>::~ScratchOf() {
    release(data_, bytes_);
}
using Scratch = ScratchOf<float>;

}  // namespace eggroll::cuda
