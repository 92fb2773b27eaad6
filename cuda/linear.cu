// SPDX-License-Identifier: MIT
// y = act(x W_pᵀ + b_p) for a range of members: cuBLAS multiplies with W; `project` forms
// t = σ/√r x B_j with B in registers; `expand` adds s t A_jᵀ, bias and bias noise and applies the
// activation in one pass over y. A pair's noise is drawn once for + and − and for its rows.
#include "cuda/activation.h"
#include "cuda/kernels.h"
#include "cuda/launch.h"
#include "cuda/noise.h"

namespace eggroll::cuda {

namespace {

/// Columns of factors that a thread has in registers at a time; a higher rank goes in slabs.
constexpr int kSlab = 8;

/// The rows of x or y that belong to a pair: those of one or two neighbouring members, or, of a
/// shared x, all.
struct PairRows {
    Members members;
    int64_t batch;

    __host__ __device__ int64_t first_pair() const { return members.pair_of(members.first); }
    __host__ __device__ int64_t pairs() const {
        return members.pair_of(members.first + members.count - 1) - first_pair() + 1;
    }
    /// Of the member's range, 0..count.
    __device__ int64_t first_member(int64_t slot) const {
        if (!members.antithetic) return slot;
        const int64_t first = 2 * (first_pair() + slot) - members.first;
        return first > 0 ? first : 0;
    }
    __device__ int64_t last_member(int64_t slot) const {
        if (!members.antithetic) return slot + 1;
        const int64_t last = 2 * (first_pair() + slot + 1) - members.first;
        return last < members.count ? last : members.count;
    }
};

struct ProjectArgs {
    PairRows rows;
    const float* x;
    bool shared_x;
    float* t;  // (V,B,r) of x's own rows, or (pairs,B,r) of shared ones
    uint32_t parameter;
    int rank, k0;
    int64_t inputs;
    int64_t row_chunks;  // of a pair
    int64_t items;       // pairs × row_chunks
    bool aligned;
};

constexpr int kWarp = 32;

__device__ inline float warp_sum(float v) {
#pragma unroll
    for (int offset = kWarp / 2; offset > 0; offset /= 2) {
        v += __shfl_down_sync(0xffffffffu, v, offset);
    }
    return v;
}

/// A warp takes up to kRows rows of a pair.
template <int K, bool kWhole, int kRows>
__global__ void __launch_bounds__(kThreads) project_kernel(ProjectArgs a) {
    const int lane = static_cast<int>(threadIdx.x) % kWarp;
    const int64_t item = (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) / kWarp;
    if (item >= a.items) return;
    const int64_t slot = item / a.row_chunks, chunk = item % a.row_chunks;
    const int64_t batch = a.rows.batch;
    const int64_t begin = a.shared_x ? 0 : a.rows.first_member(slot) * batch;
    const int64_t end = a.shared_x ? batch : a.rows.last_member(slot) * batch;
    const int64_t first = begin + chunk * kRows;
    const int64_t count = end - first < kRows ? end - first : kRows;
    if (count <= 0) return;
    const GenerationBlock& block = *a.rows.members.block;
    const NoiseStream stream = stream_of(block, a.parameter, a.rows.first_pair() + slot);
    const float* x = a.x + first * a.inputs;

    float sums[kRows][K] = {};
    for (int64_t i = 4 * lane; i < a.inputs; i += 4 * kWarp) {
        float b[4][K];
        draw_rows<K, kWhole>(stream, 0, i, a.rank, a.k0, b);
#pragma unroll
        for (int r = 0; r < kRows; ++r) {
            if (r >= count) break;
            const float4 v = load_quad(x + r * a.inputs + i, a.inputs - i, a.aligned);
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
    float* t = a.t + ((a.shared_x ? slot * batch : 0) + first) * a.rank + a.k0;
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
        if (r >= count) break;
#pragma unroll
        for (int k = 0; k < K; ++k) {
            const float sum = warp_sum(sums[r][k]);
            if (lane == 0 && a.k0 + k < a.rank) t[r * a.rank + k] = scale * sum;
        }
    }
}

struct ExpandArgs {
    PairRows rows;
    const float* from;  // (V,B,O), or (B,O)
    bool shared_from;
    const float* t;  // (V,B,r), or (pairs,B,r); null without factors
    bool shared_t;
    const float* bias;
    float* y;
    uint32_t w_parameter, b_parameter;
    bool bias_noise;
    bool finish;  // the last slab: bias, bias noise and activation
    int rank, k0;
    int64_t inputs, outputs, quads;
    int64_t row_chunks;
    int64_t items;  // pairs × row_chunks × quads
    Act act;
    bool aligned;
};

/// Rows of a pair that a thread walks over with the same noise.
constexpr int64_t kExpandRows = 32;

/// A thread takes four columns of up to kExpandRows rows of a pair. K 0: no factors.
template <int K, bool kWhole>
__global__ void __launch_bounds__(kThreads) expand_kernel(ExpandArgs a) {
    const ThreadIndices at = thread_indices();
    for (int64_t item = at.first; item < a.items; item += at.step) {
        const int64_t quad = item % a.quads, chunk = item / a.quads % a.row_chunks;
        const int64_t slot = item / a.quads / a.row_chunks;
        const int64_t batch = a.rows.batch, o = 4 * quad, left = a.outputs - o;
        const int64_t begin = a.rows.first_member(slot) * batch + chunk * kExpandRows;
        const int64_t last = a.rows.last_member(slot) * batch;
        const int64_t end = begin + kExpandRows < last ? begin + kExpandRows : last;
        const GenerationBlock& block = *a.rows.members.block;
        const int64_t pair = a.rows.first_pair() + slot;

        constexpr int kColumns = K > 0 ? K : 1;
        float factor[4][kColumns] = {};
        if constexpr (K > 0) {
            draw_rows<K, kWhole>(stream_of(block, a.w_parameter, pair),
                                 offset_of_a(a.inputs, a.rank), o, a.rank, a.k0, factor);
        }
        float bias[4] = {}, eps[4] = {};
        if (a.finish && a.bias != nullptr) {
            for (int i = 0; i < 4; ++i) bias[i] = i < left ? a.bias[o + i] : 0.0f;
        }
        if (a.finish && a.bias_noise) {
            draw_block(stream_of(block, a.b_parameter, pair), static_cast<uint32_t>(quad), eps);
            for (int i = 0; i < 4; ++i) eps[i] *= block.sigma;
        }
        for (int64_t row = begin; row < end; ++row) {
            const int64_t member = row / batch;
            const float sign = a.rows.members.sign_of(a.rows.members.first + member);
            const int64_t part_row = row - member * batch;
            const int64_t from = a.shared_from ? part_row : row;
            const float4 v = load_quad(a.from + from * a.outputs + o, left, a.aligned);
            float sum[4] = {v.x, v.y, v.z, v.w};
            if constexpr (K > 0) {
                const int64_t t_row = a.shared_t ? slot * batch + part_row : row;
                const float* t = a.t + t_row * a.rank + a.k0;
#pragma unroll
                for (int k = 0; k < K; ++k) {
                    const float t_k = kWhole || a.k0 + k < a.rank ? sign * t[k] : 0.0f;
#pragma unroll
                    for (int i = 0; i < 4; ++i) sum[i] = fmaf(t_k, factor[i][k], sum[i]);
                }
            }
            if (a.finish) {
#pragma unroll
                for (int i = 0; i < 4; ++i) {
                    sum[i] = activate(a.act, sum[i] + fmaf(sign, eps[i], bias[i]));
                }
            }
            store_quad(a.y + row * a.outputs + o, make_float4(sum[0], sum[1], sum[2], sum[3]), left,
                       a.aligned);
        }
    }
}

template <int K, bool kWhole>
void project_slab(ProjectArgs a, int64_t pair_rows) {
    const auto run = [&](auto kernel, int64_t rows) {
        a.row_chunks = blocks_of(pair_rows, rows);
        a.items = a.rows.pairs() * a.row_chunks;
        launch("project", kernel, dim3(static_cast<unsigned>(blocks_of(a.items * kWarp, kThreads))),
               dim3(kThreads), a);
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

template <int K, bool kWhole>
void expand_slab(const ExpandArgs& a) {
    launch("expand", expand_kernel<K, kWhole>, grid_of(a.items), dim3(kThreads), a);
}

/// Calls f<K, kWhole>(k0, last) for each slab of a rank.
template <class F>
void for_slabs(int rank, F f) {
    const auto whole = [&]<int... K>(std::integer_sequence<int, K...>) {
        ((rank == K + 1 ? f.template operator()<K + 1, true>(0, true) : void()), ...);
    };
    if (rank <= kSlab) return whole(std::make_integer_sequence<int, kSlab>());
    for (int k0 = 0; k0 < rank; k0 += kSlab) {
        f.template operator()<kSlab, false>(k0, k0 + kSlab >= rank);
    }
}

void perturbed(const LinearArgs& args) {
    const PairRows rows{args.members, args.batch};
    const int64_t most_members = args.members.antithetic ? 2 : 1;
    const int64_t pair_rows = most_members * args.batch;
    const int rank = args.w.perturbed ? args.w.rank : 0;
    const float* from = args.base;
    if (!args.shared_x) {
        from = args.y;
        product(args.x, args.w.value, args.y, args.members.count * args.batch, args.inputs,
                args.outputs);
    }
    const int64_t t_rows = (args.shared_x ? rows.pairs() : args.members.count) * args.batch;
    const Scratch t(t_rows * rank);
    if (rank > 0) {
        const ProjectArgs project{.rows = rows,
                                  .x = args.x,
                                  .shared_x = args.shared_x,
                                  .t = t.data(),
                                  .parameter = args.w.parameter,
                                  .rank = rank,
                                  .k0 = 0,
                                  .inputs = args.inputs,
                                  .row_chunks = 0,
                                  .items = 0,
                                  .aligned = in_quads(args.x, args.inputs)};
        for_slabs(rank, [&]<int K, bool kWhole>(int k0, bool) {
            ProjectArgs slab = project;
            slab.k0 = k0;
            project_slab<K, kWhole>(slab, args.shared_x ? args.batch : pair_rows);
        });
    }
    const int64_t quads = blocks_of(args.outputs, 4);
    const int64_t row_chunks = blocks_of(pair_rows, kExpandRows);
    ExpandArgs expand{.rows = rows,
                      .from = from,
                      .shared_from = args.shared_x,
                      .t = t.data(),
                      .shared_t = args.shared_x,
                      .bias = args.b.value,
                      .y = args.y,
                      .w_parameter = args.w.parameter,
                      .b_parameter = args.b.parameter,
                      .bias_noise = args.b.perturbed,
                      .finish = true,
                      .rank = rank,
                      .k0 = 0,
                      .inputs = args.inputs,
                      .outputs = args.outputs,
                      .quads = quads,
                      .row_chunks = row_chunks,
                      .items = rows.pairs() * row_chunks * quads,
                      .act = args.act,
                      .aligned = in_quads(from, args.outputs) && in_quads(args.y, args.outputs)};
    if (rank == 0) return expand_slab<0, true>(expand);
    for_slabs(rank, [&]<int K, bool kWhole>(int k0, bool last) {
        expand.k0 = k0;
        expand.finish = last;
        expand_slab<K, kWhole>(expand);
        expand.from = expand.y;  // the next slab adds to what this one wrote
        expand.shared_from = false;
    });
}

/// y = act(from + bias).
struct Finish {
    const float* from;
    const float* bias;
    float* y;
    int64_t outputs;
    Act act;

    __device__ void operator()(int64_t i) const {
        y[i] = activate(act, from[i] + (bias != nullptr ? bias[i % outputs] : 0.0f));
    }
};

void unperturbed(const LinearArgs& args) {
    const float* from = args.base;
    if (from == nullptr) {
        from = args.y;
        product(args.x, args.w.value, args.y, args.batch, args.inputs, args.outputs);
        if (args.b.value == nullptr && args.act == Act::none) return;
    }
    for_each("finish", args.batch * args.outputs,
             Finish{from, args.b.value, args.y, args.outputs, args.act});
}

}  // namespace

int64_t packed_size(int64_t, int64_t, int64_t) {
    return 0;  // cuBLAS takes W as it is
}

void pack(const float*, int64_t, int64_t, float*) {}

void product(const float* x, const float* w, float* y, int64_t rows, int64_t inputs,
             int64_t outputs) {
    current().multiply(
        {.x = x, .w = w, .y = y, .rows = rows, .inputs = inputs, .outputs = outputs});
}

void linear(const LinearArgs& args) {
    if (args.members.count == 0) {
        unperturbed(args);
    } else {
        perturbed(args);
    }
}

}  // namespace eggroll::cuda
