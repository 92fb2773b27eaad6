// SPDX-License-Identifier: MIT
#pragma once

#include "core/backend.h"

#include <eggroll/strategy.h>

namespace eggroll::detail {

/// What the strategy knows of a shaping and users do not.
struct ShapingAccess {
    static Shaping make(std::string name, ShapingKind kind);
    static Shaping make_groups(int64_t size, Spread spread);
    static Shaping make_own(std::string name,
                            std::function<void(std::span<const float>, std::span<float>)> function);
    static ShapingKind kind(const Shaping& shaping) { return shaping.kind_; }
    /// The one of the options, or the default; throws Error when it does not fit the others.
    static Shaping chosen(const Options& options);
    /// All but the addresses.
    static ShapingArgs args(const Shaping& shaping, const Options& options);
    /// f̂ (P) by the user's own function.
    static void call(const Shaping& shaping, std::span<const float> fitness,
                     std::span<float> shaped) {
        shaping.function_(fitness, shaped);
    }
};

}  // namespace eggroll::detail
