// SPDX-License-Identifier: MIT
#pragma once

#include <eggroll/generation_log.h>

#include <filesystem>
#include <vector>

namespace eggroll {

/// A line of JSON for every generation, with the fields of its Report and the columns given:
///
///     {"generation": 0, "mean": -1.25, ..., "seconds": 0.004, "accuracy": 0.5}
///
/// Numbers read back as the same float or double; one that is not finite is null. "trouble" is
/// there when there was some before it was logged.
class EGGROLL_API JsonLines : public GenerationLog {
public:
    /// Opens nothing yet. Throws Error for a column without a name or value, or of a name that is
    /// taken.
    explicit JsonLines(std::filesystem::path path, std::vector<Column> columns = {});
    bool after(Eggroll& es, Report& report) override;
};

}  // namespace eggroll
