// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>

namespace eggroll::cpu {

/// Memory aligned to 256 bytes from a pool of the calling thread: once a generation has run, the
/// next one finds all its buffers there. Throws Error saying how much was asked for.
void* allocate(size_t bytes);
void release(void* memory, size_t bytes);

/// A buffer of floats for the length of a scope.
class Scratch {
public:
    explicit Scratch(int64_t floats)
        : bytes_(static_cast<size_t>(floats) * sizeof(float)),
          data_(static_cast<float*>(allocate(bytes_))) {}
    ~Scratch() { release(data_, bytes_); }
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;

    float* data() { return data_; }

private:
    size_t bytes_;
    float* data_;
};

}  // namespace eggroll::cpu
