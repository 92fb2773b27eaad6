// SPDX-License-Identifier: MIT
// What the laws of noise other than low_rank share.
#include "cpu/laws.h"

#include "cpu/kernels.h"
#include "cpu/memory.h"
#include "cpu/noise.h"
#include "cpu/streams.h"

#include <algorithm>
#include <cmath>

namespace eggroll::EGGROLL_CPU_NS {

using cpu::Scratch;

void fill_b(const Law& law, const NoiseStream& stream, uint32_t pair_count, int64_t inputs,
            int64_t rank, float* bt, int64_t stride) {
    const auto fill = law.kind == LawKind::sign ? fill_sign_factors : fill_factors;
    fill(stream, pair_count, 0, inputs, rank, bt, stride);
}

void fill_a(const Law& law, const NoiseStream& stream, uint32_t pair_count, int64_t inputs,
            int64_t outputs, int64_t rank, float* at, int64_t stride) {
    if (law.kind == LawKind::sign) {
        fill_sign_factors(stream, pair_count, offset_of_signs(inputs, rank), outputs, rank, at,
                          stride);
    } else {
        fill_factors(stream, pair_count, offset_of_a(inputs, rank), outputs, rank, at, stride);
    }
}

namespace {

/// y = act(y + b + s σ ε) in place.
void add_bias(const LinearArgs& args) {
    const int64_t outputs = args.outputs;
    Scratch eps(outputs), offset(outputs);
    for_each_pair(args.members, [&](const PairOfMembers& of) {
        if (args.b.perturbed) {
            fill_normal(stream_of(*args.members.block, args.b.parameter, of.pair), 0, eps.data(),
                        outputs);
        }
        for (int64_t m = of.first; m < of.first + of.count; ++m) {
            const float scale = args.members.sign_of(args.members.first + m) *
                                (args.members.block->sigma * args.b.sigma_scale);
            for (int64_t o = 0; o < outputs; ++o) {
                offset.data()[o] = args.b.value != nullptr ? args.b.value[o] : 0.0f;
                if (args.b.perturbed) offset.data()[o] += scale * eps.data()[o];
            }
            float* y = args.y + m * args.batch * outputs;
            for (int64_t r = 0; r < args.batch; ++r, y += outputs) {
                for (int64_t o = 0; o < outputs; ++o) y[o] += offset.data()[o];
                activate_row(args.act, y, outputs);
            }
        }
    });
}

}  // namespace

void linear_by_law(const LinearArgs& args) {
    const int64_t rows = args.members.count * args.batch, part = args.batch * args.outputs;
    if (args.shared_x) {
        for (int64_t m = 0; m < args.members.count; ++m) {
            std::copy_n(args.base, part, args.y + m * part);
        }
    } else {
        LinearArgs plain = args;
        plain.members = {};
        plain.w = {.value = args.w.value};
        plain.b = {};
        plain.act = Act::none;
        plain.batch = rows;
        linear(plain);
    }
    if (args.w.law.kind == LawKind::full_rank) {
        add_full_rank(args);
    } else {
        add_sparse(args);
    }
    add_bias(args);
}

void embedding_by_law(const Members& members, const Operand& table, int64_t rows,
                      const int32_t* ids, bool own_ids, int64_t batch, int64_t cols, float* y) {
    const int64_t rank = table.rank;
    const float sigma = members.block->sigma * table.sigma_scale;
    const float of_factors = rank > 0 ? sigma / std::sqrt(static_cast<float>(rank)) : 0.0f;
    Scratch noise(cols), b(rank * cols), a(rank);
    for_each_pair(members, [&](const PairOfMembers& of) {
        const NoiseStream stream = stream_of(*members.block, table.parameter, of.pair);
        if (table.law.kind == LawKind::sign) {
            fill_sign_factors(stream, 1, 0, cols, rank, b.data(), cols);
        }
        for (int64_t i = of.first * batch; i < (of.first + of.count) * batch; ++i) {
            const int64_t id = ids[own_ids ? i : i % batch];
            switch (table.law.kind) {
                case LawKind::sign:
                    fill_sign_row(stream, offset_of_signs(cols, rank), id, rank, a.data());
                    std::fill_n(noise.data(), cols, 0.0f);
                    for (int64_t k = 0; k < rank; ++k) {
                        const float scale = of_factors * a.data()[k];
                        for (int64_t e = 0; e < cols; ++e) {
                            noise.data()[e] += scale * b.data()[k * cols + e];
                        }
                    }
                    break;
                case LawKind::full_rank:
                    fill_normal(stream, static_cast<uint64_t>(id * cols), noise.data(), cols);
                    for (int64_t e = 0; e < cols; ++e) noise.data()[e] *= sigma;
                    break;
                case LawKind::sparse:
                    sparse_row(table, sigma, stream, rows, cols, id, noise.data());
                    break;
                case LawKind::low_rank:
                    return;  // has an operation of its own
            }
            const float sign = members.sign_of(members.first + i / batch);
            for (int64_t e = 0; e < cols; ++e) {
                y[i * cols + e] = table.value[id * cols + e] + sign * noise.data()[e];
            }
        }
    });
}

}  // namespace eggroll::EGGROLL_CPU_NS
