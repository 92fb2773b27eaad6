// SPDX-License-Identifier: MIT
#pragma once

#include "core/pool.h"

#include <cuda_runtime_api.h>

#include <atomic>
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
    /// What was released, by size class.
    using Kept = std::map<size_t, std::vector<void*>>;

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

    /// From here to `end_recording` memory is taken for the recording alone and goes back to
    /// `own`, through another stream than the one that is captured. Other memory that is released
    /// meanwhile, which the recording may read, goes to `held`.
    void begin_recording(Kept& own, Kept& held, cudaStream_t other);
    void end_recording();
    /// Gives back what a recording kept; what is still in use of it is as any other memory.
    void end_of(Kept& own) noexcept;

    /// How often the driver was asked for memory.
    int64_t requests() const { return requests_; }

private:
    cudaStream_t order() const { return recording_ != nullptr ? other_ : stream_; }
    void give_back(Kept& kept) noexcept;

    cudaStream_t stream_ = nullptr, other_ = nullptr;
    std::mutex mutex_;
    Kept kept_;
    Kept* recording_ = nullptr;
    Kept* held_ = nullptr;
    std::map<void*, Kept*> of_recordings_;
    size_t in_use_ = 0;
    std::atomic<int64_t> requests_{0};
};

// Of the current device.
void* allocate(size_t bytes);
void release(void* memory, size_t bytes) noexcept;
/// The host's memory is the caller's again when these return.
void copy_from_host(void* to, const void* from, size_t bytes);
void copy_to_host(void* to, const void* from, size_t bytes);
void copy(void* to, const void* from, size_t bytes);

template <class T>
using ScratchOf = detail::PoolBuffer<T, allocate, release>;
using Scratch = ScratchOf<float>;

}  // namespace eggroll::cuda
