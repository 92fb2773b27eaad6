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

<<<<<<< HEAD
/// One element of one row; the noise of its row of A and of its row of B.
struct Embedding {
    Members members;
    Operand table;
    const int32_t* ids;
    bool own_ids;
    int64_t batch, rows, cols;
    float* y;

    __device__ void operator()(int64_t i) const {
        const int64_t e = i % cols, row = i / cols;
        const int64_t id = ids[members.count == 0 || own_ids ? row : row % batch];
        if (id < 0 || id >= rows) {  // ids on the device were not checked
            y[i] = NAN;
            return;
        }
        float value = table.value[id * cols + e];
        if (members.count > 0) {
            const int64_t member = members.first + row / batch;
            const NoiseStream stream =
                stream_of(*members.block, table.parameter, members.pair_of(member));
            const auto rank = static_cast<uint64_t>(table.rank);
            const uint64_t a0 = offset_of_a(cols, table.rank) + static_cast<uint64_t>(id) * rank;
            const uint64_t b0 = static_cast<uint64_t>(e) * rank;
            float sum = 0.0f;
            for (uint64_t k = 0; k < rank; ++k) {
                float a[1], b[1];
                draw_run<1>(stream, a0 + k, a);
                draw_run<1>(stream, b0 + k, b);
                sum = fmaf(a[0], b[0], sum);
            }
            const float scale =
                members.block->sigma * table.sigma_scale / sqrtf(static_cast<float>(table.rank));
            value += members.sign_of(member) * scale * sum;
        }
        y[i] = value;
    }
};

=======
>>>>>>> cb8af8f (Embedding, Conv2d, pooling, RMSNorm, Residual, GRU and the minimal GRU: layers that models need next; rows of a perturbed table draw each pair's noise once for both signs)
}  // namespace

void perturb_vector(const Members& members, const Operand& b, int64_t n, float* y) {
    const int64_t pairs =
        members.pair_of(members.first + members.count - 1) - members.pair_of(members.first) + 1;
    const int64_t quads = blocks_of(n, 4);
    for_each("perturb_vector", pairs * quads, PerturbVector{members, b, n, quads, y});
}

<<<<<<< HEAD
void embedding(const Members& members, const Operand& table, int64_t rows, const int32_t* ids,
               bool own_ids, int64_t batch, int64_t cols, float* y) {
    if (members.count > 0 && table.law.kind != LawKind::low_rank) {
        return embedding_by_law(members, table, rows, ids, own_ids, batch, cols, y);
    }
    const int64_t all = (members.count > 0 ? members.count : 1) * batch;
    for_each("embedding", all * cols,
             Embedding{members, table, ids, own_ids, batch, rows, cols, y});
}

=======
>>>>>>> cb8af8f (Embedding, Conv2d, pooling, RMSNorm, Residual, GRU and the minimal GRU: layers that models need next; rows of a perturbed table draw each pair's noise once for both signs)
}  // namespace eggroll::cuda
