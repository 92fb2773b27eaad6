// SPDX-License-Identifier: MIT
// Vector parameters as members see them.
#include "cuda/kernels.h"
#include "cuda/launch.h"
#include "cuda/noise.h"

namespace eggroll::cuda {

namespace {

/// Four elements of the vector of one pair, for its members.
struct PerturbVector {
    Members members;
    Operand b;
    int64_t n, quads;
    float* y;

    __device__ void operator()(int64_t item) const {
        const int64_t slot = item / quads, quad = item % quads;
        const int64_t pair = members.pair_of(members.first) + slot;
        float eps[4];
        draw_block(stream_of(*members.block, b.parameter, pair), static_cast<uint32_t>(quad), eps);
        const int64_t per_pair = members.antithetic ? 2 : 1;
        for (int64_t i = 0; i < per_pair; ++i) {
            const int64_t member = per_pair * pair + i, at = member - members.first;
            if (at < 0 || at >= members.count) continue;
            const float scale = members.sign_of(member) * (members.block->sigma * b.sigma_scale);
            for (int64_t l = 0; l < 4 && 4 * quad + l < n; ++l) {
                const int64_t e = 4 * quad + l;
                y[at * n + e] = b.value[e] + scale * eps[l];
            }
        }
    }
};

}  // namespace

void perturb_vector(const Members& members, const Operand& b, int64_t n, float* y) {
    const int64_t pairs =
        members.pair_of(members.first + members.count - 1) - members.pair_of(members.first) + 1;
    const int64_t quads = blocks_of(n, 4);
    for_each("perturb_vector", pairs * quads, PerturbVector{members, b, n, quads, y});
}

}  // namespace eggroll::cuda
