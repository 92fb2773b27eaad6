// SPDX-License-Identifier: MIT
#pragma once

#include "tests/cases.h"
#include "tests/reference.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <memory>
#include <vector>

namespace eggroll::test {

/// The largest deviation of each way to a member, in units of its bound.
struct Worst {
    double copied = 0, alone = 0, shared = 0, own_input = 0;

    double all() const { return std::max({copied, alone, shared, own_input}); }
};

/// Compares every member of the open generation, reached in each way there is.
inline Worst compare_members(const NetworkCase& of, const nn::Module& model, const Options& options,
                             const Population& population) {
    const Tensor x = random_tensor({of.batch, of.widths[0]}, 1);
    const Tensor xs = random_tensor({of.pop_size, of.batch, of.widths[0]}, 2);
    const Tensor shared = population.forward(x), own = population.forward(per_member(xs));
    const Shape expected{of.pop_size, of.batch, of.widths.back()};
    REQUIRE(shared.shape() == expected);
    REQUIRE(own.shape() == expected);
    REQUIRE(shared.is_per_member());
    REQUIRE(own.is_per_member());

    const std::unique_ptr<nn::Module> copy = model.clone();
    Worst worst;
    const auto keep = [](double& most, double value) { most = std::max(most, value); };
    for (int64_t p = 0; p < of.pop_size; ++p) {
        const std::vector<reference::MemberParameter> weights = reference::member_parameters(
            model, reference::law_of(options), p, population.generation(), options.param_filter);
        const std::vector<reference::Bounded> y = reference::forward(of, weights, host(x));
        keep(worst.shared, reference::excess(part(shared, p), y));
        const std::vector<float> rows = part(per_member(xs), p);
        keep(worst.own_input,
             reference::excess(part(own, p), reference::forward(of, weights, rows)));

        if (is_slow() && p % 3 != 0) continue;  // each by itself takes launches of its own
        const Member member = population.member(p);
        member.copy_to(*copy);
        const std::vector<std::vector<float>> copied = values_of(*copy);
        REQUIRE(copied.size() == weights.size());
        for (size_t i = 0; i < weights.size(); ++i) {
            keep(worst.copied, reference::excess(copied[i], weights[i].materialised()));
        }
        const Tensor alone = member(x);
        REQUIRE_FALSE(alone.is_per_member());
        keep(worst.alone, reference::excess(host(alone), y));
    }
    return worst;
}

/// Rows of a table as a model.
class Table : public nn::Module {
public:
    Table(int64_t rows, int64_t cols) {
        table_ = register_parameter("weight", {rows, cols}, nn::init::normal(1.0f));
    }
    Tensor forward(const Tensor& ids, const View& v) const override {
        return embedding(ids, table_, v);
    }

private:
    Tensor table_;
};

}  // namespace eggroll::test
