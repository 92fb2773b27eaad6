// SPDX-License-Identifier: MIT
#pragma once

#include "cpu/vec.h"

// The register tile that the forward product and the update share: kRows × kVecs vectors of sums,
// each sum a chain of fused multiply-adds over the inner dimension in rising order, whatever the
// tile. Everything is inlined into its callers, so that the sums stay in registers.

namespace eggroll::EGGROLL_CPU_NS {

/// f(0), f(1), …, f(kCount - 1) as straight-line code, the index a constant: arrays indexed by it
/// live in registers. (A loop that is unrolled later leaves them in memory.)
template <class F, int... kIndex>
EGGROLL_INLINE void repeat(F f, std::integer_sequence<int, kIndex...>) {
    (f(std::integral_constant<int, kIndex>()), ...);
}
template <int kCount, class F>
EGGROLL_INLINE void repeat(F f) {
    repeat(f, std::make_integer_sequence<int, kCount>());
}
#define EGGROLL_BODY __attribute__((always_inline))  // of a lambda

template <int kRows, int kVecs>
struct Sums {
    Vec v[kRows][kVecs];
};

/// f(row, vector) for each vector of a tile.
template <int kRows, int kVecs, class F>
EGGROLL_INLINE void for_each_sum(F f) {
    repeat<kRows>([&](auto r)
                      EGGROLL_BODY { repeat<kVecs>([&](auto v) EGGROLL_BODY { f(r, v); }); });
}

template <int kRows, int kVecs>
EGGROLL_INLINE void clear(Sums<kRows, kVecs>& sums) {
    for_each_sum<kRows, kVecs>([&](auto r, auto v) EGGROLL_BODY { sums.v[r][v] = set1(0.0f); });
}

/// How the products of a tile are rounded: see fma_vec and fma_exact.
enum class Rounding { fast, exact };

/// One step along the inner dimension: sums += a(row) b.
template <Rounding kRounding, int kRows, int kVecs, class A>
EGGROLL_INLINE void add_step(A a, const float* b, Sums<kRows, kVecs>& sums) {
    Vec col[kVecs];
    repeat<kVecs>([&](auto v) EGGROLL_BODY { col[v] = load(b + v * kLanes); });
    repeat<kRows>([&](auto r) EGGROLL_BODY {
        const Vec s = set1(a(r));
        repeat<kVecs>([&](auto v) EGGROLL_BODY {
            sums.v[r][v] = kRounding == Rounding::exact ? fma_exact(s, col[v], sums.v[r][v])
                                                        : fma_vec(s, col[v], sums.v[r][v]);
        });
    });
}

/// Rows of a panel: element k of row r is at a[k * kTileRows + r].
template <Rounding kRounding, int kRows, int kVecs>
EGGROLL_INLINE void add_panel_product(const float* a, const float* b, int64_t inner,
                                      Sums<kRows, kVecs>& sums) {
    for (int64_t k = 0; k < inner; ++k) {
        add_step<kRounding>([&](auto r) EGGROLL_BODY { return a[r]; }, b, sums);
        a += kTileRows;
        b += kVecs * kLanes;
    }
}

/// Keeps the compiler from knowing how a pointer came about.
EGGROLL_INLINE void as_it_stands(const float*& pointer) {
    asm("" : "+r"(pointer));
}

/// Rows of a matrix: element k of row r is at x[r * step + k].
template <Rounding kRounding, int kRows, int kVecs>
EGGROLL_INLINE void add_rows_product(const float* x, int64_t step, const float* b, int64_t inner,
                                     Sums<kRows, kVecs>& sums) {
    // One pointer for three rows: twelve would not fit the registers.
    constexpr int kBases = (kRows + 2) / 3;
    const float* base[kBases];
    repeat<kBases>([&](auto i) EGGROLL_BODY { base[i] = x + 3 * i * step; });
    for (int64_t k = 0; k < inner; ++k) {
        // Or the compiler would make a pointer of every row after all.
        repeat<kBases>([&](auto i) EGGROLL_BODY { as_it_stands(base[i]); });
        add_step<kRounding>([&](auto r) EGGROLL_BODY { return base[r / 3][r % 3 * step]; }, b,
                            sums);
        repeat<kBases>([&](auto i) EGGROLL_BODY { ++base[i]; });
        b += kVecs * kLanes;
    }
}

/// make(height) for heights from 1 to kTileRows: a table of tiles.
template <class Tile, class Make, int... kRows>
Tile tile_of_height(int64_t rows, Make make, std::integer_sequence<int, kRows...>) {
    const Tile table[] = {make(std::integral_constant<int, kRows + 1>())...};
    return table[rows - 1];
}

}  // namespace eggroll::EGGROLL_CPU_NS
