// SPDX-License-Identifier: MIT
// Rows of a table as members see them: table[id] + s σ/√r A[id] Bᵀ, never the table itself.
#include "cuda/kernels.h"
#include "cuda/laws.h"
#include "cuda/linear_kernels.h"

namespace eggroll::cuda {

namespace {

/// Rows that a thread takes with the same four rows of B in its registers.
constexpr int64_t kRows = 8;

struct EmbeddingArgs {
    PairRows rows;  // (V,B), the rows of y
    const float* table;
    const int32_t* ids;
    bool own_ids;
    uint32_t parameter;
    int rank;
    float sigma_scale;
    int64_t count, cols, quads;  // N, E, E in fours
    int64_t groups;              // of kRows rows of a pair
    float* y;

    /// Which row of the table; negative if there is none.
    __device__ int64_t id_of(int64_t row) const {
        const int64_t id = ids[own_ids ? row : row % rows.batch];
        return id < count ? id : -1;
    }
};

/// Four columns of some rows of one pair. A rank above kSlab comes in slabs: the first writes what
/// the next ones add to.
template <int K, bool kWhole>
struct Embedding {
    EmbeddingArgs of;
    int k0;

    __device__ void operator()(int64_t item) const {
        const int64_t task = item / of.quads, e = 4 * (item - task * of.quads);
        const int64_t slot = task / of.groups, group = task - slot * of.groups;
        const PairRows::Range rows = of.rows.range(slot);
        const int64_t first = rows.first + group * kRows;
        const int64_t end = min(first + kRows, rows.end);
        if (first >= end) return;
        const GenerationBlock& block = *of.rows.members.block;
        const NoiseStream stream = stream_of(block, of.parameter, of.rows.first_pair() + slot);
        const float scale = block.sigma * of.sigma_scale / sqrtf(static_cast<float>(of.rank));
        float b[4][K];
        draw_rows<K, kWhole>(stream, 0, e, of.rank, k0, b);
        const int64_t left = of.cols - e;
        for (int64_t row = first; row < end; ++row) {
            const int64_t id = of.id_of(row);
            float* to = of.y + row * of.cols + e;
            if (id < 0) {  // ids on the device were not checked
                for (int i = 0; i < 4 && i < left; ++i) to[i] = NAN;
                continue;
            }
            const float* from = k0 == 0 ? of.table + id * of.cols + e : to;
            float a[K];
            draw_run<K>(stream,
                        offset_of_a(of.cols, of.rank) +
                            static_cast<uint64_t>(id) * static_cast<uint64_t>(of.rank) +
                            static_cast<uint64_t>(k0),
                        a);
            const float by = rows.sign_of(row) * scale;
            for (int i = 0; i < 4 && i < left; ++i) {
                float sum = 0.0f;
#pragma unroll
                for (int k = 0; k < K; ++k) sum = fmaf(a[k], b[i][k], sum);  // b is 0 past the rank
                to[i] = from[i] + by * sum;
            }
        }
    }
};

/// One element of one row.
struct Lookup {
    const float* table;
    const int32_t* ids;
    int64_t count, cols;
    float* y;

    __device__ void operator()(int64_t i) const {
        const int64_t row = i / cols, id = ids[row];
        y[i] = id >= 0 && id < count ? table[id * cols + i - row * cols] : NAN;
    }
};

}  // namespace

void embedding(const Members& members, const Operand& table, int64_t rows, const int32_t* ids,
               bool own_ids, int64_t batch, int64_t cols, float* y) {
    if (members.count == 0) {
        return for_each("lookup", batch * cols, Lookup{table.value, ids, rows, cols, y});
    }
    if (table.law.kind != LawKind::low_rank) {
        return embedding_by_law(members, table, rows, ids, own_ids, batch, cols, y);
    }
    const PairRows all{members, batch};
    const EmbeddingArgs args{.rows = all,
                             .table = table.value,
                             .ids = ids,
                             .own_ids = own_ids,
                             .parameter = table.parameter,
                             .rank = table.rank,
                             .sigma_scale = table.sigma_scale,
                             .count = rows,
                             .cols = cols,
                             .quads = blocks_of(cols, 4),
                             .groups = blocks_of(all.most_rows(), kRows),
                             .y = y};
    for_slabs(table.rank, [&]<int K, bool kWhole>(int k0, bool) {
        for_each("embedding", all.pairs() * args.groups * args.quads,
                 Embedding<K, kWhole>{args, k0});
    });
}

}  // namespace eggroll::cuda
