// SPDX-License-Identifier: MIT
// The family of shapings by name, and the one that is computed on the host: the user's own.
#include "core/shaping.h"

#include "core/fitness.h"
#include "core/noise_law.h"
#include "core/strategy.h"
#include "core/text.h"

#include <cmath>
#include <utility>

namespace eggroll {

using detail::ShapingAccess;
using detail::ShapingKind;

float no_result() {
    return std::bit_cast<float>(detail::kNoResult);
}

bool is_no_result(float fitness) {
    return detail::is_no_result_bits(fitness);
}

std::string Shaping::describe() const {
    if (kind_ != ShapingKind::groups) return name_;
    return name_ + "(size=" + std::to_string(group_size_) +
           ",spread=" + (spread_ == Spread::global ? "global" : "group") + ")";
}

namespace shaping {

Shaping z_score() {
    return ShapingAccess::make("z_score", ShapingKind::z_score);
}

Shaping centre() {
    return ShapingAccess::make("centre", ShapingKind::centre);
}

Shaping centred_rank() {
    return ShapingAccess::make("centred_rank", ShapingKind::centred_rank);
}

Shaping sign_of_pair() {
    return ShapingAccess::make("sign_of_pair", ShapingKind::sign_of_pair);
}

Shaping groups(int64_t size, Spread spread) {
    if (size < 2) {
        throw Error("[shaping::groups] size must be at least 2 but is " + std::to_string(size));
    }
    if (spread != Spread::global && spread != Spread::group) {
        throw Error("[shaping::groups] spread must be global or group but is " +
                    std::to_string(static_cast<int>(spread)));
    }
    return ShapingAccess::make_groups(size, spread);
}

Shaping none() {
    return ShapingAccess::make("none", ShapingKind::none);
}

Shaping against_first() {
    return ShapingAccess::make("against_first", ShapingKind::against_first);
}

Shaping own(std::string name,
            std::function<void(std::span<const float>, std::span<float>)> function) {
    if (name.empty()) throw Error("[shaping::own] a shaping of one's own must have a name");
    if (!function) throw Error("[shaping::own] \"" + name + "\" has no function");
    return ShapingAccess::make_own(std::move(name), std::move(function));
}

}  // namespace shaping

namespace detail {

Shaping ShapingAccess::make(std::string name, ShapingKind kind) {
    Shaping made;
    made.name_ = std::move(name);
    made.kind_ = kind;
    return made;
}

Shaping ShapingAccess::make_groups(int64_t size, Spread spread) {
    Shaping made = make("groups", ShapingKind::groups);
    made.group_size_ = size;
    made.spread_ = spread;
    return made;
}

Shaping ShapingAccess::make_own(
    std::string name, std::function<void(std::span<const float>, std::span<float>)> function) {
    Shaping made = make(std::move(name), ShapingKind::own);
    made.function_ = std::move(function);
    return made;
}

Shaping ShapingAccess::chosen(const Options& options) {
    const Shaping& given = options.shaping;
    if (NoiseLawAccess::is_baseline(options.noise)) {
        // Any other would weigh member 0 by noise that it does not have.
        if (!options.normalize_fitness ||
            (!given.name_.empty() && given.kind_ != ShapingKind::against_first)) {
            throw Error("[Options] noise \"" + options.noise.name() +
                        "\" goes with shaping \"against_first\" but it is \"" +
                        (given.name_.empty() ? "centre" : given.describe()) + "\"");
        }
        return shaping::against_first();
    }
    if (given.name_.empty()) {
        return options.normalize_fitness ? shaping::z_score() : shaping::centre();
    }
    const auto refuse = [&](const std::string& why) {
        throw Error("[Options] shaping \"" + given.describe() + "\" " + why);
    };
    if (!options.normalize_fitness && given.kind_ != ShapingKind::centre) {
        refuse("and normalize_fitness = false, which is shaping \"centre\", exclude each other");
    }
    if (given.kind_ == ShapingKind::sign_of_pair && !options.antithetic) {
        refuse("needs pairs, but antithetic is false");
    }
    if (given.kind_ == ShapingKind::against_first && options.antithetic) {
        refuse("compares with member 0 alone, but antithetic is true");
    }
    if (given.kind_ == ShapingKind::groups) {
        if (options.pop_size % given.group_size_ != 0) {
            refuse("does not divide pop_size " + std::to_string(options.pop_size));
        }
        if (options.antithetic && given.group_size_ % 2 != 0) {
            refuse("would part a pair: its size must be even with antithetic sampling");
        }
    }
    return given;
}

ShapingArgs ShapingAccess::args(const Shaping& shaping, const Options& options) {
    ShapingArgs args{};
    args.pop_size = options.pop_size;
    args.antithetic = options.antithetic;
    args.kind = shaping.kind_;
    args.drop = options.non_finite == NonFinite::drop;
    args.group_size = shaping.group_size_;
    args.spread = shaping.spread_;
    return args;
}

Tensor Strategy::shape_on_host(RunState* run, const Tensor& fitness) const {
    const int64_t n = options.pop_size;
    std::vector<float> members(static_cast<size_t>(n)), shaped(static_cast<size_t>(n));
    // The statistics are those of a shaping that leaves the fitness as it is.
    FitnessStats stats;
    ShapingArgs args = ShapingAccess::args(shaping::none(), options);
    args.fitness = TensorAccess::floats(fitness);
    args.weights = shaped.data();
    args.stats = &stats;
    cpu_backend().shape_fitness(args);
    const SeenFitness seen{args.fitness, args.antithetic, args.drop, stats.worst};
    const auto counts = [&](int64_t p) { return stats.used > 0 && seen.counts(p); };
    for (int64_t p = 0; p < n; ++p) {
        members[static_cast<size_t>(p)] =
            counts(p) ? static_cast<float>(seen.value(p)) : no_result();
    }
    std::fill(shaped.begin(), shaped.end(), 0.0f);
    if (stats.used > 0) ShapingAccess::call(shaping, members, shaped);

    Tensor weights = TensorAccess::make({options.antithetic ? n / 2 : n}, Device::cpu());
    const auto value = [&](int64_t p) {
        const float f = counts(p) ? shaped[static_cast<size_t>(p)] : 0.0f;
        if (!std::isfinite(f)) {
            throw Error("[tell] shaping \"" + shaping.name() + "\" gives member " +
                        std::to_string(p) + " the weight " + number(f) + "; nothing was changed");
        }
        return static_cast<double>(f);
    };
    for (int64_t j = 0; j < weights.size(); ++j) {
        TensorAccess::floats(weights)[j] =
            static_cast<float>(options.antithetic ? value(2 * j) - value(2 * j + 1) : value(j));
    }
    TensorAccess::backend(run_).copy_from_host(&run->stats, &stats, sizeof(stats));
    return weights.to(run_.device());
}

}  // namespace detail
}  // namespace eggroll
