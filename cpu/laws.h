// SPDX-License-Identifier: MIT
#pragma once

// The laws of noise other than low_rank, a file each: law_sign.cpp, law_full_rank.cpp,
// law_sparse.cpp. laws.cpp has what they share.

#include "core/backend.h"
#include "cpu/isa.h"

namespace eggroll::EGGROLL_CPU_NS {

using namespace eggroll::detail;

// laws.cpp
/// B (I,r) of these streams under a law that has factors, as `fill_factors` has it.
void fill_b(const Law& law, const NoiseStream& stream, uint32_t pair_count, int64_t inputs,
            int64_t rank, float* bt, int64_t stride);
/// A (O,r), which follows it in the stream.
void fill_a(const Law& law, const NoiseStream& stream, uint32_t pair_count, int64_t inputs,
            int64_t outputs, int64_t rank, float* at, int64_t stride);
/// The rows `linear` and `embedding` of laws without factors, and of the rows of a table.
void linear_by_law(const LinearArgs& args);
void embedding_by_law(const Members& members, const Operand& table, int64_t rows,
                      const int32_t* ids, bool own_ids, int64_t batch, int64_t cols, float* y);

/// The members of one pair in a range, and their rows.
struct PairOfMembers {
    int64_t pair, first, count;  // members first..first+count-1 of the range
};
/// f(PairOfMembers) for each pair that has members in the range.
template <class F>
void for_each_pair(const Members& members, const F& f) {
    for (int64_t m = 0; m < members.count;) {
        const int64_t pair = members.pair_of(members.first + m), first = m;
        while (m < members.count && members.pair_of(members.first + m) == pair) ++m;
        f(PairOfMembers{pair, first, m - first});
    }
}

// law_sign.cpp
/// As fill_factors, of signs: element `first` is a multiple of kBlockSigns.
void fill_sign_factors(const NoiseStream& stream, uint32_t pair_count, uint64_t first, int64_t n,
                       int64_t rank, float* out, int64_t stride);
/// Row `row` of the factor (n,rank) that begins there.
void fill_sign_row(const NoiseStream& stream, uint64_t first, int64_t row, int64_t rank,
                   float* out);

// law_full_rank.cpp
/// y (V,B,O) += s σ x E_jᵀ.
void add_full_rank(const LinearArgs& args);
void update_full_rank(const UpdateArgs& args);

// law_sparse.cpp
void add_sparse(const LinearArgs& args);
void update_sparse(const UpdateArgs& args);
/// σ E[id] of one row of a table (rows,cols).
void sparse_row(const Operand& table, float sigma, const NoiseStream& stream, int64_t rows,
                int64_t cols, int64_t id, float* out);

}  // namespace eggroll::EGGROLL_CPU_NS
