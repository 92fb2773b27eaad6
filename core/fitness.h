// SPDX-License-Identifier: MIT
#pragma once

// Which members shaping sees, and as what; one text for all backends.

#include <bit>
#include <cstdint>

namespace eggroll::detail {

/// A quiet NaN that no arithmetic makes by itself.
constexpr uint32_t kNoResult = 0x7FC0E99Au;  // not inline: kernels of each kind have their own

constexpr bool is_finite_fitness(float f) {
    return f - f == 0.0f;
}

constexpr bool is_no_result_bits(float f) {
    return (std::bit_cast<uint32_t>(f) & 0x7FFFFFFFu) == kNoResult;
}

/// What a deviation from the mean is multiplied by: one over the standard deviation, if that is
/// large enough to divide by.
constexpr double scale_of(double std) {
    return std > 1e-8 ? 1.0 / std : 1.0;
}

/// The fitness (P) as shaping sees it.
struct SeenFitness {
    const float* fitness;
    bool antithetic;
    bool drop;     // NonFinite::drop
    double worst;  // of the finite ones

    constexpr bool gone(int64_t member) const {
        const float f = fitness[member];
        return !is_finite_fitness(f) && (drop || is_no_result_bits(f));
    }
    /// Whether the member counts: neither it nor its pair is dropped.
    constexpr bool counts(int64_t member) const {
        return !gone(member) && !(antithetic && gone(member ^ 1));
    }
    /// Of a member that counts.
    constexpr double value(int64_t member) const {
        const float f = fitness[member];
        return is_finite_fitness(f) ? static_cast<double>(f) : worst;
    }
};

/// What the evaluations (k) of one member come to: the mean of those with a result, added in rising
/// order; NaN if one is not finite, no_result() if there is none.
constexpr float mean_evaluation(const float* fitness, int64_t k) {
    double sum = 0.0;
    int64_t count = 0;
    bool broken = false;
    for (int64_t e = 0; e < k; ++e) {
        if (is_finite_fitness(fitness[e])) {
            sum += static_cast<double>(fitness[e]);
            ++count;
        } else if (!is_no_result_bits(fitness[e])) {
            broken = true;
        }
    }
    if (broken) return std::bit_cast<float>(0x7FC00000u);
    if (count == 0) return std::bit_cast<float>(kNoResult);
    return static_cast<float>(sum / static_cast<double>(count));
}

}  // namespace eggroll::detail
