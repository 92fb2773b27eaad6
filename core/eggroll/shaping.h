// SPDX-License-Identifier: MIT
#pragma once

#include <eggroll/export.h>

#include <cstdint>
#include <functional>
#include <span>
#include <string>

namespace eggroll {

namespace detail {
enum class ShapingKind : int;
struct ShapingAccess;
}  // namespace detail

/// What a fitness counts that is NaN or infinite.
enum class NonFinite {
    worst,  // as the worst finite one
    drop,   // nothing: the pair (without antithetic sampling the member) gets weight 0 and is left
            // out of the statistics and ranks of the shaping
    error,  // telling it throws Error naming member and value, and changes nothing
};

/// The fitness of a member that has none, because its evaluation failed: it and its pair are
/// dropped, whatever the policy. A quiet NaN with bits of its own.
EGGROLL_API float no_result();
/// Whether a fitness is that NaN; negating it, copying it to and from a device, and converting it
/// to double and back keep it.
EGGROLL_API bool is_no_result(float fitness);

/// Of what a group's fitness is divided by.
enum class Spread { global, group };

/// How fitness f becomes the weight f̂ of a member in the update, g = √P · (1/P) Σ f̂_p (θ_p − θ).
/// A value; the functions of namespace `shaping` make them.
class EGGROLL_API Shaping {
public:
    /// None chosen: `z_score`, or `centre` with Options::normalize_fitness = false.
    Shaping() = default;

    /// "z_score"; empty when none is chosen.
    const std::string& name() const { return name_; }
    /// Name and parameters, "groups(size=8,spread=global)": equal for shapings that are.
    std::string describe() const;

private:
    friend struct detail::ShapingAccess;

    std::string name_;
    detail::ShapingKind kind_{};
    int64_t group_size_ = 0;
    Spread spread_ = Spread::global;
    std::function<void(std::span<const float>, std::span<float>)> function_;
};

// Means and (unbiased) standard deviations are over the members that are not dropped, in double and
// in an order that no number of threads changes. A deviation of 1e-8 or less divides nothing.
namespace shaping {

/// f̂ = (f − mean)/std.
EGGROLL_API Shaping z_score();
/// f̂ = f − mean.
EGGROLL_API Shaping centre();
/// f̂ = rank/(n−1) − 1/2, from −1/2 for the worst of n to 1/2 for the best (Salimans et al. 2017);
/// equal ones share the mean of their ranks, and 0 and −0 are equal.
EGGROLL_API Shaping centred_rank();
/// Of a pair only which of the two is better counts: f̂_2j − f̂_2j+1 = sign(f_2j − f_2j+1), 0 when
/// they are equal. Needs Options::antithetic.
EGGROLL_API Shaping sign_of_pair();
/// For members g·size .. g·size+size−1 that saw the same data: f̂ = (f − m)/s with the mean m of
/// the group, and s the standard deviation in the group, or (global) of f − m about 0 over all n
/// members, √(Σ(f − m)²/(n−1)). `size` must divide the population, be at least 2, and even with
/// antithetic sampling.
EGGROLL_API Shaping groups(int64_t size, Spread spread = Spread::global);
/// f̂ = f: what all members have in common moves the parameters too, unless pairs cancel it.
EGGROLL_API Shaping none();
/// f̂_p = (f_p − f_0)/std with the deviation of members 1.. and f̂_0 = 0: member 0 is the baseline.
/// Needs antithetic = false. There is no update when member 0 is dropped.
EGGROLL_API Shaping against_first();
/// One's own: function(fitness, shaped) reads P values and writes P. It runs on the host, which
/// waits for the fitness. A dropped member shows as no_result() and what is written for it does not
/// count; without any finite fitness it is not called. When a value it writes is not finite, `tell`
/// throws Error and nothing has changed.
EGGROLL_API Shaping own(std::string name,
                        std::function<void(std::span<const float>, std::span<float>)> function);

}  // namespace shaping
}  // namespace eggroll
