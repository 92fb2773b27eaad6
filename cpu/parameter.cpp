// SPDX-License-Identifier: MIT
// Parameters other than the weights of a linear layer, as members see them.
#include "cpu/kernels.h"
#include "cpu/laws.h"
#include "cpu/memory.h"
#include "cpu/noise.h"
#include "cpu/streams.h"

#include <cmath>
#include <cstring>

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

void embedding(const Members& members, const Operand& table, int64_t rows, const int32_t* ids,
               bool own_ids, int64_t batch, int64_t cols, float* y) {
    const auto copy_row = [&](int64_t id, float* to) {
        std::memcpy(to, table.value + id * cols, static_cast<size_t>(cols) * sizeof(float));
    };
    if (members.count == 0) {
        for (int64_t i = 0; i < batch; ++i) copy_row(ids[i], y + i * cols);
        return;
    }
    if (table.law.kind != LawKind::low_rank) {
        return embedding_by_law(members, table, rows, ids, own_ids, batch, cols, y);
    }
    const int rank = table.rank;
    const float scale =
        members.block->sigma * table.sigma_scale / std::sqrt(static_cast<float>(rank));
    Scratch b(cols * rank), a(rank);
    int64_t drawn = -1;
    for (int64_t m = 0; m < members.count; ++m) {
        const int64_t member = members.first + m, pair = members.pair_of(member);
        const NoiseStream stream = stream_of(*members.block, table.parameter, pair);
        if (pair != drawn) fill_normal(stream, 0, b.data(), cols * rank);
        drawn = pair;
        for (int64_t i = 0; i < batch; ++i) {
            const int64_t id = ids[own_ids ? m * batch + i : i];
            float* row = y + (m * batch + i) * cols;
            copy_row(id, row);
            // Only the row of A that belongs to the id.
            const uint64_t first = offset_of_a(cols, rank) + static_cast<uint64_t>(id * rank);
            fill_normal(stream, first, a.data(), rank);
            for (int64_t e = 0; e < cols; ++e) {
                float sum = 0.0f;
                for (int k = 0; k < rank; ++k) sum += a.data()[k] * b.data()[e * rank + k];
                row[e] += members.sign_of(member) * scale * sum;
            }
        }
    }
}

}  // namespace eggroll::EGGROLL_CPU_NS
