// SPDX-License-Identifier: MIT
#pragma once

#include <eggroll/error.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

// What the targets are made of. A finding ends the process, with the stack under the sanitizers.

namespace eggroll::fuzz {

/// A finding unless it holds.
void require(bool holds, const char* what);

/// A finding when this thread, while it lives, holds more than `bytes` of memory that it did not
/// hold before.
class MemoryLimit {
public:
    explicit MemoryLimit(size_t bytes);
    ~MemoryLimit();
    MemoryLimit(const MemoryLimit&) = delete;
    MemoryLimit& operator=(const MemoryLimit&) = delete;
};

/// What a reader of a file of that size may hold: what the file says, once as it is and once as
/// objects, of which the smallest take many times their text; no size that the file only claims.
constexpr size_t allowance(size_t input_bytes) {
    return 16'384 + 32 * input_bytes;
}

/// Calls read(); returns whether it threw no Error. An Error must begin with `start` and be one
/// short line of UTF-8.
template <class Read>
bool accepts(std::string_view start, Read read);

/// A finding unless the message is such a line.
void check_message(std::string_view start, std::string_view message);

template <class Read>
bool accepts(std::string_view start, Read read) {
    try {
        read();
        return true;
    } catch (const Error& error) {
        check_message(start, error.what());
        return false;
    }
}

inline std::string_view text_of(std::span<const uint8_t> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace eggroll::fuzz

/// What a target is: libFuzzer calls it with one input after another.
#define EGGROLL_FUZZ(data)                                                     \
    static void fuzz_one(std::span<const uint8_t> data);                       \
    extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) { \
        fuzz_one({bytes, size});                                               \
        return 0;                                                              \
    }                                                                          \
    static void fuzz_one(std::span<const uint8_t> data)
