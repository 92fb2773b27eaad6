// SPDX-License-Identifier: MIT
#pragma once

#include <eggroll/train.h>

#include <functional>
#include <iosfwd>
#include <optional>
#include <string>

namespace eggroll {

struct ProgressBarOptions {
    /// A few words on a generation; empty: its mean and best fitness, and how many members had
    /// none.
    std::function<std::string(const Report&)> status = {};
    /// A line about a generation that stays, above the bar; where there is none it takes the place
    /// of a line of progress. Empty text: none this time.
    std::function<std::string(const Report&)> line = {};
    /// Whether the output is a terminal, where one line is overwritten, ten times a second. Unset:
    /// it is when it is std::cout, std::cerr or std::clog and that leads to one.
    std::optional<bool> terminal = {};
    /// Elsewhere there is a line for every tenth of the way, and one so often, in seconds, > 0.
    double line_seconds = 60;
    /// Seconds that go by; empty: of a steady clock.
    std::function<double()> clock = {};
};

/// Shows how far a run is, its rate in generations a second and the time left, which are of this
/// run: what was done before it was resumed does not count. Tells trouble on a line of its own when
/// it comes or is another, so it is shown after all else.
class EGGROLL_API ProgressBar : public Callback {
public:
    /// `out` must outlive this. Throws Error for an option out of range.
    explicit ProgressBar(std::ostream& out, ProgressBarOptions options = {});

    Stage stage() const override { return Stage::show; }
    bool begin(const Eggroll& es, int64_t until) override;
    bool after(Eggroll& es, Report& report) override;
    /// Leaves the last state to be seen.
    void end(const Eggroll& es) override;

private:
    std::string rate_and_rest(double now) const;
    void show(double now);

    std::ostream* out_;
    ProgressBarOptions options_;
    bool terminal_;
    int64_t first_ = 0, done_ = 0, until_ = 0;
    int64_t shown_ = 0;  // done_ when it was last shown
    double start_ = 0, shown_at_ = 0;
    std::string status_;
    std::string trouble_;  // that was told last
};

}  // namespace eggroll
