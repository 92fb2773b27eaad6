// SPDX-License-Identifier: MIT
#include <eggroll/generation_log.h>

#include "train/log_file.h"

namespace eggroll {

GenerationLog::GenerationLog(const char* caller, std::filesystem::path path,
                             std::vector<Column> columns, const detail::LogFormat& format)
    : caller_(caller), columns_(std::move(columns)) {
    detail::require_columns(caller_, columns_);
    file_ = std::make_unique<detail::LogFile>(caller_, std::move(path), format);
}

GenerationLog::GenerationLog(GenerationLog&&) noexcept = default;
GenerationLog::~GenerationLog() = default;

detail::LogFile& GenerationLog::file() const {
    if (!file_) throw Error(std::string("[") + caller_ + "] this one was moved from");
    return *file_;
}

void GenerationLog::check(const Eggroll& es) const {
    file().check(es.generation());
}

bool GenerationLog::begin(const Eggroll& es, int64_t) {
    file().open(es.generation());
    return false;
}

void GenerationLog::append(const std::string& line, Report& report) {
    file().append(line, report);
}

void GenerationLog::end(const Eggroll&) {
    file().finish();
}

}  // namespace eggroll
