// SPDX-License-Identifier: MIT
#include <eggroll/csv_log.h>

#include "core/text.h"
#include "train/log_file.h"

namespace eggroll {

namespace {

/// A cell as RFC 4180 writes it.
std::string cell(std::string_view text) {
    const std::string plain = detail::one_line(text);
    if (plain.find_first_of(",\"") == std::string::npos) return plain;
    std::string result = "\"";
    for (const char c : plain) result += c == '"' ? std::string("\"\"") : std::string(1, c);
    return result + '"';
}

std::string header_of(const std::vector<Column>& columns) {
    std::string header;
    for (const detail::LogField& field : detail::fields_of({}, {})) {
        header += std::string(field.name) + ",";
    }
    for (const Column& column : columns) header += cell(column.name) + ",";
    return header + "trouble\n";
}

}  // namespace

CsvLog::CsvLog(std::filesystem::path path, std::vector<Column> columns)
    : GenerationLog("csv_log", std::move(path), columns,
                    {.header = header_of(columns), .begin = {}, .end = {}}) {}

bool CsvLog::after(Eggroll&, Report& report) {
    std::string line;
    for (const detail::LogField& field : detail::fields_of(report, columns())) {
        line += field.text + ",";
    }
    append(line + cell(report.trouble) + "\n", report);
    return false;
}

}  // namespace eggroll
