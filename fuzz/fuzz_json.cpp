// SPDX-License-Identifier: MIT
// Our JSON reader reads what another one reads, and the same of it.
#include "core/json_reader.h"
#include "core/text.h"
#include "fuzz/check.h"

#include <nlohmann/json.hpp>

#include <map>
#include <utility>
#include <vector>

using namespace eggroll;
using nlohmann::json;

namespace {

using Strings = std::vector<std::pair<std::string, std::string>>;

/// Of an object of strings, in order, with keys that come twice.
bool ours(std::string_view text, Strings& strings) {
    return fuzz::accepts("byte ", [&] {
        detail::JsonReader reader(text);
        reader.each_member(
            [&](std::string&& key) { strings.emplace_back(std::move(key), reader.string()); });
        reader.end();
    });
}

/// Of a list of whole numbers.
bool ours(std::string_view text, std::vector<int64_t>& numbers) {
    return fuzz::accepts("byte ", [&] {
        detail::JsonReader reader(text);
        reader.each_element([&] { numbers.push_back(reader.whole_number()); });
        reader.end();
    });
}

bool theirs(const json& value, std::map<std::string, std::string>& strings) {
    if (!value.is_object()) return false;
    for (const auto& [key, member] : value.items()) {
        if (!member.is_string()) return false;
        strings[key] = member.get<std::string>();
    }
    return true;
}

bool theirs(const json& value, std::vector<int64_t>& numbers) {
    if (!value.is_array()) return false;
    for (const json& element : value) {
        if (!element.is_number_unsigned() || element.get<uint64_t>() > INT64_MAX) return false;
        numbers.push_back(element.get<int64_t>());
    }
    return true;
}

}  // namespace

EGGROLL_FUZZ(data) {
    const std::string_view text = fuzz::text_of(data);
    // The other reader takes a byte order mark, and a zero byte for the end; ours is given UTF-8.
    if (detail::first_non_utf8(text) < text.size() || text.starts_with("\xEF\xBB\xBF") ||
        text.find('\0') != text.npos) {
        return;
    }
    Strings strings;
    std::vector<int64_t> numbers;
    bool is_object = false, is_list = false;
    {
        const fuzz::MemoryLimit limit(fuzz::allowance(text.size()));
        is_object = ours(text, strings);
        is_list = ours(text, numbers);
    }
    // A key that comes twice may have had a value of another kind before.
    bool twice = false;
    std::vector<std::map<std::string, bool>> keys;
    const auto note = [&](int, json::parse_event_t event, json& value) {
        if (event == json::parse_event_t::object_start) keys.emplace_back();
        if (event == json::parse_event_t::object_end) keys.pop_back();
        if (event == json::parse_event_t::key) {
            twice = !keys.back().emplace(value.get<std::string>(), true).second || twice;
        }
        return true;
    };
    const json value = json::parse(text, note, false);
    std::map<std::string, std::string> their_strings;
    std::vector<int64_t> their_numbers;
    const bool their_object = theirs(value, their_strings);
    const bool their_list = theirs(value, their_numbers);
    fuzz::require(is_object == their_object || twice, "an object is read by one of two");
    fuzz::require(is_list == their_list, "a list is read by one of two");
    if (is_list) fuzz::require(numbers == their_numbers, "a list is read otherwise");
    if (is_object) {
        std::map<std::string, std::string> last;
        for (const auto& [key, text_of_key] : strings) last[key] = text_of_key;
        fuzz::require(last == their_strings, "an object is read otherwise");
    }
}
