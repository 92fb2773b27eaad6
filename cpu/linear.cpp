// SPDX-License-Identifier: MIT
// y = act(x W_pᵀ + b_p) for a chunk of members.
//
// Members are taken in groups of whole pairs. A group's noise is drawn once per pair; t = x B_j is
// formed while the rows of x are in cache; the product with W then adds t A_jᵀ, bias, bias noise
// and ReLU while its sums are still in registers.
#include "cpu/kernels.h"
#include "cpu/memory.h"
#include "cpu/noise.h"
#include "cpu/plan.h"
#include "cpu/product.h"
#include "cpu/streams.h"
#include "cpu/threads.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace eggroll::EGGROLL_CPU_NS {

using cpu::Scratch;

namespace {

/// Fewer rows are not worth laying W out for.
constexpr int64_t kRowsToPack = 12;

int64_t row_stride(int64_t outputs) {
    return round_up(outputs, block_cols(outputs));
}

/// The bias padded to whole blocks of columns; zeros where there is none.
void pad_bias(const LinearArgs& args, float* padded) {
    const int64_t stride = row_stride(args.outputs);
    std::fill_n(padded, stride, 0.0f);
    if (args.b.value != nullptr) std::copy_n(args.b.value, args.outputs, padded);
}

/// Activations that are not part of the product's pass, over rows still in cache.
void activate_rows(Act act, float* y, int64_t n) {
    if (act != Act::relu) activate_row(act, y, n);
}

/// y (rows,O) = x Wᵀ by dot products.
void narrow_product(const float* x, const float* w, float* y, int64_t rows, int64_t inputs,
                    int64_t outputs) {
    for (int64_t r = 0; r < rows; ++r) {
        dot_rows(w, outputs, x + r * inputs, 1, inputs, y + r * outputs);
    }
}

/// W laid out for the tiles: the caller's, or made here for this call.
class PackedWeights {
public:
    PackedWeights(const LinearArgs& args, bool wanted)
        : own_(wanted && args.packed == nullptr ? packed_floats(args.outputs, args.inputs) : 0),
          data_(args.packed) {
        if (!wanted || data_ != nullptr) return;
        pack_weights(args.w.value, args.outputs, args.inputs, own_.data());
        data_ = own_.data();
    }

    const float* data() const { return data_; }

private:
    Scratch own_;
    const float* data_;
};

/// The noise of one pair for this layer: Bᵀ (r,I), Aᵀ (r,stride), ε (stride).
class PairNoise {
public:
    PairNoise(const LinearArgs& args, int rank, int64_t pairs)
        : args_(args),
          rank_(rank),
          stride_(row_stride(args.outputs)),
          slot_(rank * args.inputs + (rank + 1) * stride_),
          memory_(pairs * slot_),
          spare_(rank > 1 ? rank * std::max(args.inputs, args.outputs) : 0) {
        for (int64_t s = 0; s < pairs; ++s) {
            for (int k = 0; k <= rank; ++k) {  // the padding of Aᵀ and ε
                std::fill_n(
                    memory_.data() + s * slot_ + rank * args.inputs + k * stride_ + args.outputs,
                    stride_ - args.outputs, 0.0f);
            }
        }
    }

    void draw(int64_t slot, int64_t pair) {
        const GenerationBlock& block = *args_.members.block;
        if (rank_ > 0) {
            const NoiseStream stream = stream_of(block, args_.w.parameter, pair);
            draw_transposed(stream, 0, args_.inputs, args_.inputs, bt(slot));
            draw_transposed(stream, offset_of_a(args_.inputs, rank_), args_.outputs, stride_,
                            at(slot));
        }
        if (args_.b.perturbed) {
            fill_normal(stream_of(block, args_.b.parameter, pair), 0, eps(slot), args_.outputs);
        }
    }

    float* bt(int64_t slot) { return memory_.data() + slot * slot_; }
    float* at(int64_t slot) { return bt(slot) + rank_ * args_.inputs; }
    float* eps(int64_t slot) { return at(slot) + rank_ * stride_; }
    int64_t stride() const { return stride_; }

private:
    /// A factor (n,r) of the stream as its transpose (r,n).
    void draw_transposed(const NoiseStream& stream, uint64_t first, int64_t n, int64_t stride,
                         float* to) {
        if (rank_ == 1) return fill_normal(stream, first, to, n);
        fill_normal(stream, first, spare_.data(), n * rank_);
        for (int k = 0; k < rank_; ++k) {
            for (int64_t i = 0; i < n; ++i) to[k * stride + i] = spare_.data()[i * rank_ + k];
        }
    }

    const LinearArgs& args_;
    int rank_;
    int64_t stride_, slot_;
    Scratch memory_, spare_;
};

/// What each row of a group of members adds to the product.
class GroupNoise {
public:
    GroupNoise(const LinearArgs& args, int64_t members)
        : args_(args),
          rank_(args.w.perturbed ? args.w.rank : 0),
          scale_(rank_ > 0 ? args.members.block->sigma / std::sqrt(static_cast<float>(rank_)) : 0),
          pairs_(args, rank_, members + 1),
          rows_memory_(members * args.batch * static_cast<int64_t>(sizeof(RowNoise) / 4)),
          t_(members * args.batch * std::max(rank_, 1)) {}

    /// Members first..first+count-1 of the chunk.
    void prepare(int64_t first, int64_t count) {
        const Members& members = args_.members;
        const int64_t batch = args_.batch;
        int64_t slot = -1, drawn = -1;
        for (int64_t m = 0; m < count; ++m) {
            const int64_t member = members.first + first + m, pair = members.pair_of(member);
            const bool again = pair == drawn;
            if (!again) pairs_.draw(++slot, drawn = pair);
            project(first, m, slot, again);
            for (int64_t r = 0; r < batch; ++r) {
                RowNoise& row = rows()[m * batch + r];
                row = {.t = t_.data() + (m * batch + r) * rank_, .at = pairs_.at(slot)};
                if (args_.b.perturbed) {
                    row.eps = pairs_.eps(slot);
                    row.eps_scale = members.sign_of(member) * members.block->sigma;
                }
            }
        }
    }

    RowNoise* rows() { return reinterpret_cast<RowNoise*>(rows_memory_.data()); }
    int rank() const { return rank_; }
    int64_t stride() const { return pairs_.stride(); }

private:
    /// t = s σ/√r x B_j of one member; on a shared x the other of the pair has it with its sign.
    void project(int64_t first, int64_t m, int64_t slot, bool again) {
        const Members& members = args_.members;
        const int64_t n = args_.batch * rank_;
        if (n == 0) return;
        float* t = t_.data() + m * n;
        if (args_.shared_x && again) {
            for (int64_t i = 0; i < n; ++i) t[i] = -t[i - n];
            return;
        }
        const float* x = args_.x + (args_.shared_x ? 0 : (first + m) * args_.batch * args_.inputs);
        dot_rows(x, args_.batch, pairs_.bt(slot), rank_, args_.inputs, t);
        const float scale = members.sign_of(members.first + first + m) * scale_;
        for (int64_t i = 0; i < n; ++i) t[i] *= scale;
    }

    const LinearArgs& args_;
    int rank_;
    float scale_;
    PairNoise pairs_;
    Scratch rows_memory_, t_;
};

void perturbed(const LinearArgs& args) {
    const int64_t batch = args.batch, outputs = args.outputs, inputs = args.inputs;
    const int64_t count = args.members.count;
    const int64_t group = std::min(count, cpu::group_members(batch));
    const bool wide = !args.shared_x && count * batch >= kRowsToPack;
    const PackedWeights packed(args, wide);
    GroupNoise noise(args, group);
    Scratch bias(noise.stride());
    pad_bias(args, bias.data());
    for (int64_t first = 0; first < count; first += group) {
        const int64_t members = std::min(group, count - first), rows = members * batch;
        noise.prepare(first, members);
        const float* x = args.shared_x ? nullptr : args.x + first * batch * inputs;
        float* y = args.y + first * batch * outputs;
        if (wide) {
            multiply_rows({.x = x,
                           .packed = packed.data(),
                           .bias = bias.data(),
                           .noise = noise.rows(),
                           .rank = noise.rank(),
                           .relu = args.act == Act::relu,
                           .y = y,
                           .rows = rows,
                           .inputs = inputs,
                           .outputs = outputs,
                           .stride = noise.stride()});
        } else {
            if (!args.shared_x) narrow_product(x, args.w.value, y, rows, inputs, outputs);
            for (int64_t r = 0; r < rows; ++r) {
                float* to = y + r * outputs;
                const float* from = args.shared_x ? args.base + r % batch * outputs : to;
                expand_row(from, bias.data(), noise.rows() + r, noise.rank(), args.act == Act::relu,
                           to, outputs, noise.stride());
            }
        }
        activate_rows(args.act, y, rows * outputs);
    }
}

/// All rows alike; in blocks of fixed size, which threads share when the call is not part of a
/// chunk.
void unperturbed(const LinearArgs& args) {
    constexpr int64_t kRows = 240;
    const int64_t stride = row_stride(args.outputs);
    const bool wide = args.base == nullptr && args.batch >= kRowsToPack;
    const PackedWeights packed(args, wide);
    Scratch bias(stride);
    pad_bias(args, bias.data());
    cpu::parallel_for((args.batch + kRows - 1) / kRows, [&](int64_t block) {
        const int64_t first = block * kRows, rows = std::min(kRows, args.batch - first);
        const float* x = args.x + first * args.inputs;
        float* y = args.y + first * args.outputs;
        if (wide) {
            multiply_rows({.x = x,
                           .packed = packed.data(),
                           .bias = bias.data(),
                           .noise = nullptr,
                           .rank = 0,
                           .relu = args.act == Act::relu,
                           .y = y,
                           .rows = rows,
                           .inputs = args.inputs,
                           .outputs = args.outputs,
                           .stride = stride});
        } else {
            const float* from = args.base != nullptr ? args.base + first * args.outputs : y;
            if (args.base == nullptr) {
                narrow_product(x, args.w.value, y, rows, args.inputs, args.outputs);
            }
            for (int64_t r = 0; r < rows; ++r) {
                expand_row(from + r * args.outputs, bias.data(), nullptr, 0, args.act == Act::relu,
                           y + r * args.outputs, args.outputs, stride);
            }
        }
        activate_rows(args.act, y, rows * args.outputs);
    });
}

}  // namespace

int64_t packed_size(int64_t outputs, int64_t inputs) {
    return packed_floats(outputs, inputs);
}

void pack(const float* w, int64_t outputs, int64_t inputs, float* packed) {
    pack_weights(w, outputs, inputs, packed);
}

void product(const float* x, const float* w, float* y, int64_t rows, int64_t inputs,
             int64_t outputs) {
    linear({.members = {},
            .x = x,
            .shared_x = false,
            .base = nullptr,
            .packed = nullptr,
            .w = {.value = w},
            .b = {},
            .act = Act::none,
            .y = y,
            .batch = rows,
            .inputs = inputs,
            .outputs = outputs});
}

void linear(const LinearArgs& args) {
    if (args.members.count > 0) {
        perturbed(args);
    } else {
        unperturbed(args);
    }
}

}  // namespace eggroll::EGGROLL_CPU_NS
