// SPDX-License-Identifier: MIT
#pragma once

/// Marks what the shared library exports; everything else is hidden.
#if defined(__GNUC__)
#define EGGROLL_API __attribute__((visibility("default")))
#else
#define EGGROLL_API
#endif
