// SPDX-License-Identifier: MIT
// t = σ/√r x B_j with B in registers, drawn once for + and − and for several of their rows.
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

/// A warp takes up to kRows rows of a pair.
template <int K, bool kWhole, int kRows>
__global__ void __launch_bounds__(kThreads) project_kernel(Slab slab) {
    const ProjectArgs& a = slab.of;
    const int lane = static_cast<int>(threadIdx.x) % kWarp;
    const int64_t item = (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) / kWarp;
    if (item >= slab.items) return;
    const int64_t slot = item / slab.row_chunks, chunk = item % slab.row_chunks;
    const int64_t batch = a.rows.batch;
    const PairRows::Range own = a.rows.range(slot);
    const int64_t end = a.shared_x ? batch : own.end;
    const int64_t first = (a.shared_x ? 0 : own.first) + chunk * kRows;
    const int64_t count = end - first < kRows ? end - first : kRows;
    if (count <= 0) return;
    const GenerationBlock& block = *a.rows.members.block;
    const NoiseStream stream = stream_of(block, a.parameter, a.rows.first_pair() + slot);

    float sums[kRows][K] = {};
    for (int64_t i = 4 * lane; i < a.inputs; i += 4 * kWarp) {
        float b[4][K];
        draw_rows<K, kWhole>(stream, 0, i, a.rank, slab.k0, b);
#pragma unroll
        for (int r = 0; r < kRows; ++r) {
            if (r >= count) break;
            const float4 v = a.x.quad((first + r) * a.inputs + i, a.inputs - i);
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
    const float scale = block.sigma / sqrtf(static_cast<float>(a.rank));
    float* t = a.t + ((a.shared_x ? slot * batch : 0) + first) * a.rank + slab.k0;
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
        if (r >= count) break;
#pragma unroll
        for (int k = 0; k < K; ++k) {
            const float sum = warp_sum(sums[r][k]);
            if (lane == 0 && slab.k0 + k < a.rank) t[r * a.rank + k] = scale * sum;
        }
    }
}

template <int K, bool kWhole>
void project_slab(const ProjectArgs& args, int k0) {
    const int64_t pair_rows = args.shared_x ? args.rows.batch : args.rows.most_rows();
    const auto run = [&](auto kernel, int64_t rows) {
        const int64_t row_chunks = blocks_of(pair_rows, rows);
        const int64_t items = args.rows.pairs() * row_chunks;
        launch("project", kernel, dim3(static_cast<unsigned>(blocks_of(items * kWarp, kThreads))),
               dim3(kThreads), Slab{args, k0, row_chunks, items});
    };
    constexpr int kMostRows = K <= 2 ? 32 : 8;
    if (pair_rows <= 2) {
        run(project_kernel<K, kWhole, 2>, 2);
    } else if (pair_rows <= 8 || kMostRows == 8) {
        run(project_kernel<K, kWhole, 8>, 8);
    } else {
        run(project_kernel<K, kWhole, kMostRows>, kMostRows);
    }
}

}  // namespace

void project(const ProjectArgs& args) {
    for_slabs(args.rank,
              [&]<int K, bool kWhole>(int k0, bool) { project_slab<K, kWhole>(args, k0); });
}

}  // namespace eggroll::cuda
