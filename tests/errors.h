// SPDX-License-Identifier: MIT
#pragma once

#include <eggroll/error.h>

#include <doctest/doctest.h>

#include <functional>
#include <string>
#include <vector>

namespace eggroll::test {

/// What Error says; empty when nothing is thrown.
inline std::string error_of(const std::function<void()>& f) {
    try {
        f();
    } catch (const Error& e) {
        return e.what();
    }
    return "";
}

inline bool contains(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

/// Error whose message holds all these parts.
inline void check_refused(const std::function<void()>& f, const std::vector<std::string>& parts) {
    const std::string message = error_of(f);
    CAPTURE(message);
    CHECK_FALSE(message.empty());
    for (const std::string& part : parts) {
        CAPTURE(part);
        CHECK(contains(message, part));
    }
}

}  // namespace eggroll::test
