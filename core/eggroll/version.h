// SPDX-License-Identifier: MIT
#pragma once

// The one place the version is written; the build system reads it from here.
#define EGGROLL_VERSION_MAJOR 0
#define EGGROLL_VERSION_MINOR 1
#define EGGROLL_VERSION_PATCH 0

#define EGGROLL_VERSION_QUOTE2(text) #text
#define EGGROLL_VERSION_QUOTE(text) EGGROLL_VERSION_QUOTE2(text)
/// "0.1.0"
#define EGGROLL_VERSION                                                         \
    EGGROLL_VERSION_QUOTE(EGGROLL_VERSION_MAJOR)                                \
    "." EGGROLL_VERSION_QUOTE(EGGROLL_VERSION_MINOR) "." EGGROLL_VERSION_QUOTE( \
        EGGROLL_VERSION_PATCH)
