// SPDX-License-Identifier: MIT

#include "curve.h"

#include <eggroll/error.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <system_error>

namespace examples {

namespace {

/// A gnuplot string: single quotes, doubled inside.
std::string quoted(const std::string& text) {
    std::string result = "'";
    for (const char c : text) result += c == '\'' ? std::string("''") : std::string(1, c);
    return result + "'";
}

}  // namespace

CurveFile::CurveFile(const std::filesystem::path& path, const std::string& columns,
                     int64_t generation)
    : path_(path), text_(columns + "\n") {
    std::ifstream before(path);
    std::string line;
    if (std::getline(before, line) && line == columns) {
        while (std::getline(before, line)) {
            const double row = std::strtod(line.c_str(), nullptr);
            if (row > 0 && row <= static_cast<double>(generation)) text_ += line + "\n";
        }
    }
    write();
}

void CurveFile::row(std::initializer_list<double> values) {
    std::ostringstream line;
    const char* separator = "";
    for (const double value : values) {
        line << separator;
        if (!std::isnan(value)) line << value;
        separator = ",";
    }
    text_ += line.str() + "\n";
    write();
}

void CurveFile::write() const {
    // Renamed into place, so that a run that is killed leaves a whole one.
    std::filesystem::path beside = path_;
    beside += ".tmp";
    std::ofstream out(beside, std::ios::trunc);
    out << text_ << std::flush;
    std::error_code error;
    if (out) std::filesystem::rename(beside, path_, error);
    if (!out || error) throw eggroll::Error("cannot write \"" + path_.string() + "\"");
}

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
