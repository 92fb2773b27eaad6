// SPDX-License-Identifier: MIT
#include "cuda/memory.h"

#include "cuda/context.h"

#include <eggroll/error.h>

#include <string>

namespace eggroll::cuda {

namespace {

std::string mebibytes(size_t bytes) {
    return std::to_string((bytes + (size_t{1} << 20) - 1) >> 20) + " MiB";
}

/// Page-locked and managed memory may be on either side: the addresses tell.
void copy_by_address(void* to, const void* from, size_t bytes) {
    if (bytes == 0) return;
    EGGROLL_CUDA_CHECK(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, current().stream()));
}

}  // namespace

Memory::~Memory() {
    trim();
}

void* Memory::allocate(size_t bytes) {
    if (bytes == 0) return nullptr;
    const size_t size = detail::class_of(bytes).bytes;
    {
        const std::scoped_lock lock(mutex_);
        std::vector<void*>& blocks = (recording_ != nullptr ? *recording_ : kept_)[size];
        if (!blocks.empty()) {
            void* memory = blocks.back();
            blocks.pop_back();
            in_use_ += size;
            return memory;
        }
    }
    ++requests_;
    void* memory = nullptr;
    cudaError_t status = cudaMallocAsync(&memory, size, order());
    if (status == cudaErrorMemoryAllocation) {
        cudaGetLastError();  // takes the error off
        trim();
        status = cudaMallocAsync(&memory, size, order());
    }
    if (status == cudaErrorMemoryAllocation) {
        cudaGetLastError();
        size_t available = 0, total = 0;
        cudaMemGetInfo(&available, &total);
        throw Error("[cuda] out of device memory: " + mebibytes(size) + " were asked for, " +
                    mebibytes(available) + " of " + mebibytes(total) + " are free and " +
                    mebibytes(in_use_) +
                    " in use by tensors; a smaller population or batch takes less");
    }
    EGGROLL_CUDA_CHECK(status);
    const std::scoped_lock lock(mutex_);
    in_use_ += size;
    if (recording_ != nullptr) of_recordings_[memory] = recording_;
    return memory;
}

void Memory::release(void* memory, size_t bytes) noexcept {
    if (memory == nullptr) return;
    const size_t size = detail::class_of(bytes).bytes;
    const std::scoped_lock lock(mutex_);
    in_use_ -= size;
    const auto found = of_recordings_.find(memory);
    try {
        Kept& others = held_ != nullptr ? *held_ : kept_;
        (found != of_recordings_.end() ? *found->second : others)[size].push_back(memory);
    } catch (...) {
        cudaFreeAsync(memory, order());
    }
}

void Memory::give_back(Kept& kept) noexcept {
    for (auto& [size, blocks] : kept) {
        for (void* memory : blocks) cudaFreeAsync(memory, order());
        blocks.clear();
    }
    if (order() != nullptr) cudaStreamSynchronize(order());
}

void Memory::trim() noexcept {
    const std::scoped_lock lock(mutex_);
    give_back(kept_);
}

void Memory::begin_recording(Kept& own, Kept& held, cudaStream_t other) {
    const std::scoped_lock lock(mutex_);
    recording_ = &own;
    held_ = &held;
    other_ = other;
}

void Memory::end_recording() {
    const std::scoped_lock lock(mutex_);
    if (recording_ == nullptr) return;
    cudaStreamSynchronize(other_);  // its memory is there for the stream
    recording_ = nullptr;
    held_ = nullptr;
    other_ = nullptr;
}

void Memory::end_of(Kept& own) noexcept {
    const std::scoped_lock lock(mutex_);
    std::erase_if(of_recordings_, [&](const auto& known) { return known.second == &own; });
    give_back(own);
}

void copy_from_host(void* to, const void* from, size_t bytes) {
    copy_by_address(to, from, bytes);
    current().synchronize();
}

void copy_to_host(void* to, const void* from, size_t bytes) {
    copy_by_address(to, from, bytes);
    current().synchronize();
}

void copy(void* to, const void* from, size_t bytes) {
    copy_by_address(to, from, bytes);
}

void* allocate(size_t bytes) {
    return current().memory().allocate(bytes);
}

void release(void* memory, size_t bytes) noexcept {
    if (memory != nullptr) current().memory().release(memory, bytes);
}

}  // namespace eggroll::cuda
