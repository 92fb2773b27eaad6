// SPDX-License-Identifier: MIT
// E is zero but for k entries. Its update adds whole numbers, so that the order of threads does not
// change a bit.
#include "core/fixed_order.h"
#include "cuda/block.h"
#include "cuda/law_sparse.h"
#include "cuda/laws.h"
#include "cuda/linear_kernels.h"

namespace eggroll::cuda {

namespace {

/// One row of one member.
struct AddSparse {
    PairRows rows;
    const float* x;
    bool shared_x;
    float* y;
    uint32_t parameter;
    float sigma_scale;
    int64_t inputs, outputs, entries;

    __device__ void operator()(int64_t row) const {
        const int64_t m = row / rows.batch, member = rows.members.first + m;
        const GenerationBlock& block = *rows.members.block;
        const NoiseStream stream = stream_of(block, parameter, rows.members.pair_of(member));
        const float scale = rows.members.sign_of(member) *
                            (block.sigma * sigma_scale * sparse_scale(inputs * outputs, entries));
        const float* own_x = x + (shared_x ? row % rows.batch : row) * inputs;
        float* own_y = y + row * outputs;
        for (int64_t i = 0; i < entries; i += 4) {
            SparseQuad quad;
            draw_sparse(stream, entries, inputs * outputs, i, quad);
#pragma unroll
            for (int k = 0; k < 4; ++k) {
                if (i + k >= entries) break;
                own_y[quad.place[k] / inputs] +=
                    scale * quad.value[k] * own_x[quad.place[k] % inputs];
            }
        }
    }
};

/// The largest size of n weights; NaN if one is not finite.
__global__ void __launch_bounds__(kThreads) largest_kernel(const float* x, int64_t n, float* out) {
    float largest = 0.0f;
    for (int64_t i = threadIdx.x; i < n; i += kThreads) {
        largest = larger(largest, x[i] - x[i] == 0.0f ? fabsf(x[i]) : NAN);
    }
    largest = block_max<kThreads>(largest);
    if (threadIdx.x == 0) *out = largest;
}

struct Zero {
    unsigned long long* sums;
    __device__ void operator()(int64_t i) const { sums[i] = 0; }
};

/// Four entries of one stream.
struct Scatter {
    const GenerationBlock* block;
    const float* weights;
    const float* largest;
    int64_t streams, entries, quads, n;
    uint32_t parameter;
    unsigned long long* sums;

    __device__ void operator()(int64_t item) const {
        const int64_t j = item / quads, i = item % quads * 4;
        if (weights[j] == 0.0f || !(*largest > 0.0f)) return;
        const SparseSum sum(*largest, streams * entries);
        SparseQuad quad;
        draw_sparse(stream_of(*block, parameter, j), entries, n, i, quad);
        for (int k = 0; k < 4 && i + k < entries; ++k) {
            atomicAdd(sums + quad.place[k],
                      static_cast<unsigned long long>(sum.whole(weights[j], quad.value[k])));
        }
    }
};

struct Gather {
    const GenerationBlock* block;
    const float* largest;
    const unsigned long long* sums;
    int64_t streams, entries, n, pop_size;
    float sigma_scale;
    float* g;

    __device__ void operator()(int64_t i) const {
        if (*largest != *largest) {
            g[i] = NAN;
            return;
        }
        const SparseSum sum(*largest, streams * entries);
        const float c = block->sigma * sigma_scale * sparse_scale(n, entries) /
                        sqrtf(static_cast<float>(pop_size));
        g[i] = sum.value(static_cast<int64_t>(sums[i]), c);
    }
};

}  // namespace

void add_sparse(const LinearArgs& args) {
    for_each("sparse", args.members.count * args.batch,
             AddSparse{{args.members, args.batch},
                       args.x,
                       args.shared_x,
                       args.y,
                       args.w.parameter,
                       args.w.sigma_scale,
                       args.inputs,
                       args.outputs,
                       args.w.law.entries});
}

void update_sparse(const UpdateArgs& args) {
    const int64_t n = args.rows * args.cols, k = args.law.entries, quads = blocks_of(k, 4);
    const Scratch largest(1);
    const ScratchOf<unsigned long long> sums(n);
    launch("sparse_largest", largest_kernel, dim3(1), dim3(kThreads), args.weights, args.streams,
           largest.data());
    for_each("sparse_zero", n, Zero{sums.data()});
    for_each("sparse_scatter", args.streams * quads,
             Scatter{args.block, args.weights, largest.data(), args.streams, k, quads, n,
                     args.parameter, sums.data()});
    for_each("sparse_gather", n,
             Gather{args.block, largest.data(), sums.data(), args.streams, k, n, args.pop_size,
                    args.sigma_scale, args.g});
}

}  // namespace eggroll::cuda
