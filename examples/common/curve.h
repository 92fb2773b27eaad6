// SPDX-License-Identifier: MIT
#pragma once

#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <string>

namespace examples {

/// A learning curve as a CSV file, whole after every row.
class CurveFile {
public:
    /// Throws eggroll::Error when the file cannot be written.
    CurveFile(const std::filesystem::path& path, const std::string& columns);

    /// A NaN leaves its cell empty.
    void row(std::initializer_list<double> values);

private:
    std::filesystem::path path_;
    std::ofstream out_;
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
