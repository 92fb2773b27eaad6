// SPDX-License-Identifier: MIT
#pragma once

#include <eggroll/error.h>

namespace eggroll {

/// How many threads evaluate members on the CPU, the caller's included. At first the environment
/// variable EGGROLL_NUM_THREADS, else the processors this process may use (affinity and container
/// limit). The number changes no bit of any result.
EGGROLL_API int num_threads();
/// Throws Error unless 1 <= n <= 1024. Not while a generation is being evaluated.
EGGROLL_API void set_num_threads(int n);

}  // namespace eggroll
