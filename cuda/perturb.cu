// SPDX-License-Identifier: MIT
// y = s σ/√r (x B_j) A_jᵀ + b + s σ ε in one kernel: some warps of a block take the few rows of a
// pair, form t with B in registers, add up their parts in a fixed order, and draw A to write y.
#include "cuda/linear_kernels.h"

#include <algorithm>

namespace eggroll::cuda {

namespace {

constexpr int kWarps = kThreads / kWarp;

struct Launch {
    PerturbArgs of;
    int log_warps;  // 2^log_warps warps, at most kWarps, to a pair
    int64_t pairs;
};

/// In every lane the sum of all; lanes that swap add the same two numbers.
__device__ inline float sum_of_lanes(float v) {
#pragma unroll
    for (int offset = kWarp / 2; offset > 0; offset /= 2) {
        v += __shfl_xor_sync(0xffffffffu, v, offset);
    }
    return v;
}

/// A pair has at most kRows rows.
template <int K, int kRows>
__global__ void __launch_bounds__(kThreads) perturb_kernel(Launch launch) {
    __shared__ float parts[kWarps][kRows][K];
    const PerturbArgs& a = launch.of;
    const int warp = static_cast<int>(threadIdx.x) / kWarp;
    const int lane = static_cast<int>(threadIdx.x) % kWarp;
    const int warps = 1 << launch.log_warps;
    const int first_warp = warp & ~(warps - 1);  // of those for the same pair
    const int stride = 4 * kWarp * warps;
    const int64_t start = 4 * ((warp - first_warp) * kWarp + lane);
    const int64_t slot = (static_cast<int64_t>(blockIdx.x) * kWarps + warp) >> launch.log_warps;
    const PairRows::Range rows = a.rows.range(slot);
    const int64_t first = rows.first;
    // A warp without rows waits with the others.
    const int count = slot < launch.pairs ? static_cast<int>(rows.end - first) : 0;
    const GenerationBlock& block = *a.rows.members.block;
    const int64_t pair = a.rows.first_pair() + slot;
    const NoiseStream stream = stream_of(block, a.w_parameter, pair);

    float sums[kRows][K] = {};
    if (count > 0) {
        for (int64_t i = start; i < a.inputs; i += stride) {
            float4 v[kRows];
#pragma unroll
            for (int r = 0; r < kRows; ++r) {
                v[r] = r < count ? a.x.quad((first + r) * a.inputs + i, a.inputs - i)
                                 : make_float4(0, 0, 0, 0);
            }
            float b[4][K];
            draw_rows<K, true>(stream, 0, i, K, 0, b);
#pragma unroll
            for (int r = 0; r < kRows; ++r) {
#pragma unroll
                for (int k = 0; k < K; ++k) {
                    // Past the last input v is 0 and the noise some finite number.
                    sums[r][k] = fmaf(v[r].x, b[0][k], sums[r][k]);
                    sums[r][k] = fmaf(v[r].y, b[1][k], sums[r][k]);
                    sums[r][k] = fmaf(v[r].z, b[2][k], sums[r][k]);
                    sums[r][k] = fmaf(v[r].w, b[3][k], sums[r][k]);
                }
            }
        }
    }
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
#pragma unroll
        for (int k = 0; k < K; ++k) {
            const float sum = sum_of_lanes(sums[r][k]);
            if (lane == 0) parts[warp][r][k] = sum;
        }
    }
    __syncthreads();
    if (count <= 0) return;
    const float scale = block.sigma * a.w_sigma_scale / sqrtf(static_cast<float>(K));
    float t[kRows][K] = {}, sign[kRows];
#pragma unroll 1
    for (int w = first_warp; w < first_warp + warps; ++w) {
#pragma unroll
        for (int r = 0; r < kRows; ++r) {
#pragma unroll
            for (int k = 0; k < K; ++k) t[r][k] += parts[w][r][k];
        }
    }
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
        sign[r] = rows.sign_of(first + r);
#pragma unroll
        for (int k = 0; k < K; ++k) t[r][k] *= sign[r] * scale;
    }
    const NoiseStream bias_stream = stream_of(block, a.b_parameter, pair);
    for (int64_t o = start; o < a.outputs; o += stride) {
        float bias[4] = {}, eps[4] = {};
        if (a.bias != nullptr) {
#pragma unroll
            for (int i = 0; i < 4; ++i) bias[i] = o + i < a.outputs ? a.bias[o + i] : 0.0f;
        }
        if (a.bias_noise) {
            draw_block(bias_stream, static_cast<uint32_t>(o / 4), eps);
#pragma unroll
            for (int i = 0; i < 4; ++i) eps[i] *= block.sigma * a.b_sigma_scale;
        }
        float factor[4][K];
        draw_rows<K, true>(stream, offset_of_a(a.inputs, K), o, K, 0, factor);
#pragma unroll
        for (int r = 0; r < kRows; ++r) {
            float sum[4];
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                sum[i] = fmaf(sign[r], eps[i], bias[i]);
#pragma unroll
                for (int k = 0; k < K; ++k) sum[i] = fmaf(t[r][k], factor[i][k], sum[i]);
            }
            if (r < count) {
                a.y.put_quad((first + r) * a.outputs + o,
                             make_float4(sum[0], sum[1], sum[2], sum[3]), a.outputs - o);
            }
        }
    }
}

/// As many warps to a pair as leave each lane two quads of the longer row: a narrow layer leaves no
/// lane idle then, and a wide one gets all of a block.
int log_warps_for(int64_t inputs, int64_t outputs) {
    const int64_t quads = std::max(inputs, outputs) / 4;
    int log_warps = 0;
    while (1 << log_warps < kWarps && quads >= (int64_t{4} * kWarp << log_warps)) ++log_warps;
    return log_warps;
}

template <int K, int kRows>
void run(const PerturbArgs& args) {
    const int64_t pairs = args.rows.pairs();
    const int log_warps = log_warps_for(args.inputs, args.outputs);
    launch("perturb", perturb_kernel<K, kRows>,
           dim3(static_cast<unsigned>(blocks_of(pairs << log_warps, kWarps))), dim3(kThreads),
           Launch{args, log_warps, pairs});
}

}  // namespace

void perturb(const PerturbArgs& args) {
    for_slabs(args.rank, [&]<int K, bool>(int, bool) {
        if (args.rows.most_rows() <= 2) {
            run<K, 2>(args);
        } else {
            run<K, 8>(args);
        }
    });
}

}  // namespace eggroll::cuda
