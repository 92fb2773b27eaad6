// SPDX-License-Identifier: MIT
// Vector parameters as members see them.
#include "cpu/kernels.h"
#include "cpu/memory.h"
#include "cpu/noise.h"
#include "cpu/streams.h"

namespace eggroll::EGGROLL_CPU_NS {

using cpu::Scratch;

void perturb_vector(const Members& members, const Operand& b, int64_t n, float* y) {
    Scratch noise(n);
    int64_t drawn = -1;
    for (int64_t m = 0; m < members.count; ++m) {
        const int64_t member = members.first + m, pair = members.pair_of(member);
        if (pair != drawn) {
            fill_normal(stream_of(*members.block, b.parameter, pair), 0, noise.data(), n);
            drawn = pair;
        }
        const float scale = members.sign_of(member) * (members.block->sigma * b.sigma_scale);
        for (int64_t i = 0; i < n; ++i) y[m * n + i] = b.value[i] + scale * noise.data()[i];
    }
}

}  // namespace eggroll::EGGROLL_CPU_NS
