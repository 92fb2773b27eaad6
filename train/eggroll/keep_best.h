// SPDX-License-Identifier: MIT
#pragma once

#include <eggroll/report_value.h>
#include <eggroll/train.h>

#include <filesystem>
#include <limits>
#include <optional>

namespace eggroll {

struct KeepBestOptions {
    /// Of a generation. What is kept is the centre its members were drawn around, as it was before
    /// the generation's update.
    ReportValue value = &Report::mean;
    /// In place of `value`: of the model as the update left it, which is then what is kept. NaN:
    /// not measured this time.
    std::function<double()> measure = {};
    /// A safetensors file for the best so far, replaced whole whenever there is a better one;
    /// empty: kept in memory only.
    std::filesystem::path path = {};
};

/// Keeps the parameters of the best generation so far, the earlier one of two alike; a value that
/// is not finite is none. It goes on counting from run to run; a run that was resumed, by another
/// process too, takes up what its file holds, and a run from generation 0 replaces the file. A file
/// that cannot be written is told in `report.trouble`, tried again after each generation, and an
/// Error at the end of the run.
class EGGROLL_API KeepBest : public Callback {
public:
    /// The model, all of whose parameters are kept, must outlive this.
    explicit KeepBest(nn::Module& model, KeepBestOptions options = {});
    KeepBest(KeepBest&&) = default;
    KeepBest& operator=(KeepBest&&) = default;

    /// Throws Error when no file can be put at `path`, and for one of a resumed run that is damaged
    /// or not of this model; one that is missing is told in the next report.
    void check(const Eggroll& es) const override;
    bool begin(const Eggroll& es, int64_t until) override;
    bool after(Eggroll& es, Report& report) override;
    void end(const Eggroll& es) override;

    /// The best value; NaN before there is one.
    double value() const { return value_; }
    /// Its generation; -1 before there is one.
    int64_t generation() const { return generation_; }
    /// Writes the parameters kept into the model. Throws Error before there are any.
    void restore() const;

private:
    using Values = std::vector<Tensor>;

    void copy_model(Values& to) const;
    struct Kept {
        Values values;
        double value;
        int64_t generation;
    };
    /// What the file of a run that was resumed holds; empty when there is none.
    std::optional<Kept> read() const;
    /// Whether the next run goes on from the file.
    bool goes_on(const Eggroll& es) const;
    void save();

    nn::Module* model_;
    KeepBestOptions options_;
    Values before_, best_;
    double value_ = std::numeric_limits<double>::quiet_NaN();
    int64_t generation_ = -1;
    bool saved_ = true, missing_ = false;
};

}  // namespace eggroll
