// SPDX-License-Identifier: MIT
#include "core/json_reader.h"

#include "core/text.h"

#include <eggroll/error.h>

#include <limits>

namespace eggroll::detail {

namespace {

bool is_one_of(char c, std::string_view set) {
    return set.find(c) != set.npos;
}

}  // namespace

void JsonReader::fail(const std::string& reason) const {
    throw Error("byte " + std::to_string(at_) + ": " + reason);
}

std::string JsonReader::found() const {
    return at_ < text_.size() ? in_quotes(text_.substr(at_, 1)) : "the end";
}

void JsonReader::skip_space() {
    while (at_ < text_.size() && is_one_of(text_[at_], " \t\n\r")) ++at_;
}

bool JsonReader::take(char wanted) {
    skip_space();
    if (at_ == text_.size() || text_[at_] != wanted) return false;
    ++at_;
    return true;
}

void JsonReader::expect(char wanted, const char* what) {
    if (!take(wanted)) fail(std::string("expected ") + what + " but found " + found());
}

void JsonReader::end() {
    skip_space();
    if (at_ < text_.size()) fail("expected the end but found " + found());
}

int64_t JsonReader::whole_number() {
    skip_space();
    const auto here = [this] { return at_ < text_.size() ? text_[at_] : '\0'; };
    if (here() == '-') fail("a number is negative");
    const size_t first = at_;
    int64_t value = 0;
    for (; here() >= '0' && here() <= '9'; ++at_) {
        const int64_t digit = here() - '0';
        if (value > (std::numeric_limits<int64_t>::max() - digit) / 10) {
            fail("a number is too large");
        }
        value = value * 10 + digit;
    }
    if (at_ == first) fail("expected a number but found " + found());
    if (text_[first] == '0' && at_ > first + 1) fail("a number starts with 0");
    if (is_one_of(here(), ".eE")) fail("a number has a fraction or an exponent");
    return value;
}

std::string JsonReader::string() {
    expect('"', "a string");
    std::string value;
    while (at_ < text_.size()) {
        const char c = text_[at_];
        if (static_cast<unsigned char>(c) < 0x20) fail("a string has a bare control character");
        ++at_;
        if (c == '"') return value;
        if (c == '\\') {
            escape(value);
        } else {
            value += c;
        }
    }
    fail("a string does not end");
}

void JsonReader::escape(std::string& value) {
    constexpr std::string_view kLetters = "\"\\/bfnrt", kMeanings = "\"\\/\b\f\n\r\t";
    const char letter = at_ < text_.size() ? text_[at_] : '\0';
    if (letter == 'u') {
        ++at_;
        append_utf8(value, code_point());
        return;
    }
    const size_t index = kLetters.find(letter);
    if (index == kLetters.npos) fail("unknown escape of " + found());
    value += kMeanings[index];
    ++at_;
}

/// What follows "\u"; beyond 16 bits it is two escapes, a surrogate pair.
uint32_t JsonReader::code_point() {
    const uint32_t high = four_hex_digits();
    if (high < 0xD800 || high > 0xDFFF) return high;
    if (high <= 0xDBFF && text_.substr(at_, 2) == "\\u") {
        at_ += 2;
        const uint32_t low = four_hex_digits();
        if (low >= 0xDC00 && low <= 0xDFFF) {
            return 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
        }
    }
    fail("a \\u escape is half of a surrogate pair");
}

uint32_t JsonReader::four_hex_digits() {
    constexpr std::string_view kDigits = "0123456789abcdef";
    uint32_t value = 0;
    for (int i = 0; i < 4; ++i, ++at_) {
        char c = at_ < text_.size() ? text_[at_] : '\0';
        if (c >= 'A' && c <= 'F') c = static_cast<char>(c - 'A' + 'a');
        const size_t digit = kDigits.find(c);
        if (digit == kDigits.npos) fail("a \\u escape needs four hexadecimal digits");
        value = value * 16 + static_cast<uint32_t>(digit);
    }
    return value;
}

}  // namespace eggroll::detail
