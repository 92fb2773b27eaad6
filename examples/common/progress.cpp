// SPDX-License-Identifier: MIT

#include "progress.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace examples {

namespace {

constexpr int kBarWidth = 30;
constexpr auto kRedraw = std::chrono::milliseconds(100);

std::string minutes(double seconds) {
    const auto whole = static_cast<long>(seconds + 0.5);
    char text[32];
    std::snprintf(text, sizeof text, "%ld:%02ld", whole / 60, whole % 60);
    return text;
}

}  // namespace

Progress::Progress(int64_t total, int64_t done)
    : total_(std::max<int64_t>(total, 1)),
      first_(done),
      done_(done),
      told_(done),
      terminal_(isatty(STDOUT_FILENO) == 1),
      start_(Clock::now()),
      last_drawn_(start_ - kRedraw) {}

Progress::~Progress() {
    clear();
}

void Progress::update(int64_t done, const std::string& status) {
    done_ = done;
    if (terminal_) {
        const auto now = Clock::now();
        if (now - last_drawn_ < kRedraw) return;
        last_drawn_ = now;
        draw(status);
    } else if ((done - told_) * 10 >= total_) {
        line(std::to_string(done) + "/" + std::to_string(total_) + rate_and_rest() + "  " + status);
    }
}

void Progress::line(const std::string& text) {
    clear();
    std::printf("%s\n", text.c_str());
    std::fflush(stdout);
    told_ = done_;
}

std::string Progress::rate_and_rest() const {
    const double seconds = std::chrono::duration<double>(Clock::now() - start_).count();
    if (done_ == first_ || seconds <= 0) return "";
    const double rate = static_cast<double>(done_ - first_) / seconds;
    char text[64];
    std::snprintf(text, sizeof text, "  %.3g/s  %s left", rate,
                  minutes(static_cast<double>(total_ - done_) / rate).c_str());
    return text;
}

void Progress::draw(const std::string& status) {
    const auto full = static_cast<size_t>(kBarWidth * std::min(done_, total_) / total_);
    const std::string bar = std::string(full, '=') + std::string(kBarWidth - full, ' ');
    // "\33[K" clears what an earlier, longer text left on the line.
    std::printf("\r[%s] %3d %%%s  %s\33[K", bar.c_str(),
                static_cast<int>(100 * std::min(done_, total_) / total_), rate_and_rest().c_str(),
                status.c_str());
    std::fflush(stdout);
    drawn_ = true;
}

void Progress::clear() {
    if (!drawn_) return;
    std::printf("\r\33[K");
    std::fflush(stdout);
    drawn_ = false;
}

}  // namespace examples
