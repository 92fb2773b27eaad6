// SPDX-License-Identifier: MIT
// g = c Σ_j d_j A_j B_jᵀ, the factors generated panel by panel as the product walks over them.
//
// A panel is a run of streams. Its factors are drawn and packed for the register tile by all
// threads, a few streams each; then all threads multiply, a block of g each. Every element of g is
// the sum, in rising order, of chains of kChain fused multiply-adds in rising order. All of that
// follows from the shape alone: neither the number of threads nor the instruction set changes a
// bit.
#include "core/fixed_order.h"
#include "cpu/kept_noise.h"
#include "cpu/kernels.h"
#include "cpu/laws.h"
#include "cpu/memory.h"
#include "cpu/noise.h"
#include "cpu/streams.h"
#include "cpu/threads.h"
#include "cpu/tile.h"

#include <algorithm>
#include <cmath>

namespace eggroll::EGGROLL_CPU_NS {

using cpu::Scratch;

namespace {

constexpr int64_t kPanelFloats = 1 << 19;  // factors of a panel, if that is no less than a chain
constexpr int64_t kDrawn = 16;             // of them drawn at a time
constexpr int64_t kBlockRows = 48, kBlockCols = 64;  // of g: a thread's portion

static_assert(kBlockRows % kTileRows == 0 && kBlockCols % kTileCols == 0);

int64_t blocks(int64_t n, int64_t size) {
    return (n + size - 1) / size;
}

/// Rows of factors side by side for a register tile: element k of row r is at
/// tile(r)[k * width + r % width]. Rows past the last are zeros.
class Panel {
public:
    Panel(int64_t rows, int64_t width, int64_t inner)
        : rows_(rows), width_(width), inner_(inner), memory_(round_up(rows, width) * inner) {}

    /// Elements k..k+count-1 of all rows from (count,stride), times scale[i].
    void pack(int64_t k, int64_t count, const float* from, int64_t stride, const float* scale) {
        if (width_ == kTileRows) return pack_as<kTileRows>(k, count, from, stride, scale);
        if (width_ == kLanes) return pack_as<kLanes>(k, count, from, stride, scale);
        pack_as<kTileCols>(k, count, from, stride, scale);
    }
    float* tile(int64_t row) { return memory_.data() + row * inner_; }

private:
    template <int kWidth>
    void pack_as(int64_t k, int64_t count, const float* from, int64_t stride, const float* scale) {
        for (int64_t row = 0; row < rows_; row += kWidth) {
            const int64_t n = rows_ - row;
            float* to = tile(row) + k * kWidth;
            for (int64_t i = 0; i < count; ++i, to += kWidth) {
                const float* x = from + i * stride + row;
                if (n >= kWidth) {
                    for (int r = 0; r < kWidth; ++r) to[r] = scale[i] * x[r];
                } else {
                    for (int r = 0; r < kWidth; ++r) to[r] = r < n ? scale[i] * x[r] : 0.0f;
                }
            }
        }
    }

    int64_t rows_, width_, inner_;
    Scratch memory_;
};

/// The sums of a tile that `cols` columns of g are left of, out of line.
__attribute__((noinline)) void add_last_columns(const float* sums, int64_t rows, int64_t width,
                                                bool first, float* g, int64_t stride,
                                                int64_t cols) {
    for (int64_t r = 0; r < rows; ++r, g += stride, sums += width) {
        for (int64_t c = 0; c < cols; ++c) g[c] = first ? sums[c] : g[c] + sums[c];
    }
}

/// One tile of g, which `cols` columns are left of: g = or += Σ_k a[k][row] b[k][col].
template <int kRows, int kVecs>
void multiply_tile(const float* a, const float* b, int64_t inner, bool first, float* g,
                   int64_t stride, int64_t cols) {
    Sums<kRows, kVecs> sums;
    clear(sums);
    add_panel_product<Rounding::exact>(a, b, inner, sums);
    if (cols < kVecs * kLanes) {
        float spilled[kRows * kVecs * kLanes];
        for_each_sum<kRows, kVecs>([&](auto r, auto v) EGGROLL_BODY {
            store(spilled + (r * kVecs + v) * kLanes, sums.v[r][v]);
        });
        return add_last_columns(spilled, kRows, kVecs * kLanes, first, g, stride, cols);
    }
    for_each_sum<kRows, kVecs>([&](auto r, auto v) EGGROLL_BODY {
        float* to = g + r * stride + v * kLanes;
        store(to, first ? sums.v[r][v] : load(to) + sums.v[r][v]);
    });
}

using Tile = void (*)(const float*, const float*, int64_t, bool, float*, int64_t, int64_t);

template <int kVecs>
Tile tile_for(int64_t rows) {
    return tile_of_height<Tile>(
        rows, [](auto height) { return multiply_tile<decltype(height)::value, kVecs>; },
        std::make_integer_sequence<int, kTileRows>());
}

/// The update of one matrix.
class MatrixUpdate {
public:
    explicit MatrixUpdate(const UpdateArgs& args)
        : args_(args),
          rank_(args.rank),
          width_(args.cols <= kLanes ? kLanes : kTileCols),
          streams_(std::max<int64_t>(1, kDrawn / rank_)),
          panel_(panel_streams(args.rows, args.cols, args.rank, args.streams)),
          a_(args.rows, kTileRows, panel_ * rank_),
          b_(args.cols, width_, panel_ * rank_) {}

    void run() {
        for (int64_t first = 0; first < args_.streams; first += panel_) {
            const int64_t count = std::min(panel_, args_.streams - first);
            cpu::parallel_for(blocks(count, streams_), [&](int64_t item) {
                draw(first, item * streams_, std::min(streams_, count - item * streams_));
            });
            const int64_t across = blocks(args_.cols, kBlockCols);
            cpu::parallel_for(blocks(args_.rows, kBlockRows) * across, [&](int64_t item) {
                multiply(item / across * kBlockRows, item % across * kBlockCols, count * rank_,
                         first == 0);
            });
        }
    }

private:
    /// Streams first + k.. of the panel that begins with stream `first`.
    void draw(int64_t first, int64_t k, int64_t count) {
        const NoiseStream stream = stream_of(*args_.block, args_.parameter, first + k);
        const auto pairs = static_cast<uint32_t>(count);
        Scratch factor(streams_ * rank_ * std::max(args_.rows, args_.cols));
        Scratch ones(streams_ * rank_), scale(streams_ * rank_);
        const float c = args_.block->sigma * args_.sigma_scale /
                        std::sqrt(static_cast<float>(args_.pop_size) * static_cast<float>(rank_));
        for (int64_t i = 0; i < count * rank_; ++i) {
            ones.data()[i] = 1.0f;
            scale.data()[i] = c * args_.weights[first + k + i / rank_];
        }
        if (is_drawn(args_.kept, first + k, count)) {
            const int64_t row = (first + k) * rank_, stride = args_.kept->stride;
            b_.pack(k * rank_, count * rank_, args_.kept->b + row * args_.cols, args_.cols,
                    ones.data());
            a_.pack(k * rank_, count * rank_, args_.kept->a + row * stride, stride, scale.data());
            return;
        }
        fill_b(args_.law, stream, pairs, args_.cols, rank_, factor.data(), args_.cols);
        b_.pack(k * rank_, count * rank_, factor.data(), args_.cols, ones.data());
        fill_a(args_.law, stream, pairs, args_.cols, args_.rows, rank_, factor.data(), args_.rows);
        a_.pack(k * rank_, count * rank_, factor.data(), args_.rows, scale.data());
    }

    /// One block of g, chain after chain.
    void multiply(int64_t row0, int64_t col0, int64_t inner, bool first_panel) {
        const int64_t last_row = std::min(args_.rows, row0 + kBlockRows);
        const int64_t last_col = std::min(args_.cols, col0 + kBlockCols);
        for (int64_t k = 0; k < inner; k += kChain) {
            const int64_t length = std::min(kChain, inner - k);
            for (int64_t col = col0; col < last_col; col += width_) {
                for (int64_t row = row0; row < last_row; row += kTileRows) {
                    const int64_t rows = std::min<int64_t>(kTileRows, last_row - row);
                    const Tile tile = width_ == kLanes ? tile_for<1>(rows) : tile_for<2>(rows);
                    tile(a_.tile(row) + k * kTileRows, b_.tile(col) + k * width_, length,
                         first_panel && k == 0, args_.g + row * args_.cols + col, args_.cols,
                         last_col - col);
                }
            }
        }
    }

    const UpdateArgs& args_;
    int64_t rank_, width_, streams_, panel_;
    Panel a_, b_;
};

/// Σ_j c d_j ε_j in runs of kChain streams, which threads share, added in rising order.
void update_vector(const UpdateArgs& args) {
    const int64_t n = args.cols, stride = round_up(n, kLanes);
    // Partial sums held, and streams drawn, at a time.
    const int64_t most_runs = std::clamp<int64_t>(kPanelFloats / n, 1, 64);
    const int64_t most_drawn = std::clamp<int64_t>(kPanelFloats / 4 / n, 1, kDrawn);
    const float c =
        args.block->sigma * args.sigma_scale / std::sqrt(static_cast<float>(args.pop_size));
    Scratch partial(std::min(blocks(args.streams, kChain), most_runs) * stride);
    std::fill_n(args.g, n, 0.0f);
    for (int64_t begin = 0; begin < args.streams; begin += most_runs * kChain) {
        const int64_t runs = std::min(most_runs, blocks(args.streams - begin, kChain));
        cpu::parallel_for(runs, [&](int64_t run) {
            float* sums = partial.data() + run * stride;
            std::fill_n(sums, stride, 0.0f);
            Scratch noise(most_drawn * stride);
            const int64_t first = begin + run * kChain;
            const int64_t last = std::min(args.streams, first + kChain);
            for (int64_t j = first; j < last; j += most_drawn) {
                const int64_t count = std::min(most_drawn, last - j);
                const float* eps = noise.data();
                int64_t step = stride;
                if (is_drawn(args.kept, j, count)) {
                    step = args.kept->stride;
                    eps = args.kept->a + j * step;
                } else {
                    fill_normal_many(stream_of(*args.block, args.parameter, j),
                                     static_cast<uint32_t>(count), 0, n, noise.data(), stride);
                }
                for (int64_t i = 0; i < count; ++i, eps += step) {
                    const Vec weight = set1(c * args.weights[j + i]);
                    for (int64_t e = 0; e < n; e += kLanes) {
                        store(sums + e, fma_exact(weight, load(eps + e), load(sums + e)));
                    }
                }
            }
        });
        for (int64_t run = 0; run < runs; ++run) {
            const float* sums = partial.data() + run * stride;
            for (int64_t i = 0; i < n; ++i) args.g[i] += sums[i];
        }
    }
}

}  // namespace

void update(const UpdateArgs& args) {
    if (args.rank > 0) {
        MatrixUpdate(args).run();
    } else if (args.law.kind == LawKind::full_rank) {
        update_full_rank(args);
    } else if (args.law.kind == LawKind::sparse) {
        update_sparse(args);
    } else {
        update_vector(args);
    }
}

}  // namespace eggroll::EGGROLL_CPU_NS
