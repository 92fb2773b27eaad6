// SPDX-License-Identifier: MIT
#pragma once

#include <eggroll/strategy.h>

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string_view>

// Scores of what a candidate gives: 1 is perfect, 0 as bad as can be, higher is better. As fitness
// or as parts of one. NaN in what is scored gives NaN, which a strategy takes for the worst.

namespace eggroll::score {

/// 1 within the tolerance of the target, beyond it 1/(1 + (|value − target| − tolerance)/scale):
/// 1/2 one `scale` further off, towards 0 at infinity, never flat. Throws Error unless target is
/// finite, tolerance >= 0 and scale > 0.
EGGROLL_API double numeric(double value, double target, double tolerance, double scale = 1.0);
/// The mean of it over a member's elements: y (...) and target of the same part shape -> one value
/// a member (V) for a per-member y, else one value ().
EGGROLL_API Tensor numeric(const Tensor& y, const Tensor& target, float tolerance,
                           float scale = 1.0f);

/// Share of equal entries. Of texts: positions that hold the same byte, of those of the longer one;
/// 1 when both are empty. Of arrays: throws Error when their sizes differ or are 0.
EGGROLL_API double exact(std::string_view a, std::string_view b);
EGGROLL_API double exact(std::span<const int32_t> a, std::span<const int32_t> b);
EGGROLL_API double exact(std::span<const float> a, std::span<const float> b);
/// y (...) and target of the same part shape -> (V) or ().
EGGROLL_API Tensor exact(const Tensor& y, const Tensor& target);

/// Share of rows classified right: logits (...,C) and labels (...) int32 as `accuracy`.
EGGROLL_API Tensor classification(const Tensor& logits, const Tensor& labels);
/// The same of labels that were predicted.
EGGROLL_API double classification(std::span<const int32_t> predicted,
                                  std::span<const int32_t> labels);

/// One part of a composite.
template <class Of>
struct Component {
    std::string name;
    double weight;
    std::function<double(const Of&)> score;
};

/// A composite's score and those of its parts, in their order.
struct Scored {
    double score = 0;
    std::vector<double> parts;
};

/// Σ w f / Σ w over parts that each have a score for the same thing, a Member if nothing else is
/// said; itself a fitness of one:
///
///     score::Composite fitness{{"accuracy", 3, [&](const Member& m) { return ...; }},
///                              {"size", 1, [&](const Member& m) { return ...; }}};
///     es.step(fitness);
///
/// NaN of any part makes the whole NaN, even where its weight is 0. Throws Error when there is no
/// part, a name is empty or used twice, a part has no function, a weight is negative or not finite,
/// or all of them are 0.
template <class Of = Member>
class Composite {
public:
    Composite(std::initializer_list<Component<Of>> parts)
        : Composite(std::vector<Component<Of>>(parts)) {}
    explicit Composite(std::vector<Component<Of>> parts);

    double operator()(const Of& of) const { return scored(of).score; }
    /// With the score of each part.
    Scored scored(const Of& of) const;
    const std::vector<Component<Of>>& parts() const { return parts_; }

private:
    std::vector<Component<Of>> parts_;
};

namespace detail {
/// What a composite knows of a part whatever it is of.
struct Part {
    std::string name;
    double weight;
    bool has_score;
};
EGGROLL_API void check_parts(std::span<const Part> parts);
}  // namespace detail

template <class Of>
Composite<Of>::Composite(std::vector<Component<Of>> parts) : parts_(std::move(parts)) {
    std::vector<detail::Part> known;
    for (const Component<Of>& part : parts_) {
        known.push_back({part.name, part.weight, static_cast<bool>(part.score)});
    }
    detail::check_parts(known);
}

template <class Of>
Scored Composite<Of>::scored(const Of& of) const {
    Scored result;
    double weights = 0;
    for (const Component<Of>& part : parts_) {
        result.parts.push_back(part.score(of));
        result.score += part.weight * result.parts.back();
        weights += part.weight;
    }
    result.score /= weights;
    return result;
}

}  // namespace eggroll::score
