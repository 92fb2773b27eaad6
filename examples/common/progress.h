// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace examples {

/// Shows on stdout how far a run is: a bar with rate and time left on a terminal, else a plain line
/// whenever a tenth of the way went by without one.
class Progress {
public:
    /// Of a run that has come to `done` already.
    explicit Progress(int64_t total, int64_t done = 0);
    ~Progress();
    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;

    /// `status` is a short word on the run, such as the latest fitness.
    void update(int64_t done, const std::string& status);
    /// Prints a line that stays, above the bar.
    void line(const std::string& text);

private:
    using Clock = std::chrono::steady_clock;

    std::string rate_and_rest() const;
    void draw(const std::string& status);
    void clear();

    int64_t total_, first_, done_, told_;
    bool terminal_, drawn_ = false;
    Clock::time_point start_, last_drawn_;
};

}  // namespace examples
