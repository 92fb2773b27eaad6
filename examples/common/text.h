// SPDX-License-Identifier: MIT
#pragma once

#include <cstdio>
#include <string>
#include <string_view>

namespace examples {

/// A number with so many digits after the point.
inline std::string fixed(double value, int digits) {
    char text[64];
    std::snprintf(text, sizeof text, "%.*f", digits, value);
    return text;
}

/// UTF-8 text as a terminal may be sent it: bytes of control characters, also of U+0080 to U+009F,
/// are written out, such as "\x1b".
inline std::string printable(std::string_view text) {
    std::string result;
    unsigned char before = 0;
    for (size_t i = 0; i < text.size(); ++i) {
        const auto byte = static_cast<unsigned char>(text[i]);
        const auto next = static_cast<unsigned char>(i + 1 < text.size() ? text[i + 1] : 0);
        const auto high = [](unsigned char first, unsigned char second) {
            return first == 0xC2 && second >= 0x80 && second < 0xA0;
        };
        if (byte < 0x20 || byte == 0x7F || high(byte, next) || high(before, byte)) {
            char code[8];
            std::snprintf(code, sizeof code, "\\x%02x", byte);
            result += code;
        } else {
            result += text[i];
        }
        before = byte;
    }
    return result;
}

}  // namespace examples
