// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <string>

namespace examples {

/// A learning curve as a CSV file, whole at any time.
class CurveFile {
public:
    /// Goes on with the rows that are there up to `generation`, their first column. Throws
    /// eggroll::Error when the file cannot be written.
    CurveFile(const std::filesystem::path& path, const std::string& columns,
              int64_t generation = 0);

    /// A NaN leaves its cell empty.
    void row(std::initializer_list<double> values);

private:
    void write() const;

    std::filesystem::path path_;
    std::string text_;
};

/// What to draw: columns by their names in the CSV file.
struct Plot {
    std::string title;
    std::string x, x_label;
    std::string y, y_label;
};

/// Draws a PNG with gnuplot. Returns false, and has written nothing, when gnuplot is not installed
/// or does not do it.
bool plot_curve(const std::filesystem::path& csv, const std::filesystem::path& png,
                const Plot& plot);

}  // namespace examples
