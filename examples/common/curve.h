// SPDX-License-Identifier: MIT
#pragma once

#include <filesystem>
#include <string>

namespace examples {

/// What to draw: columns by their names in the CSV file.
struct Plot {
    std::string title;
    std::string x, x_label;
    std::string y, y_label;
};

/// Draws a PNG with gnuplot, a line through the rows that have both values. Returns false, and has
/// written nothing, when gnuplot is not installed or does not do it.
bool plot_curve(const std::filesystem::path& csv, const std::filesystem::path& png,
                const Plot& plot);

}  // namespace examples
