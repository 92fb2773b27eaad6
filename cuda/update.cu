// SPDX-License-Identifier: MIT
// g = c Σ_j d_j A_j B_jᵀ, a tile of g to a block, which draws the factors it multiplies into shared
// memory; the sums are formed in the order of core/fixed_order.h, the CPU's.
#include "core/fixed_order.h"
#include "cuda/kernels.h"
#include "cuda/launch.h"
#include "cuda/law_sign.h"
#include "cuda/laws.h"
#include "cuda/noise.h"

namespace eggroll::cuda {

namespace {

/// Factors in shared memory at a time: streams × rank.
constexpr int kDepth = 32;
/// Threads of a block lie on the tile as a square of so many.
constexpr int kSide = 16;
constexpr int kTileThreads = kSide * kSide;
/// Rows and columns of g that a thread has in a wide tile, which takes the usual ranks, 1, 2, 4 and
/// 8; drawing for any other takes registers that only the narrow tile has left.
constexpr int kWidePer = 8, kNarrowPer = 4;

struct MatrixArgs {
    const GenerationBlock* block;
    const float* weights;
    int64_t streams, panel;          // in all, and of a panel
    int64_t first_panel, end_panel;  // of this launch
    float* chains;                   // (chains,rows,cols) of the launch, or null: added up in g
    int64_t pop_size;
    uint32_t parameter;
    int rank, rows, cols;
    float* g;
    float sigma_scale;

    __host__ __device__ int64_t size() const { return static_cast<int64_t>(rows) * cols; }
    __host__ __device__ int64_t chains_per_panel() const { return blocks_of(panel * rank, kChain); }
};

/// One tile of g: kTile rows of A's side, kTile of B's, for a rank's worth of streams at a time.
template <int kTile>
struct Tile {
    float a[kDepth][kTile], b[kDepth][kTile];
};

/// Draws the factors of whole streams j..j+count-1 into a tile, A scaled by the stream's weight.
/// kRank 0: any rank up to kDepth. Neighbours write to neighbouring rows: no two of them meet in a
/// bank, but for ranks that 4 does not divide.
template <int kTile, int kRank, bool kSigns>
__device__ __forceinline__ void draw_streams(const MatrixArgs& args, float c, int row0, int col0,
                                             int64_t j, int count, Tile<kTile>& tile) {
    const int rank = kRank > 0 ? kRank : args.rank;
    const int per_stream = kTile / 4 * rank, items = count * per_stream;
    const uint64_t base_a =
        kSigns ? offset_of_signs(args.cols, rank) : offset_of_a(args.cols, rank);
#pragma unroll 1
    for (int item = static_cast<int>(threadIdx.x); item < 2 * items; item += kTileThreads) {
        const bool is_a = item < items;
        const int at = is_a ? item : item - items;
        const int s = at / per_stream, within = at % per_stream;
        // Block q of the tile's run of the stream holds elements 4q.. of (row, k) in order.
        int q = within;
        if constexpr (kRank > 4) q = within % kTile * (kRank / 4) + within / kTile;
        const int from = is_a ? row0 : col0, left = (is_a ? args.rows : args.cols) - from;
        const uint64_t element =
            (is_a ? base_a : 0) + static_cast<uint64_t>(from) * static_cast<uint64_t>(rank);
        float v[4];
        const NoiseStream stream = stream_of(*args.block, args.parameter, j + s);
        if constexpr (kSigns) {
            draw_signs(stream, element + 4 * static_cast<uint64_t>(q), v);
        } else {
            draw_block(stream, static_cast<uint32_t>(element / 4) + static_cast<uint32_t>(q), v);
        }
        const float weight = is_a ? c * args.weights[j + s] : 1.0f;
        float* to = is_a ? tile.a[s * rank] : tile.b[s * rank];
        if constexpr (kRank > 0) {
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                v[i] = (4 * q + i) / kRank < left ? weight * v[i] : 0.0f;
            }
        }
        if constexpr (kRank == 1) {
            *reinterpret_cast<float4*>(to + 4 * q) = make_float4(v[0], v[1], v[2], v[3]);
        } else if constexpr (kRank == 2) {
            *reinterpret_cast<float2*>(to + 2 * q) = make_float2(v[0], v[2]);
            *reinterpret_cast<float2*>(to + kTile + 2 * q) = make_float2(v[1], v[3]);
        } else if constexpr (kRank > 0) {
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const int e = 4 * q + i;
                to[e % kRank * kTile + e / kRank] = v[i];
            }
        } else {
            int row = 4 * q / rank, k = 4 * q % rank;
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                to[k * kTile + row] = row < left ? weight * v[i] : 0.0f;
                const bool next = ++k == rank;
                k = next ? 0 : k;
                row += next;
            }
        }
    }
}

/// Columns k0..k0+count-1 of the factors of stream j, of a rank above kDepth.
template <int kTile, bool kSigns>
__device__ __forceinline__ void draw_slab(const MatrixArgs& args, float c, int row0, int col0,
                                          int64_t j, int k0, int count, Tile<kTile>& tile) {
    constexpr int kRuns = kDepth / 4, kItems = kTile * kRuns;
    const auto rank = static_cast<uint64_t>(args.rank);
    const uint64_t base_a =
        kSigns ? offset_of_signs(args.cols, args.rank) : offset_of_a(args.cols, args.rank);
#pragma unroll 1
    for (int item = static_cast<int>(threadIdx.x); item < 2 * kItems; item += kTileThreads) {
        const bool is_a = item < kItems;
        const int at = is_a ? item : item - kItems;
        const int row = at % kTile, k = at / kTile * 4;
        const int from = is_a ? row0 : col0, left = (is_a ? args.rows : args.cols) - from;
        float v[4];
        const NoiseStream stream = stream_of(*args.block, args.parameter, j);
        const uint64_t element = (is_a ? base_a : 0) + static_cast<uint64_t>(from + row) * rank +
                                 static_cast<uint64_t>(k0 + k);
        if constexpr (kSigns) {
            draw_signs(stream, element, v);
        } else {
            draw_run<4>(stream, element, v);
        }
        const float weight = is_a ? c * args.weights[j] : 1.0f;
        for (int i = 0; i < 4; ++i) {
            if (k + i < count) {
                (is_a ? tile.a : tile.b)[k + i][row] = row < left ? weight * v[i] : 0.0f;
            }
        }
    }
}

/// Each thread has kPer × kPer elements of g; the tile has kSide times as many rows and columns.
/// kRank 0: any rank.
/// With `chains` a block takes one panel and leaves its chains there, to be added up in order.
template <int kPer, int kRank, bool kSigns>
__global__ void __launch_bounds__(kTileThreads, 2) update_kernel(MatrixArgs args) {
    constexpr int kTile = kPer * kSide;
    __shared__ __align__(16) Tile<kTile> tile;
    const int tx = static_cast<int>(threadIdx.x) % kSide,
              ty = static_cast<int>(threadIdx.x) / kSide;
    const int row0 = static_cast<int>(blockIdx.y) * kTile,
              col0 = static_cast<int>(blockIdx.x) * kTile;
    const int rank = kRank > 0 ? kRank : args.rank;
    const float c = args.block->sigma * args.sigma_scale /
                    sqrtf(static_cast<float>(args.pop_size) * static_cast<float>(rank));

    float chain[kPer][kPer] = {};
    int length = 0;      // of the chain
    bool first = true;   // in g
    float* to = args.g;  // where the chain goes
    if (args.chains != nullptr) {
        to = args.chains + blockIdx.z * args.chains_per_panel() * args.size();
    }
    const auto end_chain = [&] {
        if (length == 0) return;
        const bool add = args.chains == nullptr && !first;
        float* sums = to + static_cast<int64_t>(row0 + 4 * ty) * args.cols + col0 + 4 * tx;
        int rows = args.rows - row0 - 4 * ty, cols = args.cols - col0 - 4 * tx;
        // Found anew each time: addresses and bounds of so many sums would take as many registers.
        asm volatile("" : "+l"(sums), "+r"(rows), "+r"(cols));
#pragma unroll
        for (int r = 0; r < kPer; ++r) {
            const int down = r / 4 * 4 * kSide + r % 4;
#pragma unroll
            for (int i = 0; i < kPer; ++i) {
                const int across = i / 4 * 4 * kSide + i % 4;
                if (down < rows && across < cols) {
                    sums[across] = add ? sums[across] + chain[r][i] : chain[r][i];
                }
                chain[r][i] = 0.0f;
            }
            sums += static_cast<int64_t>(r % 4 == 3 ? 4 * kSide - 3 : 1) * args.cols;
        }
        first = false;
        length = 0;
        if (args.chains != nullptr) to += args.size();
    };
    const auto multiply = [&](int depth) {
        for (int k = 0; k < depth;) {
            const int stop = min(depth, k + static_cast<int>(kChain) - length);
            length += stop - k;
#pragma unroll 1
            for (; k < stop; ++k) {
                float own_a[kPer], own_b[kPer];
#pragma unroll
                for (int i = 0; i < kPer; i += 4) {
                    // Quads of a tile's half lie side by side: no two threads of a wavefront meet.
                    *reinterpret_cast<float4*>(own_a + i) =
                        *reinterpret_cast<const float4*>(&tile.a[k][i * kSide + 4 * ty]);
                    *reinterpret_cast<float4*>(own_b + i) =
                        *reinterpret_cast<const float4*>(&tile.b[k][i * kSide + 4 * tx]);
                }
#pragma unroll
                for (int r = 0; r < kPer; ++r) {
#pragma unroll
                    for (int i = 0; i < kPer; ++i) {
                        chain[r][i] = fmaf(own_a[r], own_b[i], chain[r][i]);
                    }
                }
            }
            if (length == kChain) end_chain();
        }
    };

    const bool one = args.chains != nullptr;
    const int64_t begin = args.first_panel + (one ? blockIdx.z : 0);
    const int64_t end = one ? begin + 1 : args.end_panel;
    for (int64_t panel = begin; panel < end; ++panel) {
        const int64_t last =
            (panel + 1) * args.panel < args.streams ? (panel + 1) * args.panel : args.streams;
        // At a time as many streams as fit, or a part of one.
        const int most = rank <= kDepth ? kDepth / rank : 1;
        for (int64_t j = panel * args.panel; j < last; j += most) {
            const int count = last - j < most ? static_cast<int>(last - j) : most;
            for (int k0 = 0; k0 < rank; k0 += kDepth) {
                __syncthreads();
                if (kRank > 0 || rank <= kDepth) {
                    draw_streams<kTile, kRank, kSigns>(args, c, row0, col0, j, count, tile);
                } else {
                    draw_slab<kTile, kSigns>(args, c, row0, col0, j, k0,
                                             rank - k0 < kDepth ? rank - k0 : kDepth, tile);
                }
                __syncthreads();
                multiply(rank <= kDepth ? count * rank : rank - k0 < kDepth ? rank - k0 : kDepth);
            }
        }
        end_chain();
    }
}

/// g = start plus the chains in rising order; without a start, g plus them.
struct AddChains {
    const float* chains;  // (count,n)
    int64_t count, n;
    bool first;
    float start;
    float* g;

    __device__ void operator()(int64_t i) const {
        float sum = first ? start : g[i];
        for (int64_t chain = 0; chain < count; ++chain) sum += chains[chain * n + i];
        g[i] = sum;
    }
};

/// Rows or columns of a matrix: 65535 narrow tiles, the most that a grid has in y.
constexpr int64_t kMostRows = int64_t{65535} * kNarrowPer * kSide;
/// Floats of chains that wait to be added up.
constexpr int64_t kChainFloats = 1 << 24;

template <int kPer, int kRank, bool kSigns = false>
void update_matrix(MatrixArgs args) {
    constexpr int64_t kTile = kPer * kSide;
    // Fewer tiles would leave a large GPU idle: then the panels of a tile go to blocks of their
    // own.
    constexpr int64_t kEnoughTiles = 512;
    const int64_t across = blocks_of(args.cols, kTile), down = blocks_of(args.rows, kTile);
    const int64_t panels = blocks_of(args.streams, args.panel), n = args.size();
    const int64_t of_panel = args.chains_per_panel();
    constexpr int64_t kGridZ = 65535;
    const int64_t at_once = std::min({panels, kChainFloats / (of_panel * n), kGridZ});
    const dim3 threads(kTileThreads);
    const dim3 grid(static_cast<unsigned>(across), static_cast<unsigned>(down));
    if (across * down >= kEnoughTiles || at_once < 2) {
        args.end_panel = panels;
        return launch("update", update_kernel<kPer, kRank, kSigns>, grid, threads, args);
    }
    const Scratch chains(at_once * of_panel * n);
    args.chains = chains.data();
    for (; args.first_panel < panels; args.first_panel = args.end_panel) {
        args.end_panel = std::min(panels, args.first_panel + at_once);
        const int64_t streams =
            std::min(args.streams, args.end_panel * args.panel) - args.first_panel * args.panel;
        const int64_t whole = streams / args.panel, rest = streams % args.panel;
        launch("update", update_kernel<kPer, kRank, kSigns>,
               dim3(grid.x, grid.y, static_cast<unsigned>(args.end_panel - args.first_panel)),
               threads, args);
        for_each("update_sum", n,
                 AddChains{chains.data(), whole * of_panel + blocks_of(rest * args.rank, kChain), n,
                           args.first_panel == 0, -0.0f, args.g});  // −0 + x is x
    }
}

/// Four elements of one chain of a vector's sum.
struct VectorChain {
    const GenerationBlock* block;
    const float* weights;
    int64_t streams, first_chain, pop_size;
    uint32_t parameter;
    int64_t n, quads;
    float* partial;  // (chains,n)
    float sigma_scale;

    __device__ void operator()(int64_t item) const {
        const int64_t quad = item % quads, chain = item / quads;
        const int64_t begin = (first_chain + chain) * kChain;
        const int64_t end = begin + kChain < streams ? begin + kChain : streams;
        const float c = block->sigma * sigma_scale / sqrtf(static_cast<float>(pop_size));
        float sums[4] = {};
        for (int64_t j = begin; j < end; ++j) {
            float eps[4];
            draw_block(stream_of(*block, parameter, j), static_cast<uint32_t>(quad), eps);
            const float weight = c * weights[j];
            for (int i = 0; i < 4; ++i) sums[i] = fmaf(weight, eps[i], sums[i]);
        }
        for (int i = 0; i < 4 && 4 * quad + i < n; ++i) partial[chain * n + 4 * quad + i] = sums[i];
    }
};

/// `rows` x `cols` elements that are drawn each for itself.
void update_vector(const UpdateArgs& args) {
    const int64_t n = args.rows * args.cols, all = blocks_of(args.streams, kChain);
    const int64_t most = std::max<int64_t>(1, std::min(all, kChainFloats / n));
    const Scratch partial(most * n);
    for (int64_t first = 0; first < all; first += most) {
        const int64_t chains = std::min(most, all - first), quads = blocks_of(n, 4);
        for_each("update_vector", chains * quads,
                 VectorChain{args.block, args.weights, args.streams, first, args.pop_size,
                             args.parameter, n, quads, partial.data(), args.sigma_scale});
        for_each("update_vector", n,
                 AddChains{partial.data(), chains, n, first == 0, 0.0f, args.g});
    }
}

}  // namespace

void update(const UpdateArgs& args) {
    if (args.rank == 0) {
        return args.law.kind == LawKind::sparse ? update_sparse(args) : update_vector(args);
    }
    if (std::max(args.rows, args.cols) > kMostRows) {
        throw Error("[update] a matrix of " + std::to_string(args.rows) + " rows and " +
                    std::to_string(args.cols) + " columns but the device takes up to " +
                    std::to_string(kMostRows));
    }
    const MatrixArgs matrix{.block = args.block,
                            .weights = args.weights,
                            .streams = args.streams,
                            .panel = panel_streams(args.rows, args.cols, args.rank, args.streams),
                            .first_panel = 0,
                            .end_panel = 0,
                            .chains = nullptr,
                            .pop_size = args.pop_size,
                            .parameter = args.parameter,
                            .rank = args.rank,
                            .rows = static_cast<int>(args.rows),
                            .cols = static_cast<int>(args.cols),
                            .g = args.g,
                            .sigma_scale = args.sigma_scale};
    if (args.law.kind == LawKind::sign) return update_matrix<kNarrowPer, 0, true>(matrix);
    constexpr int64_t kWide = 96;  // smaller ones would fill little of a wide tile
    const bool wide = std::min(args.rows, args.cols) >= kWide;
    switch (wide ? args.rank : 0) {
        case 1:
            return update_matrix<kWidePer, 1>(matrix);
        case 2:
            return update_matrix<kWidePer, 2>(matrix);
        case 4:
            return update_matrix<kWidePer, 4>(matrix);
        case 8:
            return update_matrix<kWidePer, 8>(matrix);
        default:
            return update_matrix<kNarrowPer, 0>(matrix);
    }
}

}  // namespace eggroll::cuda
