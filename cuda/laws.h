// SPDX-License-Identifier: MIT
#pragma once

// The laws of noise other than low_rank, a file each: law_sign.h, law_full_rank.cu, law_sparse.cu.

#include "core/backend.h"

namespace eggroll::cuda {

using namespace eggroll::detail;

// law_full_rank.cu; its update is a vector's
/// y (V,B,O) += s σ x E_jᵀ.
void add_full_rank(const LinearArgs& args);

// law_sparse.cu
void add_sparse(const LinearArgs& args);
void update_sparse(const UpdateArgs& args);

// law_embedding.cu
void embedding_by_law(const Members& members, const Operand& table, int64_t rows,
                      const int32_t* ids, bool own_ids, int64_t batch, int64_t cols, float* y);

}  // namespace eggroll::cuda
