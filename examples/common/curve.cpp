// SPDX-License-Identifier: MIT

#include "curve.h"

#include <cstdio>
#include <cstdlib>

namespace examples {

namespace {

/// A gnuplot string: single quotes, doubled inside.
std::string quoted(const std::string& text) {
    std::string result = "'";
    for (const char c : text) result += c == '\'' ? std::string("''") : std::string(1, c);
    return result + "'";
}

}  // namespace

bool plot_curve(const std::filesystem::path& csv, const std::filesystem::path& png,
                const Plot& plot) {
    if (std::system("command -v gnuplot >/dev/null 2>&1") != 0) return false;
    // The script goes through a pipe, so that no file name meets a shell.
    FILE* gnuplot = popen("gnuplot >/dev/null 2>&1", "w");
    if (gnuplot == nullptr) return false;
    const std::string script =
        "set terminal pngcairo size 960,600\nset output " + quoted(png.string()) +
        "\nset datafile separator ','\nset title " + quoted(plot.title) +
        " noenhanced\nset xlabel " + quoted(plot.x_label) + "\nset ylabel " + quoted(plot.y_label) +
        "\nset grid\nplot " + quoted(csv.string()) + " using " + quoted(plot.x) + ":" +
        quoted(plot.y) + " with linespoints pointtype 7 pointsize 0.5 linewidth 2 notitle\n";
    std::fwrite(script.data(), 1, script.size(), gnuplot);
    return pclose(gnuplot) == 0;
}

}  // namespace examples
