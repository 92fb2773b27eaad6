// SPDX-License-Identifier: MIT
#include "cpu/eigen.h"
#include "cpu/kernels.h"
#include "cpu/memory.h"
#include "cpu/noise.h"
#include "cpu/threads.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace eggroll::EGGROLL_CPU_NS {

using cpu::Scratch;

namespace {

using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Map = Eigen::Map<Matrix>;
using ConstMap = Eigen::Map<const Matrix>;

NoiseStream stream_of(const Members& members, uint32_t parameter, int64_t pair) {
    return {members.block->seed, parameter, static_cast<uint32_t>(pair), members.block->generation};
}

/// Where A begins in a matrix's stream: after B, on a block.
uint64_t offset_of_a(int64_t inputs, int rank) {
    return (static_cast<uint64_t>(inputs) * static_cast<uint64_t>(rank) + 3) / 4 * 4;
}

/// One pair's noise for a layer: B (I,r), Aᵀ (r,O), ε (O).
class LayerNoise {
public:
    explicit LayerNoise(const LinearArgs& args)
        : args_(args),
          rank_(args.w.perturbed ? args.w.rank : 0),
          memory_(args.inputs * rank_ + 2 * args.outputs * rank_ + args.outputs),
          b_(memory_.data()),
          at_(b_ + args.inputs * rank_),
          spare_(at_ + args.outputs * rank_),
          eps_(spare_ + args.outputs * rank_) {}

    void draw(int64_t pair) {
        if (pair == pair_) return;
        pair_ = pair;
        const int64_t inputs = args_.inputs, outputs = args_.outputs;
        if (rank_ > 0) {
            const NoiseStream stream = stream_of(args_.members, args_.w.parameter, pair);
            fill_normal(stream, 0, b_, inputs * rank_);
            float* a = rank_ == 1 ? at_ : spare_;
            fill_normal(stream, offset_of_a(inputs, rank_), a, outputs * rank_);
            for (int64_t o = 0; rank_ > 1 && o < outputs; ++o) {
                for (int k = 0; k < rank_; ++k) at_[k * outputs + o] = a[o * rank_ + k];
            }
        }
        if (args_.b.perturbed) {
            fill_normal(stream_of(args_.members, args_.b.parameter, pair), 0, eps_, outputs);
        }
    }

    int rank() const { return rank_; }
    const float* b() const { return b_; }
    const float* at() const { return at_; }
    const float* eps() const { return eps_; }

private:
    const LinearArgs& args_;
    int rank_;
    Scratch memory_;
    float *b_, *at_, *spare_, *eps_;
    int64_t pair_ = -1;
};

/// y[o] = from[o] + bias[o] + Σ_k t[k] Aᵀ[k][o].
template <int kRank>
void expand_row(const float* from, const float* bias, const float* t, const float* at, int64_t n,
                float* y) {
    for (int64_t o = 0; o < n; ++o) {
        float sum = from[o] + bias[o];
        for (int k = 0; k < kRank; ++k) sum += t[k] * at[k * n + o];
        y[o] = sum;
    }
}

void expand(int rank, const float* from, const float* bias, const float* t, const float* at,
            int64_t n, float* y) {
    switch (rank) {
        case 0:
            return expand_row<0>(from, bias, t, at, n, y);
        case 1:
            return expand_row<1>(from, bias, t, at, n, y);
        case 2:
            return expand_row<2>(from, bias, t, at, n, y);
        case 3:
            return expand_row<3>(from, bias, t, at, n, y);
        case 4:
            return expand_row<4>(from, bias, t, at, n, y);
        default:
            break;
    }
    expand_row<4>(from, bias, t, at, n, y);
    for (int k = 4; k < rank; ++k) {
        for (int64_t o = 0; o < n; ++o) y[o] += t[k] * at[k * n + o];
    }
}

void unperturbed(const LinearArgs& args) {
    constexpr int64_t kRows = 256;
    const int64_t blocks = (args.batch + kRows - 1) / kRows;
    cpu::parallel_for(blocks, [&](int64_t block) {
        const int64_t first = block * kRows, rows = std::min(kRows, args.batch - first);
        float* y = args.y + first * args.outputs;
        if (args.base != nullptr) {
            std::memcpy(y, args.base + first * args.outputs,
                        static_cast<size_t>(rows * args.outputs) * sizeof(float));
        } else {
            product(args.x + first * args.inputs, args.w.value, y, rows, args.inputs, args.outputs);
        }
        for (int64_t r = 0; r < rows; ++r) {
            float* row = y + r * args.outputs;
            for (int64_t o = 0; args.b.value != nullptr && o < args.outputs; ++o) {
                row[o] += args.b.value[o];
            }
            activate_row(args.act, row, args.outputs);
        }
    });
}

}  // namespace

void product(const float* x, const float* w, float* y, int64_t rows, int64_t inputs,
             int64_t outputs) {
    Map(y, rows, outputs).noalias() =
        ConstMap(x, rows, inputs) * ConstMap(w, outputs, inputs).transpose();
}

void linear(const LinearArgs& args) {
    if (args.members.count == 0) return unperturbed(args);
    const int64_t batch = args.batch, inputs = args.inputs, outputs = args.outputs;
    const Members& members = args.members;
    if (!args.shared_x) {
        product(args.x, args.w.value, args.y, members.count * batch, inputs, outputs);
    }
    LayerNoise noise(args);
    const int rank = noise.rank();
    const float sigma = members.block->sigma;
    const float scale = rank > 0 ? sigma / std::sqrt(static_cast<float>(rank)) : 0.0f;
    Scratch bias(outputs), projected(batch * rank);
    for (int64_t m = 0; m < members.count; ++m) {
        const int64_t member = members.first + m;
        const float sign = members.sign_of(member);
        noise.draw(members.pair_of(member));
        for (int64_t o = 0; o < outputs; ++o) {
            bias.data()[o] = (args.b.value != nullptr ? args.b.value[o] : 0.0f) +
                             (args.b.perturbed ? sign * sigma * noise.eps()[o] : 0.0f);
        }
        const float* x = args.x + (args.shared_x ? 0 : m * batch * inputs);
        if (rank > 0) {  // t = s σ/√r x B
            Map t(projected.data(), batch, rank);
            t.noalias() = ConstMap(x, batch, inputs) * ConstMap(noise.b(), inputs, rank);
            t *= sign * scale;
        }
        for (int64_t r = 0; r < batch; ++r) {
            float* y = args.y + (m * batch + r) * outputs;
            const float* from = args.shared_x ? args.base + r * outputs : y;
            expand(rank, from, bias.data(), projected.data() + r * rank, noise.at(), outputs, y);
            activate_row(args.act, y, outputs);
        }
    }
}

void perturb_vector(const Members& members, const Operand& b, int64_t n, float* y) {
    Scratch noise(n);
    int64_t drawn = -1;
    for (int64_t m = 0; m < members.count; ++m) {
        const int64_t member = members.first + m, pair = members.pair_of(member);
        if (pair != drawn) fill_normal(stream_of(members, b.parameter, pair), 0, noise.data(), n);
        drawn = pair;
        const float scale = members.sign_of(member) * members.block->sigma;
        for (int64_t i = 0; i < n; ++i) y[m * n + i] = b.value[i] + scale * noise.data()[i];
    }
}

void embedding(const Members& members, const Operand& table, const int32_t* ids, bool own_ids,
               int64_t batch, int64_t rows, int64_t cols, float* y) {
    (void)rows;
    const auto copy_row = [&](int64_t id, float* to) {
        std::memcpy(to, table.value + id * cols, static_cast<size_t>(cols) * sizeof(float));
    };
    if (members.count == 0) {
        for (int64_t i = 0; i < batch; ++i) copy_row(ids[i], y + i * cols);
        return;
    }
    const int rank = table.rank;
    const float scale = members.block->sigma / std::sqrt(static_cast<float>(rank));
    Scratch b(cols * rank), a(rank);
    int64_t drawn = -1;
    for (int64_t m = 0; m < members.count; ++m) {
        const int64_t member = members.first + m, pair = members.pair_of(member);
        const NoiseStream stream = stream_of(members, table.parameter, pair);
        if (pair != drawn) fill_normal(stream, 0, b.data(), cols * rank);
        drawn = pair;
        for (int64_t i = 0; i < batch; ++i) {
            const int64_t id = ids[own_ids ? m * batch + i : i];
            float* row = y + (m * batch + i) * cols;
            copy_row(id, row);
            fill_normal(stream, offset_of_a(cols, rank) + static_cast<uint64_t>(id * rank),
                        a.data(), rank);
            for (int64_t e = 0; e < cols; ++e) {
                float sum = 0.0f;
                for (int k = 0; k < rank; ++k) sum += a.data()[k] * b.data()[e * rank + k];
                row[e] += members.sign_of(member) * scale * sum;
            }
        }
    }
}

}  // namespace eggroll::EGGROLL_CPU_NS
