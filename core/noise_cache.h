// SPDX-License-Identifier: MIT
#pragma once

#include "core/scope.h"

#include <memory>
#include <vector>

namespace eggroll::detail {

/// The factors of a generation that are kept once they are drawn, for the update and for further
/// passes: those of the first pairs, as many as a budget holds. The bits are the same without it.
class NoiseCache {
public:
    /// Keeps nothing.
    NoiseCache() = default;
    NoiseCache(const ParameterTable& table, int64_t streams, int64_t bytes, Device device,
               KeptMemory& memory);

    /// Null where nothing is kept.
    const KeptNoise* of(const TableEntry& entry) const;

private:
    Tensor values_;
    std::unique_ptr<std::atomic<uint8_t>[]> state_;  // (perturbed parameters, pairs)
    std::vector<KeptNoise> kept_;                    // by parameter
};

}  // namespace eggroll::detail
