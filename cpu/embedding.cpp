// SPDX-License-Identifier: MIT
// Rows of a table as members see them: table[id] + s σ/√r A[id] Bᵀ, never the table itself.
#include "cpu/kept_noise.h"
#include "cpu/kernels.h"
#include "cpu/laws.h"
#include "cpu/memory.h"
#include "cpu/noise.h"
#include "cpu/streams.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace eggroll::EGGROLL_CPU_NS {

using cpu::Scratch;

namespace {

/// What a call that draws one row of A costs more than its share of one that draws them all, in
/// normals.
constexpr int64_t kNormalsPerCall = 24;

/// The factors of one pair: Bᵀ (r,E), and A by its rows of ids or as Aᵀ (r,stride).
class PairFactors {
public:
    /// `ids` rows are looked up for each pair.
    PairFactors(const Members& members, const Operand& table, int64_t rows, int64_t cols,
                int64_t ids)
        : members_(members),
          table_(table),
          rows_(rows),
          cols_(cols),
          all_(ids * kNormalsPerCall >= rows * table.rank),
          own_bt_(table.rank * cols),
          own_at_(all_ ? table.rank * rows : 0) {}

    void draw(int64_t pair) {
        stream_ = stream_of(*members_.block, table_.parameter, pair);
        const KeptNoise* kept = table_.kept;
        const int64_t b_size = table_.rank * cols_;
        bt_ = own_bt_.data();
        at_ = all_ ? own_at_.data() : nullptr;
        stride_ = rows_;
        if (find_place(kept, pair, 1) == Place::kept) {
            const int64_t a_size = table_.rank * kept->stride;
            draw_claimed(kept, pair, 1, [&](int64_t, int64_t) {
                float* at = kept->a + pair * a_size;
                draw_b(kept->b + pair * b_size);
                draw_a(at, kept->stride);
                for (int64_t k = 0; k < table_.rank; ++k) {
                    std::fill(at + k * kept->stride + rows_, at + (k + 1) * kept->stride, 0.0f);
                }
            });
            bt_ = kept->b + pair * b_size;
            at_ = kept->a + pair * a_size;
            stride_ = kept->stride;
            return;
        }
        draw_b(own_bt_.data());
        if (all_) draw_a(own_at_.data(), rows_);
    }

    const float* bt() const { return bt_; }
    /// Row `id` of A into a (r).
    void row(int64_t id, float* a) const {
        const int64_t rank = table_.rank;
        if (at_ == nullptr) {
            const uint64_t first = offset_of_a(cols_, rank) + static_cast<uint64_t>(id * rank);
            return fill_normal(stream_, first, a, rank);
        }
        for (int64_t k = 0; k < rank; ++k) a[k] = at_[k * stride_ + id];
    }

private:
    void draw_b(float* bt) const { fill_factors(stream_, 1, 0, cols_, table_.rank, bt, cols_); }
    void draw_a(float* at, int64_t stride) const {
        fill_factors(stream_, 1, offset_of_a(cols_, table_.rank), rows_, table_.rank, at, stride);
    }

    const Members& members_;
    const Operand& table_;
    int64_t rows_, cols_, stride_ = 0;
    bool all_;
    Scratch own_bt_, own_at_;
    NoiseStream stream_{};
    const float *bt_ = nullptr, *at_ = nullptr;  // at null: rows are drawn one by one
};

}  // namespace

void embedding(const Members& members, const Operand& table, int64_t rows, const int32_t* ids,
               bool own_ids, int64_t batch, int64_t cols, float* y) {
    if (members.count == 0) {
        for (int64_t i = 0; i < batch; ++i) {
            std::memcpy(y + i * cols, table.value + ids[i] * cols,
                        static_cast<size_t>(cols) * sizeof(float));
        }
        return;
    }
    if (table.law.kind != LawKind::low_rank) {
        return embedding_by_law(members, table, rows, ids, own_ids, batch, cols, y);
    }
    const int64_t rank = table.rank;
    const float scale =
        members.block->sigma * table.sigma_scale / std::sqrt(static_cast<float>(rank));
    PairFactors factors(members, table, rows, cols,
                        batch * (own_ids && members.antithetic ? 2 : 1));
    Scratch a(rank), noise(cols);
    const auto draw_row = [&](int32_t id) {
        factors.row(id, a.data());
        std::fill_n(noise.data(), cols, 0.0f);
        for (int64_t k = 0; k < rank; ++k) {
            const float* b = factors.bt() + k * cols;
            for (int64_t e = 0; e < cols; ++e) noise.data()[e] += a.data()[k] * b[e];
        }
    };
    for_each_pair(members, [&](const PairOfMembers& of) {
        factors.draw(of.pair);
        for (int64_t i = 0; i < batch; ++i) {
            for (int64_t m = of.first; m < of.first + of.count; ++m) {
                const int32_t id = ids[own_ids ? m * batch + i : i];
                if (m == of.first || own_ids) draw_row(id);
                const float by = members.sign_of(members.first + m) * scale;
                const float* value = table.value + id * cols;
                float* to = y + (m * batch + i) * cols;
                for (int64_t e = 0; e < cols; ++e) to[e] = value[e] + by * noise.data()[e];
            }
        }
    });
}

}  // namespace eggroll::EGGROLL_CPU_NS
