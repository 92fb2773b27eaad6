// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace eggroll::detail {

/// Reads strict JSON (RFC 8259) whose structure the caller knows, front to back. The caller asks
/// for what must come next, so values nest as deep as the caller's format and no deeper. Whatever
/// else comes throws Error with the byte and the bare reason.
class JsonReader {
public:
    explicit JsonReader(std::string_view text) : text_(text) {}

    /// Calls function(key) for each member of an object; it must read the member's value.
    template <class Function>
    void each_member(Function function) {
        expect('{', "an object");
        if (take('}')) return;
        do {
            std::string key = string();
            expect(':', "':'");
            function(std::move(key));
        } while (take(','));
        expect('}', "',' or '}'");
    }

    /// Calls function() for each element of a list; it must read the element.
    template <class Function>
    void each_element(Function function) {
        expect('[', "a list");
        if (take(']')) return;
        do {
            function();
        } while (take(','));
        expect(']', "',' or ']'");
    }

    std::string string();
    /// A number of digits alone that fits.
    int64_t whole_number();
    /// Nothing but space is left.
    void end();

    [[noreturn]] void fail(const std::string& reason) const;

private:
    void skip_space();
    /// Passes `wanted`, and any space before it, if it comes next.
    bool take(char wanted);
    void expect(char wanted, const char* what);
    void escape(std::string& value);
    uint32_t code_point();
    uint32_t four_hex_digits();
    std::string found() const;

    std::string_view text_;
    size_t at_ = 0;
};

}  // namespace eggroll::detail
