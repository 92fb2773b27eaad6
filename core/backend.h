// SPDX-License-Identifier: MIT
#pragma once

#include <eggroll/device.h>
#include <eggroll/noise.h>
#include <eggroll/ops.h>
#include <eggroll/precision.h>
#include <eggroll/shaping.h>

#include <atomic>
#include <cstddef>
#include <cstdint>

// The only door to cpu/ and cuda/: one table of functions, one row an operation. Everything is
// plain pointers and small structs of extents; shapes were checked before, so no row can be called
// wrongly by a user. Pointers are into the backend's memory unless a comment says host. What
// changes from generation to generation is read from a GenerationBlock in backend memory and never
// passed by value, so that a captured graph of these calls can be replayed.
//
// Letters: P population, V members of a range, B batch rows a member, I inputs, O outputs, R rank.

namespace eggroll::detail {

/// What changes from generation to generation; lives in backend memory.
struct GenerationBlock {
    uint64_t seed = 0;
    uint32_t generation = 0;
    float sigma = 0;
    float lr = 0;
    uint32_t noise_generation = 0;  // that its noise streams are named by
    int64_t updates = 0;  // completed updates, for bias corrections; the one under way not counted
};

/// The laws of noise; see eggroll/noise_law.h.
enum class LawKind { low_rank, full_rank, sign, sparse };
struct Law {
    LawKind kind = LawKind::low_rank;
    int64_t entries = 0;  // sparse: of each matrix

    /// Whether noise is a product of two thin matrices.
    constexpr bool has_factors() const {
        return kind == LawKind::low_rank || kind == LawKind::sign;
    }
};

/// Statistics of the raw fitness over its finite members.
struct FitnessStats {
    double mean = 0, best = 0, worst = 0, std = 0;
    int64_t best_member = -1, non_finite = 0;
    int64_t no_result = 0;  // not among the non-finite
    int64_t used = 0;       // members that the update is made of; 0: there is none
};

/// Where a strategy is; lives in backend memory, so that one generation can follow another before
/// the host knows how the last one ended.
struct RunState {
    GenerationBlock block;   // of the generation under way
    FitnessStats stats;      // of the last fitness that was shaped
    int64_t failure = 0;     // 0, or the code of what was first found not to be finite
    GenerationBlock failed;  // the generation it was in

    /// Whether the generation under way changes the parameters.
    constexpr bool commits() const { return failure == 0 && stats.used > 0; }
};

/// Which members a call evaluates, and how their noise is found.
struct Members {
    const GenerationBlock* block = nullptr;
    int64_t first = 0;
    int64_t count = 0;
    bool antithetic = true;
    bool centre_first = false;  // member 0 is the centre; not with antithetic

    /// Noise stream of a member: two neighbours share one when antithetic.
    constexpr int64_t pair_of(int64_t member) const { return antithetic ? member / 2 : member; }
    /// Sign its noise carries.
    constexpr float sign_of(int64_t member) const {
        if (antithetic) return member % 2 == 1 ? -1.0f : 1.0f;
        return centre_first && member == 0 ? 0.0f : 1.0f;
    }
};

/// Rows of kept noise are padded with zeros to a multiple of this.
inline constexpr int64_t kKeptPadding = 32;

/// Noise of one parameter's first pairs, kept for the generation once somebody has drawn it: of a
/// matrix Bᵀ (pairs,r,I) and Aᵀ (pairs,r,stride), of a vector ε (pairs,stride) as `a`.
struct KeptNoise {
    float* b = nullptr;
    float* a = nullptr;
    std::atomic<uint8_t>* state = nullptr;  // of each pair, for the backend's use; zero at first
    int64_t pairs = 0;
    int64_t stride = 0;
};

/// One parameter as an operand: whether and how it is perturbed.
struct Operand {
    const float* value = nullptr;
    uint32_t parameter = 0;  // first word of its noise streams
    bool perturbed = false;
    int rank = 0;  // r = min(R, O, I) of a matrix with factors, else 0
    Law law = {};  // of a matrix
    float sigma_scale = 1;
    const KeptNoise* kept = nullptr;
};

/// y (V,B,O) = act(x W_pᵀ + b_p).
struct LinearArgs {
    Members members;  // count 0: unperturbed, then V = 1
    const float* x;   // (V,B,I), or (B,I) when shared_x
    bool shared_x;
    const float* base;    // shared_x only: x Wᵀ (B,O), computed before by `product`
    const float* packed;  // W as `pack` lays it out; may be null
    Operand w;            // (O,I)
    Operand b;            // (O); value null: no bias
    Act act;
    float* y;
    int64_t batch, inputs, outputs;  // B, I, O
    /// What Backend::precision made of the one asked for. bf16: x, unless it is shared, and y hold
    /// bfloat16, and W is read from `packed`.
    Precision precision = Precision::f32;
};

enum class Unary { negate, relu, tanh, sigmoid, gelu, silu, exp, log, sqrt, abs, sin, cos, square };
enum class Binary { add, sub, mul, div, maximum, minimum, greater, less, equal };
enum class Reduce { sum, mean, max };
enum class Pool { max, mean };
enum class Loss { mse, cross_entropy, accuracy };

inline constexpr int kMaxDims = 8;

/// Up to three operands laid over one output; a stride of 0 repeats. Strides are in elements.
struct Strided {
    int dims = 0;
    int64_t extent[kMaxDims] = {};
    int64_t stride[3][kMaxDims] = {};
};

/// c (M,N) = a (M,K) b (K,N), batches of them; a stride of 0 repeats a matrix.
struct MatmulArgs {
    const float* a;
    const float* b;
    float* c;
    int64_t batches, m, k, n;
    int64_t stride_a, stride_b;
};

/// Windows that slide over images: x (N,C,H,W), `out` of them down and across.
struct WindowArgs {
    const float* x;
    float* y;
    int64_t images, channels, height, width;  // N, C, H, W
    int64_t kernel[2], stride[2], padding[2], out[2];
};

/// One value a member from its rows: Loss::mse compares (V,n) with target (n) or (V,n); the others
/// take y (V,rows,n) and labels (rows) or (V,rows). Accumulated in double.
struct LossArgs {
    Loss kind;
    const float* y;
    const float* target;    // mse
    const int32_t* labels;  // the others; an id outside 0..n-1 gives NaN
    bool per_member_target;
    float* out;  // (V)
    int64_t members, rows, n;
};

/// See eggroll/shaping.h for the formulas.
enum class ShapingKind : int {
    z_score,
    centre,
    centred_rank,
    sign_of_pair,
    groups,
    none,
    against_first,
    own,  // the host's alone
};

/// Fitness in, weights of the update out; DESIGN: the law of shaping.
struct ShapingArgs {
    const float* fitness;  // (P)
    int64_t pop_size;
    bool antithetic;
    ShapingKind kind;
    float* weights;  // (P/2) d_j = f̂_2j − f̂_2j+1 when antithetic, else (P) f̂_j; 0 if dropped
    FitnessStats* stats;
    bool drop = false;  // NonFinite::drop
    int64_t group_size = 0;
    Spread spread = Spread::global;
};

/// g = √P · (1/P) Σ f̂_p (θ_p − θ) of one parameter from the weights of its noise streams.
struct UpdateArgs {
    const GenerationBlock* block;
    const float* weights;  // one a stream
    int64_t streams;       // P/2 antithetic, else P
    int64_t pop_size;
    uint32_t parameter;
    int rank;            // of a matrix with factors; 0: `cols` independent elements, if not sparse
    int64_t rows, cols;  // O, I
    float* g;            // (O,I) or (cols)
    const KeptNoise* kept = nullptr;
    Law law = {};
    float sigma_scale = 1;
};

enum class Rule { sgd, momentum, adam, nesterov, adamw };

/// θ += lr · direction(g), elementwise; see eggroll/optimizer.h for the formulas.
struct OptimizeArgs {
    Rule rule;
    const GenerationBlock* block;
    float* value;
    const float* g;
    float* first_moment;   // all but sgd
    float* second_moment;  // adam, adamw
    int64_t n;
    float beta1, beta2, eps;
    float weight_decay = 0;  // adamw
};

/// What the number of members in a chunk is found from. Never from thread counts or detected
/// caches.
struct PlanArgs {
    int64_t pop_size;
    int64_t rows;    // B
    int64_t widest;  // largest extent of an activation row
};

/// Work of a backend that was recorded; a graph.
struct Recording;

using ChunkFunction = void (*)(void* context, int64_t chunk);

struct Backend {
    /// Which of several builds of the kernels: "avx2"; null where there is one.
    const char* kernels;
    /// Whether `linear` and `update` make use of KeptNoise.
    bool keeps_noise;

    // Memory: aligned to 256 bytes, from a pool.
    void* (*allocate)(size_t bytes);
    void (*release)(void* memory, size_t bytes);
    void (*copy_from_host)(void* to, const void* from, size_t bytes);
    void (*copy_to_host)(void* to, const void* from, size_t bytes);
    void (*copy)(void* to, const void* from, size_t bytes);
    void (*fill)(float* to, float value, int64_t n);

    // The order of work. A CPU works while it is called: it has no stream and nothing to wait for.
    /// Waits for all work; throws Error naming the kernels it may have failed in.
    void (*synchronize)();
    /// The stream that work is put in, a cudaStream_t; null on the CPU.
    void* (*stream)();
    /// Goes on in another stream, after what the last one holds; null: the backend's own.
    void (*set_stream)(void* stream);

    /// Members a chunk holds; even when P is.
    int64_t (*plan_chunk)(const PlanArgs& args);
    /// Calls function(context, c) for c in 0..count-1 and returns when all are done. The first
    /// exception in the order of chunks is passed on.
    void (*run_chunks)(int64_t count, ChunkFunction function, void* context);

    // Noise (host-known streams; the perturbed operations read the GenerationBlock instead).
    void (*fill_words)(const NoiseStream& stream, uint64_t first, uint32_t* out, int64_t n);
    void (*fill_normal)(const NoiseStream& stream, uint64_t first, float* out, int64_t n);

    // Perturbed operations.
    /// The precision that one asked for becomes: at least as exact.
    Precision (*precision)(Precision wanted);
    /// Floats that W (O,I) takes in the layout `linear` likes best for so many rows; 0 if that is
    /// W's own.
    int64_t (*packed_size)(int64_t outputs, int64_t inputs, int64_t rows, Precision precision);
    void (*pack)(const float* w, int64_t outputs, int64_t inputs, Precision precision,
                 float* packed);
    /// y (rows,O) = x (rows,I) Wᵀ, all float32; bf16 is as tf32.
    void (*product)(const float* x, const float* w, float* y, int64_t rows, int64_t inputs,
                    int64_t outputs, Precision precision);
    void (*linear)(const LinearArgs& args);
    /// y (V,n) = b + s σ ε.
    void (*perturb_vector)(const Members& members, const Operand& b, int64_t n, float* y);
    /// y (V,B,E) = table_p[ids] of a table (rows,E); ids (B), or (V,B) when own_ids. Ids on the
    /// host were checked; elsewhere one outside 0..rows-1 gives NaN.
    void (*embedding)(const Members& members, const Operand& table, int64_t rows,
                      const int32_t* ids, bool own_ids, int64_t batch, int64_t cols, float* y);

    // Unperturbed operations.
    void (*unary)(Unary kind, const float* x, float* y, int64_t n);
    void (*binary)(Binary kind, const float* a, const float* b, float* y, const Strided& layout);
    void (*where)(const float* condition, const float* a, const float* b, float* y,
                  const Strided& layout);
    /// y by stride[1] takes x by stride[0]; 4-byte elements of any type.
    void (*copy_strided)(const void* x, void* y, const Strided& layout);
    /// y (outer,inner) from x (outer,n,inner), accumulated in double.
    void (*reduce)(Reduce kind, const float* x, float* y, int64_t outer, int64_t n, int64_t inner);
    void (*argmax)(const float* x, float* y, int64_t rows, int64_t n);
    void (*softmax)(const float* x, float* y, int64_t rows, int64_t n, bool logarithm);
    /// Each row over the root of its mean square + eps; centred: after its mean was taken off.
    void (*standardize)(const float* x, float* y, int64_t rows, int64_t n, float eps, bool centred);
    /// y (rows) = x (rows,n)[ids], id r mod id_rows; an id outside 0..n-1 gives NaN.
    void (*gather)(const float* x, const int32_t* ids, float* y, int64_t rows, int64_t n,
                   int64_t id_rows);
    void (*matmul)(const MatmulArgs& args);
    /// y (N,Ho,Wo,C·kh·kw): what each window sees, zeros in the padding.
    void (*unfold)(const WindowArgs& args);
    /// y (N,C,Ho,Wo) from each channel's windows. The padding is never the largest, and counts as
    /// zeros in a mean. Every window holds an element of x.
    void (*pool)(Pool kind, const WindowArgs& args);
    // bfloat16 by its bits; see core/bf16.h.
    void (*round_bf16)(const float* x, uint16_t* y, int64_t n);
    void (*widen_bf16)(const uint16_t* x, float* y, int64_t n);
    void (*loss)(const LossArgs& args);

    // The update. What it finds stays in the backend's memory until the host asks for it.
    /// Begins a generation: the block becomes `block` (host). Known: the host knows how the one
    /// before it ended, and its failure is forgotten; else failure and count of updates stay.
    void (*begin)(RunState* run, const GenerationBlock& block, bool known);
    /// mean (P) of fitness (P,k); see core/fitness.h.
    void (*mean_evaluations)(const float* fitness, float* mean, int64_t pop_size,
                             int64_t evaluations);
    void (*shape_fitness)(const ShapingArgs& args);
    void (*update)(const UpdateArgs& args);
    /// sum[0] += Σ x², in the order of core/fixed_order.h.
    void (*add_squares)(const float* x, int64_t n, double* sum);
    /// x ·= min(1, limit/√squares[0]).
    void (*clip)(const double* squares, float limit, float* x, int64_t n);
    void (*optimize)(const OptimizeArgs& args);
    /// Fails with a code unless x (n) is finite; the first failure stays.
    void (*check_finite)(RunState* run, int64_t code, const float* x, int64_t n);
    /// Copies 4-byte elements if the generation commits.
    void (*commit)(const RunState* run, void* to, const void* from, int64_t n);
    /// Counts the update if the generation commits.
    void (*finish)(RunState* run);

    // Recordings; null where work is done when it is asked for and there is nothing to record.
    /// Keeps what body(context) would enqueue, to be replayed, and does none of it; memory that it
    /// takes stays taken. Throws Error when the body waits for the backend.
    Recording* (*record)(void (*body)(void* context), void* context);
    void (*replay)(Recording* recording);
    void (*forget)(Recording* recording);
};

const Backend& cpu_backend();
/// Throws Error naming the reason when it is not built in or finds no device.
const Backend& cuda_backend(int device);
const Backend& backend_of(const Device& device);

/// Who can use the memory at an address, as far as CUDA knows: what it does not know is the host's.
struct Reach {
    bool host = true;
    int device = -1;  // the GPU it belongs to
    bool any_device = false;
};
Reach reach_of(const void* memory);

}  // namespace eggroll::detail
