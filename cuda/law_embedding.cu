// SPDX-License-Identifier: MIT
// Rows of a table under laws of noise other than low_rank.
#include "core/fixed_order.h"
#include "cuda/law_sign.h"
#include "cuda/law_sparse.h"
#include "cuda/laws.h"
#include "cuda/linear_kernels.h"

namespace eggroll::cuda {

namespace {

/// One row of one member.
struct EmbeddingByLaw {
    Members members;
    Operand table;
    const int32_t* ids;
    bool own_ids;
    int64_t batch, rows, cols;
    float* y;

    __device__ void operator()(int64_t row) const {
        const int64_t id = ids[own_ids ? row : row % batch];
        float* to = y + row * cols;
        if (id < 0 || id >= rows) {  // ids on the device were not checked
            for (int64_t e = 0; e < cols; ++e) to[e] = NAN;
            return;
        }
        for (int64_t e = 0; e < cols; ++e) to[e] = table.value[id * cols + e];
        const int64_t member = members.first + row / batch;
        const NoiseStream stream =
            stream_of(*members.block, table.parameter, members.pair_of(member));
        const float sigma = members.sign_of(member) * (members.block->sigma * table.sigma_scale);
        if (table.law.kind == LawKind::full_rank) return add_dense(stream, id, sigma, to);
        if (table.law.kind == LawKind::sparse) return add_entries(stream, id, sigma, to);
        add_factors(stream, id, sigma, to);
    }

    __device__ void add_dense(const NoiseStream& s, int64_t id, float sigma, float* to) const {
        for (int64_t e = 0; e < cols; ++e) {
            float v[1];
            draw_run<1>(s, static_cast<uint64_t>(id * cols + e), v);
            to[e] += sigma * v[0];
        }
    }
    __device__ void add_entries(const NoiseStream& s, int64_t id, float sigma, float* to) const {
        const int64_t entries = table.law.entries;
        const float scale = sigma * sparse_scale(rows * cols, entries);
        for (int64_t i = 0; i < entries; i += 4) {
            SparseQuad quad;
            draw_sparse(s, entries, rows * cols, i, quad);
            for (int k = 0; k < 4 && i + k < entries; ++k) {
                if (quad.place[k] / cols == id) to[quad.place[k] % cols] += scale * quad.value[k];
            }
        }
    }
    __device__ void add_factors(const NoiseStream& s, int64_t id, float sigma, float* to) const {
        const auto rank = static_cast<uint64_t>(table.rank);
        const uint64_t a0 = offset_of_signs(cols, table.rank) + static_cast<uint64_t>(id) * rank;
        const float scale = sigma / sqrtf(static_cast<float>(table.rank));
        for (int64_t e = 0; e < cols; ++e) {
            float sum = 0.0f;
            for (uint64_t k = 0; k < rank; ++k) {
                float a[1], b[1];
                draw_signs(s, a0 + k, a);
                draw_signs(s, static_cast<uint64_t>(e) * rank + k, b);
                sum = fmaf(a[0], b[0], sum);
            }
            to[e] += scale * sum;
        }
    }
};

}  // namespace

void embedding_by_law(const Members& members, const Operand& table, int64_t rows,
                      const int32_t* ids, bool own_ids, int64_t batch, int64_t cols, float* y) {
    for_each("embedding_by_law", members.count * batch,
             EmbeddingByLaw{members, table, ids, own_ids, batch, rows, cols, y});
}

}  // namespace eggroll::cuda
