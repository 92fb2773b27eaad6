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
        Vec v;
        if (n >= kLanes) {
            v = load(from + c);
        } else {
            float lane[kLanes] = {};
            for (int64_t l = 0; l < n; ++l) lane[l] = from[c + l];
            v = load(lane);
        }
        store_some(y + c, finish(v, bias, noise, rank, relu, c, stride), n);
    }
}

namespace {

template <int kRows>
void dot_block(const float* x, const float* b, int64_t inputs, float* t, int64_t step) {
    Vec even[kRows], odd[kRows];
    for (int r = 0; r < kRows; ++r) even[r] = odd[r] = set1(0.0f);
    int64_t i = 0;
    for (; i + 2 * kLanes <= inputs; i += 2 * kLanes) {
        const Vec b0 = load(b + i), b1 = load(b + i + kLanes);
        for (int r = 0; r < kRows; ++r) {
            even[r] = fma_vec(load(x + r * inputs + i), b0, even[r]);
            odd[r] = fma_vec(load(x + r * inputs + i + kLanes), b1, odd[r]);
        }
    }
    for (int r = 0; r < kRows; ++r) {
        float sum = sum_lanes(add(even[r], odd[r]));
        for (int64_t l = i; l < inputs; ++l) sum = __builtin_fmaf(x[r * inputs + l], b[l], sum);
        t[r * step] = sum;
    }
}

}  // namespace

void dot_rows(const float* x, int64_t rows, const float* b, int64_t n, int64_t inputs, float* t) {
    int64_t row = 0;
    for (; row + 4 <= rows; row += 4) {
        for (int64_t c = 0; c < n; ++c) {
            dot_block<4>(x + row * inputs, b + c * inputs, inputs, t + row * n + c, n);
        }
    }
    for (; row < rows; ++row) {
        for (int64_t c = 0; c < n; ++c) {
            dot_block<1>(x + row * inputs, b + c * inputs, inputs, t + row * n + c, n);
        }
    }
}

}  // namespace eggroll::EGGROLL_CPU_NS
