// SPDX-License-Identifier: MIT
#pragma once

#include "core/backend.h"
#include "cpu/isa.h"

namespace eggroll::EGGROLL_CPU_NS {

/// The stream of one parameter for a pair of the generation under way.
static inline NoiseStream stream_of(const detail::GenerationBlock& block, uint32_t parameter,
                                    int64_t pair) {
    return {block.seed, parameter, static_cast<uint32_t>(pair), block.generation};
}

/// Where A begins in a matrix's stream: after B (I,r), on a block of four.
static inline uint64_t offset_of_a(int64_t inputs, int64_t rank) {
    return (static_cast<uint64_t>(inputs) * static_cast<uint64_t>(rank) + 3) / 4 * 4;
}

}  // namespace eggroll::EGGROLL_CPU_NS
