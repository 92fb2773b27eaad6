// SPDX-License-Identifier: MIT
#include "core/text.h"

#include <charconv>

namespace eggroll::detail {

namespace {

/// Bytes of the UTF-8 sequence at the start of `text`, 0 if there is no valid one (The Unicode
/// Standard, table 3-7: no overlong forms, no surrogates, nothing above 0x10FFFF).
size_t sequence_length(std::string_view text) {
    const auto byte = [&](size_t i) {
        return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u;
    };
    const unsigned lead = byte(0);
    if (lead < 0x80) return text.empty() ? 0 : 1;
    if (lead < 0xC2 || lead > 0xF4) return 0;
    const size_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    const unsigned low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    const unsigned high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    if (byte(1) < low || byte(1) > high) return 0;
    for (size_t i = 2; i < length; ++i) {
        if (byte(i) < 0x80 || byte(i) > 0xBF) return 0;
    }
    return length;
}

void append_hex(std::string& text, unsigned char byte) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    text += "\\x";
    text += kDigits[byte / 16];
    text += kDigits[byte % 16];
}

}  // namespace

size_t first_non_utf8(std::string_view text) {
    size_t at = 0;
    while (at < text.size()) {
        const size_t length = sequence_length(text.substr(at));
        if (length == 0) break;
        at += length;
    }
    return at;
}

void append_utf8(std::string& text, uint32_t code) {
    const auto append = [&](uint32_t byte) { text += static_cast<char>(byte); };
    const auto append_low = [&](int shift) { append(0x80 | ((code >> shift) & 0x3F)); };
    if (code < 0x80) {
        append(code);
    } else if (code < 0x800) {
        append(0xC0 | (code >> 6));
        append_low(0);
    } else if (code < 0x10000) {
        append(0xE0 | (code >> 12));
        append_low(6);
        append_low(0);
    } else {
        append(0xF0 | (code >> 18));
        append_low(12);
        append_low(6);
        append_low(0);
    }
}

std::string one_line(std::string_view text) {
    std::string result(text);
    for (size_t at = 0;
         (at += first_non_utf8(std::string_view(result).substr(at))) < text.size();) {
        result[at] = '?';
    }
    for (char& c : result) {
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = ' ';
    }
    return result;
}

std::string in_quotes(std::string_view text) {
    constexpr size_t kLimit = 80;
    std::string result = "\"";
    while (!text.empty()) {
        if (result.size() > kLimit) return result + "\"...";
        const size_t length = sequence_length(text);
        const auto first = static_cast<unsigned char>(text.front());
        if (length == 0 || first < 0x20 || first == 0x7F) {
            append_hex(result, first);
            text.remove_prefix(1);
        } else {
            if (first == '"' || first == '\\') result += '\\';
            result += text.substr(0, length);
            text.remove_prefix(length);
        }
    }
    return result + '"';
}

namespace {

template <class T>
std::string shortest(T value) {
    char text[32];
    return {text, std::to_chars(text, text + sizeof text, value).ptr};
}

}  // namespace

std::string number(float value) {
    return shortest(value);
}

std::string number(double value) {
    return shortest(value);
}

}  // namespace eggroll::detail
