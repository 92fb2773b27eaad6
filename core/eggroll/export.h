// SPDX-License-Identifier: MIT
#pragma once

#if __cplusplus < 202002L
#error "libeggroll needs C++20: compile with -std=c++20"
#endif

/// Marks what the shared library exports; everything else is hidden.
#if defined(__GNUC__)
#define EGGROLL_API __attribute__((visibility("default")))
#else
#define EGGROLL_API
#endif
