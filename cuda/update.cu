// SPDX-License-Identifier: MIT
// g = c Σ_j d_j A_j B_jᵀ, a tile of g to a block, which draws the factors it multiplies into shared
// memory; the sums are formed in the order of core/fixed_order.h, the CPU's.
#include "core/fixed_order.h"
#include "cuda/kernels.h"
#include "cuda/launch.h"
#include "cuda/noise.h"

namespace eggroll::cuda {

namespace {

/// Factors in shared memory at a time: streams × rank.
constexpr int kDepth = 32;
/// Threads of a block lie on the tile as a square of so many.
constexpr int kSide = 16;

struct MatrixArgs {
    const GenerationBlock* block;
    const float* weights;
    int64_t streams, panel;
    int64_t pop_size;
    uint32_t parameter;
    int rank;
    int64_t rows, cols;
    float* g;
};

/// Each thread has kPer × kPer elements of g; the tile has kSide times as many rows and columns.
template <int kPer>
__global__ void __launch_bounds__(kSide* kSide) update_kernel(MatrixArgs args) {
    constexpr int kTile = kPer * kSide, kQuads = kTile / 4;
    __shared__ __align__(16) float a[kDepth][kTile], b[kDepth][kTile];
    const int thread = static_cast<int>(threadIdx.x);
    const int tx = thread % kSide, ty = thread / kSide;
    const int64_t row0 = static_cast<int64_t>(blockIdx.y) * kTile;
    const int64_t col0 = static_cast<int64_t>(blockIdx.x) * kTile;
    const GenerationBlock& block = *args.block;
    const int rank = args.rank;
    const float c =
        block.sigma / sqrtf(static_cast<float>(args.pop_size) * static_cast<float>(rank));
    const uint64_t base_a = offset_of_a(args.cols, rank);

    // Puts element (row, k of a stream) of both factors where the product reads it.
    const auto put = [&](bool is_a, int depth, int row, float value, float weight) {
        if (is_a) {
            a[depth][row] = row0 + row < args.rows ? weight * value : 0.0f;
        } else {
            b[depth][row] = col0 + row < args.cols ? value : 0.0f;
        }
    };
    // Whole streams j.. of a rank up to kDepth: a factor's tile is a run of blocks of the stream.
    const auto draw_streams = [&](int64_t j, int count) {
        const int per_stream = kQuads * rank, items = count * per_stream;
        for (int item = thread; item < 2 * items; item += kSide * kSide) {
            const bool is_a = item < items;
            const int at = is_a ? item : item - items;
            const int s = at / per_stream, q = at % per_stream;
            const auto first = static_cast<uint64_t>(is_a ? row0 : col0);
            const uint64_t element = (is_a ? base_a : 0) + first * static_cast<uint64_t>(rank);
            float drawn[4];
            draw_block(stream_of(block, args.parameter, j + s),
                       static_cast<uint32_t>(element / 4) + static_cast<uint32_t>(q), drawn);
            const float weight = c * args.weights[j + s];
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const int e = 4 * q + i;
                put(is_a, s * rank + e % rank, e / rank, drawn[i], weight);
            }
        }
    };
    // Columns k0..k0+count-1 of the factors of one stream of a higher rank.
    const auto draw_slab = [&](int64_t j, int k0, int count) {
        const int runs = kDepth / 4, items = kTile * runs;
        for (int item = thread; item < 2 * items; item += kSide * kSide) {
            const bool is_a = item < items;
            const int at = is_a ? item : item - items;
            const int row = at / runs, k = at % runs * 4;
            const auto from = static_cast<uint64_t>((is_a ? row0 : col0) + row);
            float drawn[4];
            draw_run<4>(stream_of(block, args.parameter, j),
                        (is_a ? base_a : 0) + from * static_cast<uint64_t>(rank) +
                            static_cast<uint64_t>(k0 + k),
                        drawn);
            const float weight = c * args.weights[j];
            for (int i = 0; i < 4; ++i) {
                if (k + i < count) put(is_a, k + i, row, drawn[i], weight);
            }
        }
    };

    float chain[kPer][kPer] = {}, total[kPer][kPer] = {};
    int64_t length = 0;  // of the chain
    bool first = true;
    const auto end_chain = [&] {
        if (length == 0) return;
#pragma unroll
        for (int r = 0; r < kPer; ++r) {
#pragma unroll
            for (int i = 0; i < kPer; ++i) {
                total[r][i] = first ? chain[r][i] : total[r][i] + chain[r][i];
                chain[r][i] = 0.0f;
            }
        }
        first = false;
        length = 0;
    };
    const auto multiply = [&](int depth) {
        for (int k = 0; k < depth; ++k) {
            float own_a[kPer], own_b[kPer];
#pragma unroll
            for (int i = 0; i < kPer; i += 4) {
                // Quads of a tile's half lie side by side: no two threads of a wavefront meet.
                *reinterpret_cast<float4*>(own_a + i) =
                    *reinterpret_cast<const float4*>(&a[k][i * kSide + 4 * ty]);
                *reinterpret_cast<float4*>(own_b + i) =
                    *reinterpret_cast<const float4*>(&b[k][i * kSide + 4 * tx]);
            }
#pragma unroll
            for (int r = 0; r < kPer; ++r) {
#pragma unroll
                for (int i = 0; i < kPer; ++i) {
                    chain[r][i] = fmaf(own_a[r], own_b[i], chain[r][i]);
                }
            }
            if (++length == kChain) end_chain();
        }
    };

    for (int64_t panel = 0; panel < args.streams; panel += args.panel) {
        const int64_t end = panel + args.panel < args.streams ? panel + args.panel : args.streams;
        if (rank <= kDepth) {
            const int most = kDepth / rank;
            for (int64_t j = panel; j < end; j += most) {
                const int count = end - j < most ? static_cast<int>(end - j) : most;
                __syncthreads();
                draw_streams(j, count);
                __syncthreads();
                multiply(count * rank);
            }
        } else {
            for (int64_t j = panel; j < end; ++j) {
                for (int k0 = 0; k0 < rank; k0 += kDepth) {
                    const int count = rank - k0 < kDepth ? rank - k0 : kDepth;
                    __syncthreads();
                    draw_slab(j, k0, count);
                    __syncthreads();
                    multiply(count);
                }
            }
        }
        end_chain();
    }
#pragma unroll
    for (int r = 0; r < kPer; ++r) {
        const int64_t row = row0 + r / 4 * 4 * kSide + 4 * ty + r % 4;
        if (row >= args.rows) continue;
#pragma unroll
        for (int i = 0; i < kPer; ++i) {
            const int64_t col = col0 + i / 4 * 4 * kSide + 4 * tx + i % 4;
            if (col < args.cols) args.g[row * args.cols + col] = total[r][i];
        }
    }
}

template <int kPer>
void update_matrix(const MatrixArgs& args) {
    constexpr int64_t kTile = kPer * kSide;
    launch("update", update_kernel<kPer>,
           dim3(static_cast<unsigned>(blocks_of(args.cols, kTile)),
                static_cast<unsigned>(blocks_of(args.rows, kTile))),
           dim3(kSide * kSide), args);
}

/// Four elements of one chain of a vector's sum.
struct VectorChain {
    const GenerationBlock* block;
    const float* weights;
    int64_t streams, first_chain, pop_size;
    uint32_t parameter;
    int64_t n, quads;
    float* partial;  // (chains,n)

    __device__ void operator()(int64_t item) const {
        const int64_t quad = item % quads, chain = item / quads;
        const int64_t begin = (first_chain + chain) * kChain;
        const int64_t end = begin + kChain < streams ? begin + kChain : streams;
        const float c = block->sigma / sqrtf(static_cast<float>(pop_size));
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

struct AddChains {
    const float* partial;
    int64_t chains, n;
    bool first;
    float* g;

    __device__ void operator()(int64_t i) const {
        float sum = first ? 0.0f : g[i];
        for (int64_t chain = 0; chain < chains; ++chain) sum += partial[chain * n + i];
        g[i] = sum;
    }
};

void update_vector(const UpdateArgs& args) {
    constexpr int64_t kPartialFloats = 1 << 22;
    const int64_t n = args.cols, all = blocks_of(args.streams, kChain);
    const int64_t most = std::max<int64_t>(1, std::min(all, kPartialFloats / n));
    const Scratch partial(most * n);
    for (int64_t first = 0; first < all; first += most) {
        const int64_t chains = std::min(most, all - first), quads = blocks_of(n, 4);
        for_each("update_vector", chains * quads,
                 VectorChain{args.block, args.weights, args.streams, first, args.pop_size,
                             args.parameter, n, quads, partial.data()});
        for_each("update_vector", n, AddChains{partial.data(), chains, n, first == 0, args.g});
    }
}

}  // namespace

void update(const UpdateArgs& args) {
    if (args.rank == 0) return update_vector(args);
    const MatrixArgs matrix{.block = args.block,
                            .weights = args.weights,
                            .streams = args.streams,
                            .panel = panel_streams(args.rows, args.cols, args.rank, args.streams),
                            .pop_size = args.pop_size,
                            .parameter = args.parameter,
                            .rank = args.rank,
                            .rows = args.rows,
                            .cols = args.cols,
                            .g = args.g};
    constexpr int64_t kWide = 512;  // from there on there are tiles enough for the wide ones
    if (std::min(args.rows, args.cols) >= kWide) {
        update_matrix<8>(matrix);
    } else {
        update_matrix<4>(matrix);
    }
}

}  // namespace eggroll::cuda
