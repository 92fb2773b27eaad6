// SPDX-License-Identifier: MIT
// y = act(from + s t A_jᵀ + b + s σ ε) with A and ε in registers, drawn once for several rows of a
// pair.
#include "cuda/activation.h"
#include "cuda/law_sign.h"
#include "cuda/linear_kernels.h"

namespace eggroll::cuda {

namespace {

/// Rows of a pair that a thread walks over with the same noise: at least so many, and more as long
/// as there are threads for several rounds of the largest GPU.
constexpr int64_t kLeastRows = 32;
constexpr int64_t kEnoughThreads = int64_t{1} << 20;

struct Slab {
    ExpandArgs of;
    int k0;
    bool finish;  // the last slab: bias, bias noise and activation
    int64_t quads;
    int64_t rows;        // of a thread
    int64_t row_chunks;  // of a pair
    int64_t items;       // pairs × row_chunks × quads
};

/// A thread takes four columns of some rows of a pair. K 0: no factors.
template <int K, bool kWhole, bool kSigns>
__global__ void __launch_bounds__(kThreads) expand_kernel(Slab slab) {
    const ExpandArgs& a = slab.of;
    const ThreadIndices at = thread_indices();
    for (int64_t item = at.first; item < slab.items; item += at.step) {
        const int64_t quad = item % slab.quads, chunk = item / slab.quads % slab.row_chunks;
        const int64_t slot = item / slab.quads / slab.row_chunks;
        const int64_t o = 4 * quad, left = a.outputs - o;
        const PairRows::Range own = a.rows.range(slot);
        const int64_t begin = own.first + chunk * slab.rows;
        const int64_t end = begin + slab.rows < own.end ? begin + slab.rows : own.end;
        const GenerationBlock& block = *a.rows.members.block;
        const int64_t pair = a.rows.first_pair() + slot;

        constexpr int kColumns = K > 0 ? K : 1;
        float factor[4][kColumns] = {};
        if constexpr (kSigns) {
            draw_sign_rows(stream_of(block, a.w_parameter, pair), offset_of_signs(a.inputs, a.rank),
                           o, a.rank, slab.k0, factor);
        } else if constexpr (K > 0) {
            draw_rows<K, kWhole>(stream_of(block, a.w_parameter, pair),
                                 offset_of_a(a.inputs, a.rank), o, a.rank, slab.k0, factor);
        }
        float bias[4] = {}, eps[4] = {};
        if (slab.finish && a.bias != nullptr) {
            for (int i = 0; i < 4; ++i) bias[i] = i < left ? a.bias[o + i] : 0.0f;
        }
        if (slab.finish && a.bias_noise) {
            draw_block(stream_of(block, a.b_parameter, pair), static_cast<uint32_t>(quad), eps);
            for (int i = 0; i < 4; ++i) eps[i] *= block.sigma * a.b_sigma_scale;
        }
        for (int64_t row = begin; row < end; ++row) {
            const float sign = own.sign_of(row);
            const int64_t part_row = own.part_row(row);
            float sum[4] = {};
            if (a.from.data != nullptr) {
                const int64_t from = a.shared_from ? part_row : row;
                const float4 v = a.from.quad(from * a.outputs + o, left);
                sum[0] = v.x, sum[1] = v.y, sum[2] = v.z, sum[3] = v.w;
            }
            if constexpr (K > 0) {
                const int64_t t_row = a.shared_t ? slot * a.rows.batch + part_row : row;
                const float* t = a.t + t_row * a.rank + slab.k0;
#pragma unroll
                for (int k = 0; k < K; ++k) {
                    const float t_k = kWhole || slab.k0 + k < a.rank ? sign * t[k] : 0.0f;
#pragma unroll
                    for (int i = 0; i < 4; ++i) sum[i] = fmaf(t_k, factor[i][k], sum[i]);
                }
            }
            if (slab.finish) {
#pragma unroll
                for (int i = 0; i < 4; ++i) {
                    sum[i] = activate(a.act, sum[i] + fmaf(sign, eps[i], bias[i]));
                }
            }
            a.y.put_quad(row * a.outputs + o, make_float4(sum[0], sum[1], sum[2], sum[3]), left);
        }
    }
}

template <int K, bool kWhole, bool kSigns = false>
void expand_slab(const ExpandArgs& args, int k0, bool finish) {
    const int64_t quads = blocks_of(args.outputs, 4);
    const int64_t pair_rows = args.rows.most_rows(), threads = args.rows.pairs() * quads;
    int64_t rows = kLeastRows;
    while (rows < pair_rows && threads * blocks_of(pair_rows, 2 * rows) >= kEnoughThreads)
        rows *= 2;
    const int64_t row_chunks = blocks_of(pair_rows, rows);
    const int64_t items = threads * row_chunks;
    launch("expand", expand_kernel<K, kWhole, kSigns>, grid_of(items), dim3(kThreads),
           Slab{args, k0, finish, quads, rows, row_chunks, items});
}

}  // namespace

void expand(const ExpandArgs& args) {
    if (args.rank == 0) return expand_slab<0, true>(args, 0, true);
    ExpandArgs slab = args;
    // The next slab adds to what this one wrote.
    const auto wrote = [&] {
        slab.from = {args.y.data, args.y.bf16, args.y.aligned};
        slab.shared_from = false;
    };
    if (args.signs) {
        for (int k0 = 0; k0 < args.rank; k0 += kSignSlab) {
            expand_slab<kSignSlab, false, true>(slab, k0, k0 + kSignSlab >= args.rank);
            wrote();
        }
        return;
    }
    for_slabs(args.rank, [&]<int K, bool kWhole>(int k0, bool last) {
        expand_slab<K, kWhole>(slab, k0, last);
        wrote();
    });
}

}  // namespace eggroll::cuda
