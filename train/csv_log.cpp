// SPDX-License-Identifier: MIT
#include <eggroll/csv_log.h>

#include "core/text.h"
#include "train/log_file.h"

namespace eggroll {

namespace {

constexpr const char* kCaller = "csv_log";

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
    : columns_(std::move(columns)) {
    detail::require_columns(kCaller, columns_);
    file_ = std::make_unique<detail::LogFile>(
        kCaller, std::move(path),
        detail::LogFormat{.header = header_of(columns_), .begin = {}, .end = {}});
}

CsvLog::CsvLog(CsvLog&&) noexcept = default;
CsvLog::~CsvLog() = default;

detail::LogFile& CsvLog::file() const {
    if (!file_) throw Error(std::string("[") + kCaller + "] this one was moved from");
    return *file_;
}

void CsvLog::check(const Eggroll& es) const {
    file().check(es.generation());
}

bool CsvLog::begin(const Eggroll& es, int64_t) {
    file().open(es.generation());
    return false;
}

bool CsvLog::after(Eggroll&, Report& report) {
    std::string line;
    for (const detail::LogField& field : detail::fields_of(report, columns_)) {
        line += field.text + ",";
    }
    file().append(line + cell(report.trouble) + "\n", report);
    return false;
}

void CsvLog::end(const Eggroll&) {
    file().finish();
}

}  // namespace eggroll
