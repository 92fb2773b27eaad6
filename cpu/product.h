// SPDX-License-Identifier: MIT
#pragma once

#include "cpu/vec.h"

// The products of the forward pass. Wide ones run over packed weights in register tiles, each sum a
// chain of fused multiply-adds over the inputs in rising order, whatever the tile; narrow ones are
// plain dot products.

namespace eggroll::EGGROLL_CPU_NS {

/// Columns of a block of packed weights for a layer of so many outputs.
static inline int64_t block_cols(int64_t outputs) {
    return outputs <= kLanes ? kLanes : kTileCols;
}

/// Floats that W (O,I) takes packed as [block of outputs][input][column], padded with zeros.
static inline int64_t packed_floats(int64_t outputs, int64_t inputs) {
    return round_up(outputs, block_cols(outputs)) * inputs;
}

void pack_weights(const float* w, int64_t outputs, int64_t inputs, float* packed);

/// What is added to a row of x Wᵀ before it is stored: bias + eps_scale ε + Σ_k t[k] Aᵀ[k], all
/// padded to whole blocks of columns.
struct RowNoise {
    const float* t = nullptr;    // (r), the sign and σ/√r inside
    const float* at = nullptr;   // (r, stride)
    const float* eps = nullptr;  // (stride); null: no noise on the bias
    float eps_scale = 0.0f;
};

struct RowsArgs {
    const float* x;         // (rows,I)
    const float* packed;    // W, packed
    const float* bias;      // (stride)
    const RowNoise* noise;  // one a row; null: none
    bool all_eps;           // every row's noise has an eps
    int rank;
    bool relu;
    float* y;  // (rows,O)
    int64_t rows, inputs, outputs;
    int64_t stride;  // of a row of noise: outputs rounded up to whole blocks
};

/// y = x Wᵀ + bias + noise, with ReLU if asked for: one pass, the sums never leave the registers.
void multiply_rows(const RowsArgs& args);

/// y (O) = from (O) + bias + noise, with ReLU if asked for; from and y may be the same.
void expand_row(const float* from, const float* bias, const RowNoise* noise, int rank, bool relu,
                float* y, int64_t outputs, int64_t stride);

struct ExpandArgs {
    const float* base;    // (rows,O)
    const float* offset;  // (stride): bias and bias noise
    const float* t;       // (rows,r), t_step apart, the sign and σ/√r inside
    int64_t t_step;
    const float* at;  // (r,stride)
    int rank;
    bool relu;
    float* y;  // (rows,O)
    int64_t rows, outputs, stride;
};

/// y = base + offset + t Aᵀ for all rows of a member, with ReLU if asked for.
void expand_rows(const ExpandArgs& args);

/// t (rows,n) = x (rows,I) Bᵀ (n,I), as dot products; for a handful of columns or of rows.
void dot_rows(const float* x, int64_t rows, const float* b, int64_t n, int64_t inputs, float* t);

/// t (rows): row r of x (rows,I) times b[r] (I), each row with a vector of its own.
void dot_each(const float* x, int64_t rows, const float* const* b, int64_t inputs, float* t);

}  // namespace eggroll::EGGROLL_CPU_NS
