// SPDX-License-Identifier: MIT
#include <eggroll/progress_bar.h>

#include <eggroll/error.h>

#include "core/text.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <iostream>
#include <limits>

#include <unistd.h>

namespace eggroll {

namespace {

constexpr size_t kWidth = 30;
constexpr double kRedrawSeconds = 0.1;

double steady_seconds() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch())
        .count();
}

bool is_terminal(const std::ostream& out) {
    if (&out == &std::cout) return ::isatty(STDOUT_FILENO) == 1;
    return (&out == &std::cerr || &out == &std::clog) && ::isatty(STDERR_FILENO) == 1;
}

/// "0:07", "12:34", "1:02:03".
std::string clock_text(double seconds) {
    if (!(seconds < 1e9)) return "a long time";
    const auto whole = static_cast<long>(seconds + 0.5);
    char text[32];
    if (whole < 3600) {
        std::snprintf(text, sizeof text, "%ld:%02ld", whole / 60, whole % 60);
    } else {
        std::snprintf(text, sizeof text, "%ld:%02ld:%02ld", whole / 3600, whole / 60 % 60,
                      whole % 60);
    }
    return text;
}

std::string mean_and_best(const Report& report) {
    char text[64];
    std::snprintf(text, sizeof text, "mean %.4g  best %.4g", static_cast<double>(report.mean),
                  static_cast<double>(report.best));
    std::string words = text;
    if (report.non_finite > 0) words += "  " + std::to_string(report.non_finite) + " not finite";
    if (report.no_result > 0) words += "  " + std::to_string(report.no_result) + " without result";
    return words;
}

}  // namespace

ProgressBar::ProgressBar(std::ostream& out, ProgressBarOptions options)
    : out_(&out),
      options_(std::move(options)),
      terminal_(options_.terminal.value_or(is_terminal(out))) {
    if (!(options_.line_seconds > 0)) {
        throw Error("[progress_bar] line_seconds is " + detail::number(options_.line_seconds) +
                    ", not above 0");
    }
    if (!options_.status) options_.status = mean_and_best;
    if (!options_.clock) options_.clock = steady_seconds;
}

bool ProgressBar::begin(const Eggroll& es, int64_t until) {
    first_ = done_ = shown_ = es.generation();
    until_ = until;
    start_ = shown_at_ = options_.clock();
    status_.clear();
    trouble_.clear();
    return false;
}

bool ProgressBar::after(Eggroll& es, Report& report) {
    done_ = es.generation();
    status_ = options_.status(report);
    const auto above = [&](const std::string& text) {
        *out_ << (terminal_ ? "\r\33[K" : "") << text << std::endl;
    };
    if (report.trouble != trouble_) {
        trouble_ = report.trouble;
        if (!trouble_.empty()) {
            above("generation " + std::to_string(report.generation) + ": " + trouble_);
            shown_at_ = -std::numeric_limits<double>::infinity();
        }
    }
    const std::string line = options_.line ? options_.line(report) : std::string();
    const double now = options_.clock();
    if (!line.empty()) {
        above(line);
        shown_at_ = terminal_ ? -std::numeric_limits<double>::infinity() : now;
        if (!terminal_) shown_ = done_;
    }
    const double waited = now - shown_at_;
    const bool due = terminal_
                         ? waited >= kRedrawSeconds || shown_ == first_
                         : waited >= options_.line_seconds ||
                               (done_ - shown_) >= std::max<int64_t>(1, (until_ - first_) / 10);
    if (due) show(now);
    return false;
}

void ProgressBar::end(const Eggroll&) {
    if (shown_ != done_) show(options_.clock());
    if (terminal_ && done_ != first_) *out_ << std::endl;
}

std::string ProgressBar::rate_and_rest(double now) const {
    const double seconds = now - start_;
    if (!(seconds > 0)) return "";
    const double rate = static_cast<double>(done_ - first_) / seconds;
    char text[32];
    std::snprintf(text, sizeof text, "  %.3g/s  ", rate);
    const int64_t rest = std::max<int64_t>(0, until_ - done_);
    return text + clock_text(static_cast<double>(rest) / rate) + " left";
}

void ProgressBar::show(double now) {
    std::string line;
    if (terminal_) {
        const int64_t until = std::max<int64_t>(until_, 1);
        const double part = std::min(1.0, static_cast<double>(done_) / static_cast<double>(until));
        const auto full = static_cast<size_t>(static_cast<double>(kWidth) * part);
        char percent[16];
        std::snprintf(percent, sizeof percent, "] %3d %%", static_cast<int>(100 * part));
        // "\33[K" clears what an earlier, longer text left on the line.
        line = "\r[" + std::string(full, '=') + std::string(kWidth - full, ' ') + percent +
               rate_and_rest(now) + "  " + status_ + "\33[K";
        *out_ << line << std::flush;
    } else {
        line = std::to_string(done_) + "/" + std::to_string(until_) + rate_and_rest(now) + "  " +
               status_;
        *out_ << line << std::endl;
    }
    shown_ = done_;
    shown_at_ = now;
}

}  // namespace eggroll
