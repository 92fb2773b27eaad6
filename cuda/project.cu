// SPDX-License-Identifier: MIT
// t = σ/√r x B_j with B in registers, drawn once for + and − and for several of their rows.
#include "cuda/law_sign.h"
#include "cuda/linear_kernels.h"

namespace eggroll::cuda {

namespace {

struct Slab {
    ProjectArgs of;
    int k0;
    int64_t row_chunks;  // of a pair
    int64_t items;       // pairs × row_chunks
};

__device__ inline float warp_sum(float v) {
#pragma unroll
    for (int offset = kWarp / 2; offset > 0; offset /= 2) {
        v += __shfl_down_sync(0xffffffffu, v, offset);
    }
    return v;
}

/// Rows of a warp, or of a block, of a pair: first.. of x, `count` of them.
struct RowRange {
    int64_t first, count;
};
__device__ inline RowRange rows_at(const ProjectArgs& a, int64_t slot, int64_t begin,
                                   int64_t most) {
    const PairRows::Range own = a.rows.range(slot);
    const int64_t end = a.shared_x ? a.rows.batch : own.end;
    const int64_t first = (a.shared_x ? 0 : own.first) + begin;
    return {first, end - first < most ? end - first : most};
}

/// Adds four columns of rows of x times those of B.
template <int K, int kRows>
__device__ inline void add_quad(const ProjectArgs& a, const RowRange& rows, int64_t i,
                                const float (&b)[4][K], float (&sums)[kRows][K]) {
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
        if (r >= rows.count) break;
        const float4 v = a.x.quad((rows.first + r) * a.inputs + i, a.inputs - i);
#pragma unroll
        for (int k = 0; k < K; ++k) {
            sums[r][k] = fmaf(v.x, b[0][k], sums[r][k]);
            // Past the last input v is 0 and the noise some finite number.
            sums[r][k] = fmaf(v.y, b[1][k], sums[r][k]);
            sums[r][k] = fmaf(v.z, b[2][k], sums[r][k]);
            sums[r][k] = fmaf(v.w, b[3][k], sums[r][k]);
        }
    }
}

template <int K, int kRows>
__device__ inline void put(const Slab& slab, int64_t slot, const RowRange& rows, int lane,
                           const float (&sums)[kRows][K]) {
    const ProjectArgs& a = slab.of;
    const float scale =
        a.rows.members.block->sigma * a.sigma_scale / sqrtf(static_cast<float>(a.rank));
    float* t = a.t + ((a.shared_x ? slot * a.rows.batch : 0) + rows.first) * a.rank + slab.k0;
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
        if (r >= rows.count) break;
#pragma unroll
        for (int k = 0; k < K; ++k) {
            const float sum = warp_sum(sums[r][k]);
            if (lane == 0 && slab.k0 + k < a.rank) t[r * a.rank + k] = scale * sum;
        }
    }
}

/// A warp takes all rows of a pair, at most kRows. Three blocks to a multiprocessor of the
/// one that the compiler would fit four of, with sums in memory.
template <int K, bool kWhole, int kRows>
__global__ void __launch_bounds__(kThreads, K == 2 && kRows == 8 ? 3 : 0)
    project_kernel(Slab slab) {
    const ProjectArgs& a = slab.of;
    const int lane = static_cast<int>(threadIdx.x) % kWarp;
    const int64_t slot = (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) / kWarp;
    if (slot >= slab.items) return;
    const RowRange rows = rows_at(a, slot, 0, kRows);
    const NoiseStream stream =
        stream_of(*a.rows.members.block, a.parameter, a.rows.first_pair() + slot);
    float sums[kRows][K] = {};
    for (int64_t i = 4 * lane; i < a.inputs; i += 4 * kWarp) {
        float b[4][K];
        draw_rows<K, kWhole>(stream, 0, i, a.rank, slab.k0, b);
        add_quad(a, rows, i, b, sums);
    }
    put(slab, slot, rows, lane, sums);
}

constexpr int kWarps = kThreads / kWarp;
constexpr int kWarpRows = 8;
constexpr int kBlockRows = kWarps * kWarpRows;

/// A block takes up to kBlockRows rows of a pair and draws B for all of them, 4 * kThreads rows of
/// it at a time. The order of the sums is that of project_kernel.
template <int K, bool kWhole, bool kSigns = false>
__global__ void __launch_bounds__(kThreads) project_tile_kernel(Slab slab) {
    __shared__ float4 tile[K][kThreads];
    const ProjectArgs& a = slab.of;
    const int thread = static_cast<int>(threadIdx.x), lane = thread % kWarp;
    const int64_t slot = blockIdx.x / slab.row_chunks, chunk = blockIdx.x % slab.row_chunks;
    const RowRange rows =
        rows_at(a, slot, chunk * kBlockRows + thread / kWarp * kWarpRows, kWarpRows);
    if (rows_at(a, slot, chunk * kBlockRows, 1).count <= 0) return;  // all of the block
    const NoiseStream stream =
        stream_of(*a.rows.members.block, a.parameter, a.rows.first_pair() + slot);
    float sums[kWarpRows][K] = {};
    for (int64_t begin = 0; begin < a.inputs; begin += 4 * kThreads) {
        float b[4][K];
        if (begin + 4 * thread < a.inputs) {
            if constexpr (kSigns) {
                draw_sign_rows(stream, 0, begin + 4 * thread, a.rank, slab.k0, b);
            } else {
                draw_rows<K, kWhole>(stream, 0, begin + 4 * thread, a.rank, slab.k0, b);
            }
#pragma unroll
            for (int k = 0; k < K; ++k) {
                tile[k][thread] = make_float4(b[0][k], b[1][k], b[2][k], b[3][k]);
            }
        }
        __syncthreads();
        for (int quad = lane; quad < kThreads && begin + 4 * quad < a.inputs; quad += kWarp) {
#pragma unroll
            for (int k = 0; k < K; ++k) {
                const float4 v = tile[k][quad];
                b[0][k] = v.x, b[1][k] = v.y, b[2][k] = v.z, b[3][k] = v.w;
            }
            add_quad(a, rows, begin + 4 * quad, b, sums);
        }
        __syncthreads();
    }
    put(slab, slot, rows, lane, sums);
}

int64_t pair_rows_of(const ProjectArgs& args) {
    return args.shared_x ? args.rows.batch : args.rows.most_rows();
}

template <int K, bool kWhole, bool kSigns = false>
void project_tiles(const ProjectArgs& args, int k0) {
    const int64_t row_chunks = blocks_of(pair_rows_of(args), kBlockRows);
    const int64_t items = args.rows.pairs() * row_chunks;
    launch("project", project_tile_kernel<K, kWhole, kSigns>, dim3(static_cast<unsigned>(items)),
           dim3(kThreads), Slab{args, k0, row_chunks, items});
}

template <int K, bool kWhole>
void project_slab(const ProjectArgs& args, int k0) {
    const int64_t pair_rows = pair_rows_of(args), pairs = args.rows.pairs();
    if (pair_rows > kWarpRows) return project_tiles<K, kWhole>(args, k0);
    launch("project",
           pair_rows <= 2 ? project_kernel<K, kWhole, 2> : project_kernel<K, kWhole, kWarpRows>,
           dim3(static_cast<unsigned>(blocks_of(pairs * kWarp, kThreads))), dim3(kThreads),
           Slab{args, k0, 1, pairs});
}

}  // namespace

void project(const ProjectArgs& args) {
    if (args.signs) {
        for (int k0 = 0; k0 < args.rank; k0 += kSignSlab) {
            project_tiles<kSignSlab, false, true>(args, k0);
        }
        return;
    }
    for_slabs(args.rank,
              [&]<int K, bool kWhole>(int k0, bool) { project_slab<K, kWhole>(args, k0); });
}

}  // namespace eggroll::cuda
