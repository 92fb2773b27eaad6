// SPDX-License-Identifier: MIT
#pragma once

#include <eggroll/generation_log.h>

#include <filesystem>
#include <vector>

namespace eggroll {

/// A CSV file with a header and a line for every generation: the fields of its Report, the columns
/// given, and what trouble there was. Numbers read back as the same float or double; one that is
/// not finite leaves its cell empty.
class EGGROLL_API CsvLog : public GenerationLog {
public:
    /// Opens nothing yet. Throws Error for a column without a name or value, or of a name that is
    /// taken.
    explicit CsvLog(std::filesystem::path path, std::vector<Column> columns = {});
    bool after(Eggroll& es, Report& report) override;
};

}  // namespace eggroll
