// SPDX-License-Identifier: MIT
#include "cpu/product.h"

namespace eggroll::EGGROLL_CPU_NS {

void pack_weights(const float* w, int64_t outputs, int64_t inputs, float* packed) {
    const int64_t width = block_cols(outputs);
    constexpr int64_t kRun = 16;  // inputs whose cache lines are read together
    for (int64_t first = 0; first < outputs; first += width, packed += width * inputs) {
        const int64_t n = outputs - first < width ? outputs - first : width;
        for (int64_t i0 = 0; i0 < inputs; i0 += kRun) {
            const int64_t last = i0 + kRun < inputs ? i0 + kRun : inputs;
            for (int64_t c = 0; c < width; ++c) {
                const float* row = w + (first + c) * inputs;
                for (int64_t i = i0; i < last; ++i) packed[i * width + c] = c < n ? row[i] : 0.0f;
            }
        }
    }
}

namespace {

static inline Vec positive(Vec v) {  // NaN passes
#if defined(__AVX512F__)
    return _mm512_max_ps(_mm512_setzero_ps(), v);
#elif defined(__AVX2__) && defined(__FMA__)
    return _mm256_max_ps(_mm256_setzero_ps(), v);
#else
    return _mm_max_ps(_mm_setzero_ps(), v);
#endif
}

static inline Vec add(Vec a, Vec b) {
    return fma_vec(a, set1(1.0f), b);
}

/// v + bias + noise at column c.
static inline Vec finish(Vec v, const float* bias, const RowNoise* noise, int rank, bool relu,
                         int64_t c, int64_t stride) {
    v = add(load(bias + c), v);
    if (noise != nullptr) {
        if (noise->eps != nullptr) v = fma_vec(set1(noise->eps_scale), load(noise->eps + c), v);
        for (int k = 0; k < rank; ++k) {
            v = fma_vec(set1(noise->t[k]), load(noise->at + k * stride + c), v);
        }
    }
    return relu ? positive(v) : v;
}

/// Stores n of a vector's lanes.
static inline void store_some(float* to, Vec v, int64_t n) {
    if (n >= kLanes) return store(to, v);
    float lane[kLanes];
    store(lane, v);
    for (int64_t l = 0; l < n; ++l) to[l] = lane[l];
}

/// kRows × kVecs vectors of sums for one block of columns, begun at column `first`.
template <int kRows, int kVecs>
void tile(const RowsArgs& args, int64_t row, int64_t first, const float* w) {
    const int64_t inputs = args.inputs;
    const float* x = args.x + row * inputs;
    Vec sum[kRows][kVecs];
    for (int r = 0; r < kRows; ++r) {
        for (int v = 0; v < kVecs; ++v) sum[r][v] = set1(0.0f);
    }
    for (int64_t k = 0; k < inputs; ++k) {
        Vec b[kVecs];
        for (int v = 0; v < kVecs; ++v) b[v] = load(w + v * kLanes);
        w += kVecs * kLanes;
#pragma GCC unroll 12
        for (int r = 0; r < kRows; ++r) {
            const Vec a = set1(x[r * inputs + k]);
            for (int v = 0; v < kVecs; ++v) sum[r][v] = fma_vec(a, b[v], sum[r][v]);
        }
    }
    for (int r = 0; r < kRows; ++r) {
        const RowNoise* noise = args.noise != nullptr ? args.noise + row + r : nullptr;
        float* y = args.y + (row + r) * args.outputs;
        for (int v = 0; v < kVecs; ++v) {
            const int64_t c = first + v * kLanes;
            if (c >= args.outputs) break;
            store_some(y + c,
                       finish(sum[r][v], args.bias, noise, args.rank, args.relu, c, args.stride),
                       args.outputs - c);
        }
    }
}

using Tile = void (*)(const RowsArgs&, int64_t, int64_t, const float*);

template <int kVecs, int... kRows>
constexpr Tile tile_of(int rows) {
    constexpr Tile table[] = {tile<kRows, kVecs>...};
    return table[rows - 1];
}

/// The tile of 1..kTileRows rows.
template <int kVecs>
Tile tile_for(int64_t rows) {
    if constexpr (kTileRows == 12) {
        return tile_of<kVecs, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12>(static_cast<int>(rows));
    } else {
        return tile_of<kVecs, 1, 2, 3, 4, 5, 6>(static_cast<int>(rows));
    }
}

}  // namespace

void multiply_rows(const RowsArgs& args) {
    const int64_t width = block_cols(args.outputs);
    for (int64_t first = 0; first < args.outputs; first += width) {
        const float* w = args.packed + first * args.inputs;
        for (int64_t row = 0; row < args.rows; row += kTileRows) {
            const int64_t rows = args.rows - row < kTileRows ? args.rows - row : kTileRows;
            const Tile run = width == kLanes ? tile_for<1>(rows) : tile_for<2>(rows);
            run(args, row, first, w);
        }
    }
}

void expand_row(const float* from, const float* bias, const RowNoise* noise, int rank, bool relu,
                float* y, int64_t outputs, int64_t stride) {
    for (int64_t c = 0; c < outputs; c += kLanes) {
        const int64_t n = outputs - c;
        const Vec v = load_some(from + c, n);
        store_some(y + c, finish(v, bias, noise, rank, relu, c, stride), n);
    }
}

namespace {

/// One vector of columns of all rows; Aᵀ stays in registers.
template <int kRank, bool kRelu>
void expand_columns(const ExpandArgs& args, int64_t c) {
    Vec a[kRank > 0 ? kRank : 1];
    for (int k = 0; k < kRank; ++k) a[k] = load(args.at + k * args.stride + c);
    const Vec offset = load(args.offset + c);
    for (int64_t r = 0; r < args.rows; ++r) {
        Vec v = add(offset, load(args.base + r * args.outputs + c));
        for (int k = 0; k < kRank; ++k) v = fma_vec(set1(args.t[r * args.t_step + k]), a[k], v);
        store(args.y + r * args.outputs + c, kRelu ? positive(v) : v);
    }
}

using ExpandColumns = void (*)(const ExpandArgs&, int64_t);

/// Null for a rank that has no kernel of its own.
ExpandColumns expand_columns_for(int rank, bool relu) {
    switch (rank) {
        case 0:
            return relu ? expand_columns<0, true> : expand_columns<0, false>;
        case 1:
            return relu ? expand_columns<1, true> : expand_columns<1, false>;
        case 2:
            return relu ? expand_columns<2, true> : expand_columns<2, false>;
        case 4:
            return relu ? expand_columns<4, true> : expand_columns<4, false>;
        case 8:
            return relu ? expand_columns<8, true> : expand_columns<8, false>;
        default:
            return nullptr;
    }
}

}  // namespace

void expand_rows(const ExpandArgs& args) {
    int64_t c = 0;
    if (const ExpandColumns columns = expand_columns_for(args.rank, args.relu)) {
        for (; c + kLanes <= args.outputs; c += kLanes) columns(args, c);
    }
    if (c == args.outputs) return;
    for (int64_t r = 0; r < args.rows; ++r) {  // the columns left over
        const RowNoise noise = {.t = args.t + r * args.t_step, .at = args.at + c};
        expand_row(args.base + r * args.outputs + c, args.offset + c, &noise, args.rank, args.relu,
                   args.y + r * args.outputs + c, args.outputs - c, args.stride);
    }
}

namespace {

/// As many rows of x as a vector has lanes times b(row), summed together at the end.
template <class B>
Vec dot_lanes(const float* x, int64_t inputs, B b) {
    Vec sum[kLanes];
    for (Vec& v : sum) v = set1(0.0f);
    int64_t i = 0;
    for (; i + kLanes <= inputs; i += kLanes) {
        for (int r = 0; r < kLanes; ++r) {
            sum[r] = fma_vec(load(x + r * inputs + i), load(b(r) + i), sum[r]);
        }
    }
    for (int r = 0; i < inputs && r < kLanes; ++r) {
        sum[r] = fma_vec(load_some(x + r * inputs + i, inputs - i), load_some(b(r) + i, inputs - i),
                         sum[r]);
    }
    return sum_each(sum);
}

/// kRows rows of x times kCols rows of b. A few sums are split in two, or they would wait for each
/// other.
template <int kRows, int kCols>
void dot_block(const float* x, const float* b, int64_t inputs, float* t, int64_t step) {
    constexpr int kParts = kRows * kCols >= 8 ? 1 : 2;
    Vec sum[kParts][kRows][kCols];
    for (auto& part : sum) {
        for (auto& row : part) {
            for (Vec& v : row) v = set1(0.0f);
        }
    }
    int64_t i = 0;
    for (; i + kParts * kLanes <= inputs; i += kParts * kLanes) {
        for (int part = 0; part < kParts; ++part) {
            Vec bv[kCols];
            for (int c = 0; c < kCols; ++c) bv[c] = load(b + c * inputs + i + part * kLanes);
            for (int r = 0; r < kRows; ++r) {
                const Vec xv = load(x + r * inputs + i + part * kLanes);
                for (int c = 0; c < kCols; ++c) {
                    sum[part][r][c] = fma_vec(xv, bv[c], sum[part][r][c]);
                }
            }
        }
    }
    Vec whole[round_up(kRows * kCols, kLanes)];
    for (int n = 0; n < kRows * kCols; ++n) {
        const int r = n / kCols, c = n % kCols;
        whole[n] = kParts == 1 ? sum[0][r][c] : add(sum[0][r][c], sum[kParts - 1][r][c]);
        for (int64_t l = i; l < inputs; l += kLanes) {
            whole[n] = fma_vec(load_some(x + r * inputs + l, inputs - l),
                               load_some(b + c * inputs + l, inputs - l), whole[n]);
        }
    }
    for (int n = kRows * kCols; n < round_up(kRows * kCols, kLanes); ++n) whole[n] = set1(0.0f);
    for (int first = 0; first < kRows * kCols; first += kLanes) {
        float total[kLanes];
        store(total, sum_each(whole + first));
        for (int n = first; n < kRows * kCols && n < first + kLanes; ++n) {
            t[n / kCols * step + n % kCols] = total[n - first];
        }
    }
}

template <int kRows>
void dot_columns(const float* x, const float* b, int64_t n, int64_t inputs, float* t) {
    int64_t c = 0;
    for (; c + 4 <= n; c += 4) dot_block<kRows, 4>(x, b + c * inputs, inputs, t + c, n);
    for (; c + 2 <= n; c += 2) dot_block<kRows, 2>(x, b + c * inputs, inputs, t + c, n);
    for (; c < n; ++c) dot_block<kRows, 1>(x, b + c * inputs, inputs, t + c, n);
}

}  // namespace

void dot_rows(const float* x, int64_t rows, const float* b, int64_t n, int64_t inputs, float* t) {
    int64_t row = 0;
    for (; n == 1 && row + kLanes <= rows; row += kLanes) {
        store(t + row, dot_lanes(x + row * inputs, inputs, [b](int) { return b; }));
    }
    for (; row + 4 <= rows; row += 4) {
        dot_columns<4>(x + row * inputs, b, n, inputs, t + row * n);
    }
    for (; row < rows; ++row) dot_columns<1>(x + row * inputs, b, n, inputs, t + row * n);
}

void dot_each(const float* x, int64_t rows, const float* const* b, int64_t inputs, float* t) {
    int64_t row = 0;
    for (; row + kLanes <= rows; row += kLanes) {
        store(t + row, dot_lanes(x + row * inputs, inputs, [b, row](int r) { return b[row + r]; }));
    }
    for (; row < rows; ++row) dot_rows(x + row * inputs, 1, b[row], 1, inputs, t + row);
}

}  // namespace eggroll::EGGROLL_CPU_NS
