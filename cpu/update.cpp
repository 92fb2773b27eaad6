// SPDX-License-Identifier: MIT
// g = c Σ_j d_j A_j B_jᵀ, the factors generated panel by panel as the product walks over them.
//
// Every element of g is a chain of fused multiply-adds over the streams in rising order within a
// slice, and the slices are summed in order. Slices and column tiles follow from the shape alone,
// so neither the thread count nor the width of the registers changes a bit.
#include "cpu/kernels.h"
#include "cpu/memory.h"
#include "cpu/noise.h"
#include "cpu/streams.h"
#include "cpu/threads.h"
#include "cpu/vec.h"

#include <algorithm>
#include <cmath>

namespace eggroll::EGGROLL_CPU_NS {

using cpu::Scratch;

namespace {

constexpr int64_t kPanel = 128;       // streams × rank multiplied at a time
constexpr int64_t kSliceInner = 128;  // no slice is shorter, in streams × rank
constexpr int64_t kMaxSlices = 16;    // enough for the cores of one socket to share
constexpr int64_t kPartialFloats =
    8 << 20;  // partial sums of all slices, when there is more than one
constexpr int64_t kColumnTile = 1024;

/// How the work on one parameter is cut: slices of streams × tiles of columns.
struct Cut {
    explicit Cut(const UpdateArgs& args)
        : rows(round_up(args.rows, kTileRows)),
          cols(round_up(args.cols, kTileCols)),
          tiles((args.cols + kColumnTile - 1) / kColumnTile) {
        const int64_t inner = args.streams * std::max(args.rank, 1);
        slices = std::clamp<int64_t>(inner / kSliceInner, 1, kMaxSlices);
        slices = std::max<int64_t>(
            1, std::min(slices, kPartialFloats / (std::max<int64_t>(args.rows, 1) * args.cols)));
        per_slice = (args.streams + slices - 1) / slices;
    }

    int64_t rows, cols;  // of a padded partial sum
    int64_t tiles;
    int64_t slices, per_slice;
};

/// sums (kTileRows, kTileCols) += Σ_k a[k][row] b[k][col], k rising.
void multiply_tile(const float* a, const float* b, int64_t inner, float* sums, int64_t stride) {
    Vec acc[kTileRows][2];
    for (int r = 0; r < kTileRows; ++r) {
        acc[r][0] = load(sums + r * stride);
        acc[r][1] = load(sums + r * stride + kLanes);
    }
    for (int64_t k = 0; k < inner; ++k) {
        const Vec b0 = load(b + k * kTileCols), b1 = load(b + k * kTileCols + kLanes);
        for (int r = 0; r < kTileRows; ++r) {
            const Vec s = set1(a[k * kTileRows + r]);
            acc[r][0] = fma_vec(s, b0, acc[r][0]);
            acc[r][1] = fma_vec(s, b1, acc[r][1]);
        }
    }
    for (int r = 0; r < kTileRows; ++r) {
        store(sums + r * stride, acc[r][0]);
        store(sums + r * stride + kLanes, acc[r][1]);
    }
}

/// A panel of `inner` rows, packed for the tile: [block of `width` columns][k][width].
class Panel {
public:
    Panel(int64_t columns, int64_t width)
        : width_(width), columns_(columns), memory_(round_up(columns, width) * kPanel) {
        std::fill_n(memory_.data(), round_up(columns, width) * kPanel, 0.0f);
    }

    /// Row k from elements `step` apart, scaled.
    void set_row(int64_t k, const float* from, int64_t step, float scale) {
        for (int64_t first = 0; first < columns_; first += width_) {
            float* to = block(first) + k * width_;
            const int64_t n = std::min(width_, columns_ - first);
            for (int64_t c = 0; c < n; ++c) to[c] = scale * from[(first + c) * step];
        }
    }
    float* block(int64_t first) { return memory_.data() + first / width_ * width_ * kPanel; }

private:
    int64_t width_, columns_;
    Scratch memory_;
};

/// One slice of streams for one tile of columns, into zeroed sums with the padded stride.
void accumulate(const UpdateArgs& args, const Cut& cut, int64_t slice, int64_t tile, float* sums) {
    const int64_t rank = args.rank, rows = args.rows;
    const int64_t first_col = tile * kColumnTile;
    const int64_t cols = std::min(kColumnTile, args.cols - first_col);
    const int64_t last = std::min(args.streams, (slice + 1) * cut.per_slice);
    const float c =
        args.block->sigma / std::sqrt(static_cast<float>(args.pop_size) * static_cast<float>(rank));

    Panel a(rows, kTileRows), b(cols, kTileCols);
    Scratch factor(std::max(rows, cols) * rank);
    for (int64_t r = 0; r < cut.rows; ++r) {
        std::fill_n(sums + r * cut.cols + first_col, round_up(cols, kTileCols), 0.0f);
    }
    int64_t inner = 0;
    const auto multiply = [&] {
        for (int64_t col = 0; col < cols; col += kTileCols) {
            for (int64_t row = 0; row < rows; row += kTileRows) {
                multiply_tile(a.block(row), b.block(col), inner,
                              sums + row * cut.cols + first_col + col, cut.cols);
            }
        }
        inner = 0;
    };
    for (int64_t j = slice * cut.per_slice; j < last; ++j) {
        if (args.weights[j] == 0.0f) continue;
        if (inner + rank > kPanel) multiply();
        const NoiseStream stream = stream_of(*args.block, args.parameter, j);
        fill_normal(stream, static_cast<uint64_t>(first_col * rank), factor.data(), cols * rank);
        for (int64_t k = 0; k < rank; ++k) b.set_row(inner + k, factor.data() + k, rank, 1.0f);
        fill_normal(stream, offset_of_a(args.cols, rank), factor.data(), rows * rank);
        for (int64_t k = 0; k < rank; ++k) {
            a.set_row(inner + k, factor.data() + k, rank, c * args.weights[j]);
        }
        inner += rank;
    }
    multiply();
}

void update_matrix(const UpdateArgs& args) {
    const Cut cut(args);
    Scratch partial(cut.slices * cut.rows * cut.cols);
    cpu::parallel_for(cut.slices * cut.tiles, [&](int64_t item) {
        const int64_t slice = item / cut.tiles;
        accumulate(args, cut, slice, item % cut.tiles,
                   partial.data() + slice * cut.rows * cut.cols);
    });
    constexpr int64_t kRows = 16;
    cpu::parallel_for((args.rows + kRows - 1) / kRows, [&](int64_t block) {
        for (int64_t r = block * kRows; r < std::min(args.rows, (block + 1) * kRows); ++r) {
            float* g = args.g + r * args.cols;
            const float* from = partial.data() + r * cut.cols;
            std::memcpy(g, from, static_cast<size_t>(args.cols) * sizeof(float));
            for (int64_t s = 1; s < cut.slices; ++s) {
                from += cut.rows * cut.cols;
                for (int64_t i = 0; i < args.cols; ++i) g[i] += from[i];
            }
        }
    });
}

void update_vector(const UpdateArgs& args) {
    const Cut cut(args);
    const float c = args.block->sigma / std::sqrt(static_cast<float>(args.pop_size));
    Scratch partial(cut.slices * cut.cols);
    cpu::parallel_for(cut.slices, [&](int64_t slice) {
        float* sums = partial.data() + slice * cut.cols;
        std::fill_n(sums, args.cols, 0.0f);
        Scratch noise(args.cols);
        const int64_t last = std::min(args.streams, (slice + 1) * cut.per_slice);
        for (int64_t j = slice * cut.per_slice; j < last; ++j) {
            if (args.weights[j] == 0.0f) continue;
            fill_normal(stream_of(*args.block, args.parameter, j), 0, noise.data(), args.cols);
            const float weight = c * args.weights[j];
            for (int64_t i = 0; i < args.cols; ++i) {
                sums[i] = __builtin_fmaf(weight, noise.data()[i], sums[i]);
            }
        }
    });
    std::memcpy(args.g, partial.data(), static_cast<size_t>(args.cols) * sizeof(float));
    for (int64_t s = 1; s < cut.slices; ++s) {
        for (int64_t i = 0; i < args.cols; ++i) args.g[i] += partial.data()[s * cut.cols + i];
    }
}

}  // namespace

void update(const UpdateArgs& args) {
    if (args.rank > 0) {
        update_matrix(args);
    } else {
        update_vector(args);
    }
}

}  // namespace eggroll::EGGROLL_CPU_NS
