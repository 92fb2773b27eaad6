// SPDX-License-Identifier: MIT
#include <eggroll/json_lines.h>

#include "core/text.h"
#include "train/log_file.h"

namespace eggroll {

namespace {

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
    : GenerationLog("json_lines", std::move(path), std::move(columns),
                    {.header = {}, .begin = "{\"generation\": ", .end = "}"}) {}

bool JsonLines::after(Eggroll&, Report& report) {
    std::string line;
    for (const detail::LogField& field : detail::fields_of(report, columns())) {
        line += line.empty() ? "{" : ", ";
        line += json_string(field.name) + ": " + (field.text.empty() ? "null" : field.text);
    }
    if (!report.trouble.empty()) line += ", \"trouble\": " + json_string(report.trouble);
    append(line + "}\n", report);
    return false;
}

}  // namespace eggroll
