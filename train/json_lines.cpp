// SPDX-License-Identifier: MIT
#include <eggroll/json_lines.h>

#include "core/text.h"
#include "train/log_file.h"

namespace eggroll {

namespace {

constexpr const char* kCaller = "json_lines";

std::string json_string(std::string_view text) {
    std::string result = "\"";
    for (const char c : detail::one_line(text)) {
        if (c == '"' || c == '\\') result += '\\';
        result += c;
    }
    return result + '"';
}

}  // namespace

JsonLines::JsonLines(std::filesystem::path path, std::vector<Column> columns)
    : columns_(std::move(columns)) {
    detail::require_columns(kCaller, columns_);
    file_ = std::make_unique<detail::LogFile>(
        kCaller, std::move(path),
        detail::LogFormat{.header = {}, .begin = "{\"generation\": ", .end = "}"});
}

JsonLines::JsonLines(JsonLines&&) noexcept = default;
JsonLines::~JsonLines() = default;

detail::LogFile& JsonLines::file() const {
    if (!file_) throw Error(std::string("[") + kCaller + "] this one was moved from");
    return *file_;
}

void JsonLines::check(const Eggroll& es) const {
    file().check(es.generation());
}

bool JsonLines::begin(const Eggroll& es, int64_t) {
    file().open(es.generation());
    return false;
}

bool JsonLines::after(Eggroll&, Report& report) {
    std::string line;
    for (const detail::LogField& field : detail::fields_of(report, columns_)) {
        line += line.empty() ? "{" : ", ";
        line += json_string(field.name) + ": " + (field.text.empty() ? "null" : field.text);
    }
    if (!report.trouble.empty()) line += ", \"trouble\": " + json_string(report.trouble);
    file().append(line + "}\n", report);
    return false;
}

void JsonLines::end(const Eggroll&) {
    file().finish();
}

}  // namespace eggroll
