// SPDX-License-Identifier: MIT
// y = act(x W_pᵀ + b_p) for a range of members. Where cuBLAS can apply the activation, what the
// noise adds is written first and the product is added to it: beside the product, which reads y
// while it is bound by arithmetic, x is read once and y written once. Otherwise `expand` goes over
// the product's y.
#include "cuda/activation.h"
#include "cuda/kernels.h"
#include "cuda/laws.h"
#include "cuda/linear_kernels.h"

namespace eggroll::cuda {

namespace {

/// x Wᵀ of the members' own rows, into y.
Product product_of(const LinearArgs& args, int64_t members) {
    const bool bf16 = args.precision == Precision::bf16;
    return {.x = args.x,
            .w = bf16 ? args.packed : args.w.value,
            .y = args.y,
            .rows = members * args.batch,
            .inputs = args.inputs,
            .outputs = args.outputs,
            .precision = args.precision,
            .bf16_y = bf16};
}

/// cuBLASLt's gelu is the approximation by tanh, and ours is not.
bool is_epilogue(Act act) {
    return act == Act::none || act == Act::relu;
}

void perturbed(const LinearArgs& args) {
    const bool bf16 = args.precision == Precision::bf16;
    const PairRows rows{args.members, args.batch};
    const int rank = args.w.perturbed ? args.w.rank : 0;
    const bool signs = rank > 0 && args.w.law.kind == LawKind::sign;
    const Source x = source_of(args.x, bf16 && !args.shared_x, args.inputs);
    const Target y = target_of(args.y, bf16, args.outputs);
    Product product = product_of(args, args.members.count);
    bool noise_first = false;
    if (!args.shared_x) {
        product.add = true;
        product.relu = args.act == Act::relu;
        noise_first = is_epilogue(args.act) && current().takes(product);
        // More rows would be drawn for several times; a higher rank does not fit into registers.
        if (noise_first && rank > 0 && rank <= kSlab && !signs &&
            rows.most_rows() <= kPerturbRows) {
            perturb({.rows = rows,
                     .x = x,
                     .bias = args.b.value,
                     .y = y,
                     .w_parameter = args.w.parameter,
                     .b_parameter = args.b.parameter,
                     .bias_noise = args.b.perturbed,
                     .rank = rank,
                     .inputs = args.inputs,
                     .outputs = args.outputs,
                     .w_sigma_scale = args.w.sigma_scale,
                     .b_sigma_scale = args.b.sigma_scale});
            return current().multiply(product);
        }
        if (!noise_first) {
            product.add = product.relu = false;
            current().multiply(product);
        }
    }
    const Scratch t((args.shared_x ? rows.pairs() : args.members.count) * args.batch * rank);
    if (rank > 0) {
        project({.rows = rows,
                 .x = x,
                 .shared_x = args.shared_x,
                 .t = t.data(),
                 .parameter = args.w.parameter,
                 .rank = rank,
                 .inputs = args.inputs,
                 .sigma_scale = args.w.sigma_scale,
                 .signs = signs});
    }
    expand({.rows = rows,
            .from = args.shared_x ? source_of(args.base, false, args.outputs)
                    : noise_first ? Source{}
                                  : source_of(args.y, bf16, args.outputs),
            .shared_from = args.shared_x,
            .t = t.data(),
            .shared_t = args.shared_x,
            .bias = args.b.value,
            .y = y,
            .w_parameter = args.w.parameter,
            .b_parameter = args.b.parameter,
            .bias_noise = args.b.perturbed,
            .rank = rank,
            .inputs = args.inputs,
            .outputs = args.outputs,
            .act = noise_first ? Act::none : args.act,
            .b_sigma_scale = args.b.sigma_scale,
            .signs = signs});
    if (noise_first) current().multiply(product);
}

/// Of a law without factors: the product, what the law adds to it, then bias and activation.
void perturbed_by_law(const LinearArgs& args) {
    const PairRows rows{args.members, args.batch};
    ExpandArgs pass{.rows = rows,
                    .from = source_of(args.base, false, args.outputs),
                    .shared_from = true,
                    .t = nullptr,
                    .shared_t = false,
                    .bias = nullptr,
                    .y = target_of(args.y, false, args.outputs),
                    .w_parameter = args.w.parameter,
                    .b_parameter = args.b.parameter,
                    .bias_noise = false,
                    .rank = 0,
                    .inputs = args.inputs,
                    .outputs = args.outputs,
                    .act = Act::none,
                    .b_sigma_scale = args.b.sigma_scale,
                    .signs = false};
    if (args.shared_x) {
        expand(pass);
    } else {
        current().multiply(product_of(args, args.members.count));
    }
    if (args.w.law.kind == LawKind::full_rank) {
        add_full_rank(args);
    } else {
        add_sparse(args);
    }
    pass.from = source_of(args.y, false, args.outputs);
    pass.shared_from = false;
    pass.bias = args.b.value;
    pass.bias_noise = args.b.perturbed;
    pass.act = args.act;
    expand(pass);
}

/// y = act(from + bias), four columns at a time.
struct Finish {
    Source from;
    const float* bias;  // may be null
    Target y;
    int64_t outputs, quads;
    Act act;

    __device__ void operator()(int64_t i) const {
        const int64_t row = i / quads, o = 4 * (i - row * quads), left = outputs - o;
        const float4 v = from.quad(row * outputs + o, left);
        float sum[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
        for (int k = 0; k < 4; ++k) {
            const float b = bias != nullptr && k < left ? bias[o + k] : 0.0f;
            sum[k] = activate(act, sum[k] + b);
        }
        y.put_quad(row * outputs + o, make_float4(sum[0], sum[1], sum[2], sum[3]), left);
    }
};

void finish_rows(const LinearArgs& args, const Source& from) {
    const int64_t quads = blocks_of(args.outputs, 4);
    for_each("finish", args.batch * quads,
             Finish{from, args.b.value,
                    target_of(args.y, args.precision == Precision::bf16, args.outputs),
                    args.outputs, quads, args.act});
}

void unperturbed(const LinearArgs& args) {
    if (args.base != nullptr) return finish_rows(args, source_of(args.base, false, args.outputs));
    const bool bf16 = args.precision == Precision::bf16;
    Product product = product_of(args, 1);
    if (is_epilogue(args.act)) {
        // Beside bfloat16 cuBLASLt takes a bias of bfloat16 only.
        const ScratchOf<uint16_t> rounded(bf16 && args.b.value != nullptr ? args.outputs : 0);
        product.relu = args.act == Act::relu;
        product.bias = args.b.value;
        if (bf16 && args.b.value != nullptr) {
            round_bf16(args.b.value, rounded.data(), args.outputs);
            product.bias = rounded.data();
        }
        if (current().takes(product)) return current().multiply(product);
        product.relu = false;
        product.bias = nullptr;
    }
    current().multiply(product);
    if (args.b.value == nullptr && args.act == Act::none) return;
    finish_rows(args, source_of(args.y, bf16, args.outputs));
}

}  // namespace

Precision precision(Precision wanted) {
    return current().has_bf16() ? wanted : Precision::f32;
}

/// cuBLAS takes W as it is, or a copy in bfloat16.
int64_t packed_size(int64_t outputs, int64_t inputs, int64_t, Precision precision) {
    return precision == Precision::bf16 ? (outputs * inputs + 1) / 2 : 0;
}

void pack(const float* w, int64_t outputs, int64_t inputs, Precision precision, float* packed) {
    if (precision != Precision::bf16) return;
    round_bf16(w, reinterpret_cast<uint16_t*>(packed), outputs * inputs);
}

void product(const float* x, const float* w, float* y, int64_t rows, int64_t inputs,
             int64_t outputs, Precision precision) {
    current().multiply(
        {.x = x,
         .w = w,
         .y = y,
         .rows = rows,
         .inputs = inputs,
         .outputs = outputs,
         .precision = precision == Precision::f32 ? Precision::f32 : Precision::tf32});
}

void linear(const LinearArgs& args) {
    if (args.members.count == 0) {
        unperturbed(args);
    } else if (args.w.perturbed && !args.w.law.has_factors()) {
        perturbed_by_law(args);
    } else {
        perturbed(args);
    }
}

}  // namespace eggroll::cuda
