// SPDX-License-Identifier: MIT
#pragma once

#include "core/backend.h"

#include <string>

namespace eggroll::cpu {

/// Calls function(context, c) for c in 0..count-1 on the pool's threads and the caller's, each
/// index once; returns when all are done. Called from inside such a function it runs on that thread
/// alone. When some throw, the exception of the lowest index is passed on after all have ended.
void run_chunks(int64_t count, detail::ChunkFunction function, void* context);

/// The same for a lambda over the index.
template <class F>
void parallel_for(int64_t count, F&& body) {
    run_chunks(
        count, [](void* context, int64_t index) { (*static_cast<F*>(context))(index); }, &body);
}

/// What EGGROLL_NUM_THREADS says: a number of threads. Throws Error for any other text.
int parse_thread_count(const std::string& text);

/// Processors' worth of time that a container's quota and period grant, rounded up, at most as many
/// as there may be threads; 0: no limit, or what they say cannot be read.
int processors_granted(const std::string& quota, const std::string& period);

}  // namespace eggroll::cpu
