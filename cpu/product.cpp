// SPDX-License-Identifier: MIT
#include "cpu/product.h"

#include "cpu/memory.h"
#include "cpu/tile.h"

#include <cmath>

namespace eggroll::EGGROLL_CPU_NS {

void pack_weights(const float* w, int64_t outputs, int64_t inputs, float* packed) {
    const int64_t width = block_cols(outputs);
    for (int64_t first = 0; first < outputs; first += width, packed += width * inputs) {
        for (int64_t i = 0; i < inputs; i += kLanes) {
            const int64_t n = inputs - i < kLanes ? inputs - i : kLanes;
            for (int64_t c = 0; c < width; c += kLanes) {
                Vec v[kLanes];
                for (int64_t l = 0; l < kLanes; ++l) {
                    const int64_t row = first + c + l;
                    v[l] = row < outputs ? load_some(w + row * inputs + i, n) : set1(0.0f);
                }
                transpose(v);
                for (int64_t k = 0; k < n; ++k) store(packed + (i + k) * width + c, v[k]);
            }
        }
    }
}

namespace {

inline Vec add(Vec a, Vec b) {
    return fma_vec(a, set1(1.0f), b);
}

/// What a sum is at least: 0 for ReLU.
inline Vec floor_of(bool relu) {
    return set1(relu ? 0.0f : -INFINITY);
}

/// v + bias + noise at column c, not below `floor`.
EGGROLL_INLINE Vec finish(Vec v, Vec bias, const RowNoise* noise, int rank, Vec floor, int64_t c,
                          int64_t stride) {
    v = add(bias, v);
    if (noise != nullptr) {
        if (noise->eps != nullptr) v = fma_vec(set1(noise->eps_scale), load(noise->eps + c), v);
        for (int k = 0; k < rank; ++k) {
            v = fma_vec(set1(noise->t[k]), load(noise->at + k * stride + c), v);
        }
    }
    return at_least(floor, v);
}

/// What every row of a layer gets beside the bias: nothing, ε and a rank known beforehand, or what
/// its RowNoise says.
constexpr int kPlain = 0, kAny = -1;

/// The sums of a tile with fewer columns left than it has, out of line: they come once a row of
/// tiles.
__attribute__((noinline)) void finish_last_columns(const RowsArgs& args, int64_t row, int64_t rows,
                                                   int64_t first, const float* sums,
                                                   int64_t width) {
    for (int64_t r = 0; r < rows; ++r) {
        const RowNoise* noise = args.noise != nullptr ? args.noise + row + r : nullptr;
        for (int64_t c = first; c < args.outputs; c += kLanes) {
            const Vec sum = load(sums + r * width + c - first);
            store_some(args.y + (row + r) * args.outputs + c,
                       finish(sum, load(args.bias + c), noise, args.rank, floor_of(args.relu), c,
                              args.stride),
                       args.outputs - c);
        }
    }
}

/// The sums of a tile as they leave the registers, kRows × kVecs vectors at (row, first).
template <int kRank, int kRows, int kVecs>
EGGROLL_INLINE void finish_tile(const RowsArgs& args, int64_t row, int64_t first,
                                const Sums<kRows, kVecs>& sums) {
    const Vec floor = floor_of(args.relu);
    float* y = args.y + row * args.outputs + first;
    if (first + kVecs * kLanes > args.outputs) {
        float spilled[kRows * kVecs * kLanes];
        for_each_sum<kRows, kVecs>([&](auto r, auto v) EGGROLL_BODY {
            store(spilled + (r * kVecs + v) * kLanes, sums.v[r][v]);
        });
        return finish_last_columns(args, row, kRows, first, spilled, kVecs * kLanes);
    }
    Vec bias[kVecs];
    repeat<kVecs>([&](auto v) EGGROLL_BODY { bias[v] = load(args.bias + first + v * kLanes); });
    for_each_sum<kRows, kVecs>([&](auto r, auto v) EGGROLL_BODY {
        const int64_t c = first + v * kLanes;
        const RowNoise* noise = kRank == kPlain ? nullptr : args.noise + row + r;
        Vec sum = sums.v[r][v];
        if constexpr (kRank > 0) {
            sum = fma_vec(set1(noise->eps_scale), load(noise->eps + c), add(bias[v], sum));
            repeat<kRank>([&](auto k) EGGROLL_BODY {
                sum = fma_vec(set1(noise->t[k]), load(noise->at + k * args.stride + c), sum);
            });
            sum = at_least(floor, sum);
        } else {
            sum = finish(sum, bias[v], noise, args.rank, floor, c, args.stride);
        }
        store(y + r * args.outputs + v * kLanes, sum);
    });
}

/// One block of columns, begun at column `first` and packed at w, for kRows rows `step` apart.
template <int kRank, int kRows, int kVecs>
void tile(const RowsArgs& args, const float* x, int64_t step, int64_t row, int64_t first,
          const float* w) {
    Sums<kRows, kVecs> sums;
    clear(sums);
    add_rows_product<Rounding::fast>(x, step, w, args.inputs, sums);
    finish_tile<kRank>(args, row, first, sums);
}

using Tile = void (*)(const RowsArgs&, const float*, int64_t, int64_t, int64_t, const float*);

/// The tile of 1..kTileRows rows.
template <int kRank, int kVecs>
Tile tile_for(int64_t rows) {
    return tile_of_height<Tile>(
        rows, [](auto height) { return tile<kRank, decltype(height)::value, kVecs>; },
        std::make_integer_sequence<int, kTileRows>());
}

template <int kRank>
Tile tile_for(const RowsArgs& args, int64_t rows) {
    return block_cols(args.outputs) == kLanes ? tile_for<kRank, 1>(rows) : tile_for<kRank, 2>(rows);
}

Tile tile_for(const RowsArgs& args, int64_t rows) {
    if (args.noise == nullptr) return tile_for<kPlain>(args, rows);
    if (args.rank == 1 && args.all_eps) return tile_for<1>(args, rows);
    if (args.rank == 4 && args.all_eps) return tile_for<4>(args, rows);
    return tile_for<kAny>(args, rows);
}

/// Distance of rows that lie well in a first-level cache: those a multiple of 2 KiB apart would
/// share a few of its sets.
int64_t row_step(int64_t inputs) {
    constexpr int64_t kTooRegular = 512, kPadding = 16;
    return inputs % kTooRegular == 0 ? inputs + kPadding : inputs;
}

/// Rows that are copied at a time, where they are.
constexpr int64_t kRowsCopied = 96;

}  // namespace

void multiply_rows(const RowsArgs& args) {
    const int64_t width = block_cols(args.outputs), inputs = args.inputs;
    const int64_t step = row_step(inputs);
    const bool copied = step != inputs;
    const int64_t group = copied ? kRowsCopied : args.rows;
    cpu::Scratch copy(copied ? kRowsCopied * step : 0);
    for (int64_t begin = 0; begin < args.rows; begin += group) {
        const int64_t rows = args.rows - begin < group ? args.rows - begin : group;
        const float* x = args.x + begin * inputs;
        if (copied) {
            for (int64_t r = 0; r < rows; ++r) {
                __builtin_memcpy(copy.data() + r * step, x + r * inputs,
                                 static_cast<size_t>(inputs) * sizeof(float));
            }
            x = copy.data();
        }
        const Tile whole = tile_for(args, kTileRows);
        const int64_t left = rows % kTileRows;
        for (int64_t first = 0; first < args.outputs; first += width) {
            const float* w = args.packed + first * inputs;
            int64_t row = 0;
            for (; row + kTileRows <= rows; row += kTileRows) {
                whole(args, x + row * step, step, begin + row, first, w);
            }
            if (left > 0) {
                tile_for(args, left)(args, x + row * step, step, begin + row, first, w);
            }
        }
    }
}

void expand_row(const float* from, const float* bias, const RowNoise* noise, int rank, bool relu,
                float* y, int64_t outputs, int64_t stride) {
    for (int64_t c = 0; c < outputs; c += kLanes) {
        const int64_t n = outputs - c;
        const Vec v = load_some(from + c, n);
        store_some(y + c, finish(v, load(bias + c), noise, rank, floor_of(relu), c, stride), n);
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
        store(args.y + r * args.outputs + c, kRelu ? at_least(set1(0.0f), v) : v);
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
