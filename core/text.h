// SPDX-License-Identifier: MIT
#pragma once

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

namespace eggroll::detail {

/// Position of the first byte that is not part of valid UTF-8; text.size() if there is none.
size_t first_non_utf8(std::string_view text);

/// Appends a code point, which must be below 0x110000 and no surrogate.
void append_utf8(std::string& text, uint32_t code);

/// The text in quotes on one short line, for messages: control characters and bytes that are not
/// UTF-8 are escaped, and long text is cut.
std::string in_quotes(std::string_view text);

/// Valid UTF-8 on one line: control characters become blanks, and what is not UTF-8 '?'.
std::string one_line(std::string_view text);

/// The shortest text that reads back as the same number: "1e-09", not "0.000000".
std::string number(float value);
std::string number(double value);

/// The number that all of the text is; none when it is anything else.
template <class T>
std::optional<T> number_in(std::string_view text) {
    T value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) return {};
    return value;
}

}  // namespace eggroll::detail
