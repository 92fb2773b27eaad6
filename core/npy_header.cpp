// SPDX-License-Identifier: MIT
#include "core/npy_header.h"

#include "core/text.h"

#include <limits>
#include <utility>

namespace eggroll::detail {

namespace {

/// Reads what Python's repr() makes of the dictionary, front to back.
class LiteralReader {
public:
    explicit LiteralReader(std::string_view text) : text_(text) {}

    NpyHeader header() {
        NpyHeader header;
        bool has_descr = false, has_order = false, has_shape = false;
        expect('{', "a dictionary");
        while (!take('}')) {
            const std::string key = string();
            expect(':', "':'");
            bool* const seen = key == "descr"           ? &has_descr
                               : key == "fortran_order" ? &has_order
                               : key == "shape"         ? &has_shape
                                                        : nullptr;
            if (seen == nullptr) fail("unknown key " + in_quotes(key));
            if (std::exchange(*seen, true)) fail("has " + in_quotes(key) + " twice");
            if (seen == &has_descr) {
                header.descr = descr();
            } else if (seen == &has_order) {
                header.fortran_order = truth();
            } else {
                header.shape = shape();
            }
            if (!take(',')) {
                expect('}', "',' or '}'");
                break;
            }
        }
        skip_space();
        if (at_ < text_.size()) fail("expected the end but found " + found());
        if (!has_descr) fail("has no \"descr\"");
        if (!has_order) fail("has no \"fortran_order\"");
        if (!has_shape) fail("has no \"shape\"");
        return header;
    }

private:
    [[noreturn]] void fail(const std::string& reason) const {
        throw Error("header: byte " + std::to_string(at_) + ": " + reason);
    }

    std::string found() const {
        return at_ < text_.size() ? in_quotes(text_.substr(at_, 1)) : "the end";
    }

    char here() const { return at_ < text_.size() ? text_[at_] : '\0'; }

    void skip_space() {
        while (here() == ' ' || here() == '\t' || here() == '\n') ++at_;
    }

    bool take(char wanted) {
        skip_space();
        if (at_ == text_.size() || text_[at_] != wanted) return false;
        ++at_;
        return true;
    }

    void expect(char wanted, const char* what) {
        if (!take(wanted)) fail(std::string("expected ") + what + " but found " + found());
    }

    std::string string() {
        skip_space();
        const char quote = here();
        if (quote != '\'' && quote != '"') fail("expected a string but found " + found());
        const size_t first = ++at_;
        while (at_ < text_.size() && here() != quote) {
            if (here() == '\\' || here() == '\n') fail("a string has an escape or a line's end");
            ++at_;
        }
        if (at_ == text_.size()) fail("a string does not end");
        return std::string(text_.substr(first, at_++ - first));
    }

    std::string descr() {
        skip_space();
        if (here() == '[') fail("the array is structured; only plain numbers are read");
        return string();
    }

    bool truth() {
        skip_space();
        for (const bool value : {false, true}) {
            const std::string_view word = value ? "True" : "False";
            if (text_.substr(at_, word.size()) != word) continue;
            at_ += word.size();
            return value;
        }
        fail("expected True or False but found " + found());
    }

    int64_t whole_number() {
        skip_space();
        if (here() == '-') fail("an extent is negative");
        const size_t first = at_;
        int64_t value = 0;
        for (; here() >= '0' && here() <= '9'; ++at_) {
            const int64_t digit = here() - '0';
            if (value > (std::numeric_limits<int64_t>::max() - digit) / 10) {
                fail("an extent is too large");
            }
            value = value * 10 + digit;
        }
        if (at_ == first) fail("expected a number but found " + found());
        if (text_[first] == '0' && at_ > first + 1) fail("a number starts with 0");
        return value;
    }

    /// "()", "(2,)", "(2, 3)": without a comma it would be a number.
    Shape shape() {
        Shape shape;
        expect('(', "a tuple");
        bool comma = true;
        while (!take(')')) {
            if (!comma) fail("expected ',' or ')' but found " + found());
            if (shape.size() == kMaxNpyAxes) fail("has more than 64 axes");
            shape.push_back(whole_number());
            comma = take(',');
        }
        if (shape.size() == 1 && !comma) fail("the shape is a number, no tuple");
        return shape;
    }

    std::string_view text_;
    size_t at_ = 0;
};

}  // namespace

NpyHeader parse_npy_header(std::string_view text) {
    return LiteralReader(text).header();
}

std::string write_npy_header(std::string_view descr, const Shape& shape) {
    constexpr size_t kAlignment = 64, kPrefixBytes = 10;
    std::string text = "{'descr': '" + std::string(descr) + "', 'fortran_order': False, 'shape': (";
    for (size_t i = 0; i < shape.size(); ++i) {
        text += (i > 0 ? ", " : "") + std::to_string(shape[i]);
    }
    text += shape.size() == 1 ? ",), }" : "), }";
    const size_t total = (kPrefixBytes + text.size() + kAlignment) / kAlignment * kAlignment;
    text.resize(total - kPrefixBytes - 1, ' ');
    text += '\n';
    std::string prefix = "\x93NUMPY";
    prefix +=
        {'\1', '\0', static_cast<char>(text.size() & 0xFF), static_cast<char>(text.size() >> 8)};
    return prefix + text;
}

}  // namespace eggroll::detail
