// SPDX-License-Identifier: MIT
#pragma once

#include "core/pool.h"

#include <cstddef>

namespace eggroll::cpu {

/// Memory aligned to 256 bytes from a pool of the calling thread: once a generation has run, the
/// next one finds all its buffers there. Throws Error saying how much was asked for.
void* allocate(size_t bytes);
void release(void* memory, size_t bytes);

template <class T>
using ScratchOf = detail::PoolBuffer<T, allocate, release>;
using Scratch = ScratchOf<float>;

}  // namespace eggroll::cpu
