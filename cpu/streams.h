// SPDX-License-Identifier: MIT
#pragma once

#include "core/backend.h"
#include "core/noise_math.h"
#include "cpu/isa.h"

namespace eggroll::EGGROLL_CPU_NS {

/// The stream of one parameter for a pair of the generation under way.
static inline NoiseStream stream_of(const detail::GenerationBlock& block, uint32_t parameter,
                                    int64_t pair) {
    return {block.seed, parameter, static_cast<uint32_t>(pair), block.noise_generation};
}

using detail::offset_of_a;

}  // namespace eggroll::EGGROLL_CPU_NS
