// SPDX-License-Identifier: MIT
#pragma once

namespace eggroll {

/// How the products x Wᵀ of a population's forward pass are computed: at least so exactly. Noise,
/// update, optimizer and the parameters themselves are float32 whatever is asked for, and so is
/// what a fitness sees. The CPU, and a GPU before compute capability 8, compute all three as f32.
enum class Precision {
    f32,   // float32 throughout
    tf32,  // float32 in memory; factors rounded to 11 bits where there are tensor cores
    bf16,  // between layers, a copy of W and a frozen bias for the pass, and what the noise adds to
           // a layer's outputs, once for every 8 ranks: bfloat16, 8 bits; sums in float32
};

}  // namespace eggroll
