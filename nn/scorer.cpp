// SPDX-License-Identifier: MIT
#include <eggroll/scorer.h>

#include "core/text.h"

#include <eggroll/loss.h>
#include <eggroll/ops.h>

#include <algorithm>
#include <cmath>

namespace eggroll {

namespace score {

using eggroll::detail::in_quotes;
using eggroll::detail::number;

namespace {

void check_numeric(double target, double tolerance, double scale) {
    if (!std::isfinite(target)) {
        throw Error("[score::numeric] the target must be finite but is " + number(target));
    }
    if (!(tolerance >= 0.0) || !(scale > 0.0)) {
        throw Error("[score::numeric] needs tolerance >= 0 and scale > 0 but they are " +
                    number(tolerance) + " and " + number(scale));
    }
}

template <class T>
double share_of_equal(std::span<const T> a, std::span<const T> b) {
    if (a.size() != b.size() || a.empty()) {
        throw Error("[score::exact] " + std::to_string(a.size()) + " entries against " +
                    std::to_string(b.size()));
    }
    size_t same = 0;
    for (size_t i = 0; i < a.size(); ++i) {
        if (a[i] != a[i] || b[i] != b[i]) return std::nan("");
        same += a[i] == b[i];
    }
    return static_cast<double>(same) / static_cast<double>(a.size());
}

void require_same_part(const char* op, const Tensor& y, const Tensor& target) {
    if (y.part_shape() != target.part_shape() || y.size() == 0) {
        throw Error(std::string("[") + op + "] y has parts of " + to_string(y.part_shape()) +
                    " but the target of " + to_string(target.part_shape()));
    }
}

}  // namespace

double numeric(double value, double target, double tolerance, double scale) {
    check_numeric(target, tolerance, scale);
    const double off = std::fabs(value - target);
    return off <= tolerance ? 1.0 : 1.0 / (1.0 + (off - tolerance) / scale);
}

Tensor numeric(const Tensor& y, const Tensor& target, float tolerance, float scale) {
    check_numeric(0.0, static_cast<double>(tolerance), static_cast<double>(scale));
    require_same_part("score::numeric", y, target);
    return mean(1.0f / (relu(abs(y - target) - tolerance) / scale + 1.0f));
}

double exact(std::string_view a, std::string_view b) {
    const size_t longer = std::max(a.size(), b.size()), shorter = std::min(a.size(), b.size());
    if (longer == 0) return 1.0;
    size_t same = 0;
    for (size_t i = 0; i < shorter; ++i) same += a[i] == b[i];
    return static_cast<double>(same) / static_cast<double>(longer);
}

double exact(std::span<const int32_t> a, std::span<const int32_t> b) {
    return share_of_equal(a, b);
}

double exact(std::span<const float> a, std::span<const float> b) {
    return share_of_equal(a, b);
}

Tensor exact(const Tensor& y, const Tensor& target) {
    require_same_part("score::exact", y, target);
    // 0 of what is finite; NaN stays NaN.
    const Tensor off = minimum(abs(y - target), Tensor::full({}, 0.0f, y.device()));
    return mean(equal(y, target) + off);
}

Tensor classification(const Tensor& logits, const Tensor& labels) {
    return accuracy(logits, labels);
}

double classification(std::span<const int32_t> predicted, std::span<const int32_t> labels) {
    return exact(predicted, labels);
}

namespace detail {

void check_parts(std::span<const Part> parts) {
    double sum = 0;
    for (size_t i = 0; i < parts.size(); ++i) {
        const Part& part = parts[i];
        const auto fail = [&](const std::string& what) {
            throw Error("[score::Composite] part " + in_quotes(part.name) + " " + what);
        };
        if (part.name.empty()) fail("needs a name");
        if (!part.has_score) fail("has no function");
        if (!(part.weight >= 0.0) || !std::isfinite(part.weight)) {
            fail("has a weight of " + number(part.weight) + ", but it must be finite and >= 0");
        }
        for (size_t j = 0; j < i; ++j) {
            if (parts[j].name == part.name) fail("is there already");
        }
        sum += part.weight;
    }
    if (!(sum > 0.0) || !std::isfinite(sum)) {
        throw Error("[score::Composite] the weights of its " + std::to_string(parts.size()) +
                    " parts add up to " + number(sum));
    }
}

}  // namespace detail

}  // namespace score

}  // namespace eggroll
