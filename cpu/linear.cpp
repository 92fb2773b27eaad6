// SPDX-License-Identifier: MIT
// y = act(x W_pᵀ + b_p) for a chunk of members.
//
// Members are taken in groups of whole pairs. A group's noise is drawn once per pair; t = x B_j is
// formed while the rows of x are in cache; the product with W then adds t A_jᵀ, bias, bias noise
// and ReLU while its sums are still in registers. Laws of noise without factors go by themselves.
#include "cpu/kept_noise.h"
#include "cpu/kernels.h"
#include "cpu/laws.h"
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

/// Whole blocks of columns, and the rows of kept noise.
int64_t row_stride(int64_t outputs) {
    static_assert(kKeptPadding % kTileCols == 0);
    return round_up(outputs, kKeptPadding);
}

/// The bias padded to whole blocks of columns; zeros where there is none.
void pad_bias(const LinearArgs& args, float* padded) {
    const int64_t stride = row_stride(args.outputs);
    std::fill_n(padded, stride, 0.0f);
    if (args.b.value != nullptr) std::copy_n(args.b.value, args.outputs, padded);
}

/// All but ReLU, which is part of the pass before: over rows still in cache.
void activate_unfused(Act act, float* y, int64_t n) {
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

/// The noise of a few pairs for this layer: Bᵀ (r,I), Aᵀ (r,stride), ε (stride) of each, those of
/// one kind side by side.
class PairNoise {
public:
    PairNoise(const LinearArgs& args, int64_t pairs)
        : args_(args),
          rank_(args.w.perturbed ? args.w.rank : 0),
          stride_(row_stride(args.outputs)),
          own_bt_(pairs * rank_ * args.inputs),
          own_at_(pairs * rank_ * stride_),
          own_eps_(pairs * stride_) {}

    /// Slot i: pair `first` + i.
    void draw(int64_t first, int64_t pairs) {
        const int64_t b_size = rank_ * args_.inputs, a_size = rank_ * stride_;
        bt_ = own_bt_.data();
        at_ = own_at_.data();
        eps_ = own_eps_.data();
        if (rank_ > 0) {
            const KeptNoise* kept = args_.w.kept;
            if (find_place(kept, first, pairs) == Place::own) {
                draw_factors(first, pairs, bt_, at_);
            } else {
                draw_claimed(kept, first, pairs, [&](int64_t pair, int64_t count) {
                    draw_factors(pair, count, kept->b + pair * b_size, kept->a + pair * a_size);
                });
                bt_ = kept->b + first * b_size;
                at_ = kept->a + first * a_size;
            }
        }
        if (args_.b.perturbed) {
            const KeptNoise* kept = args_.b.kept;
            if (find_place(kept, first, pairs) == Place::own) {
                draw_eps(first, pairs, eps_);
            } else {
                draw_claimed(kept, first, pairs, [&](int64_t pair, int64_t count) {
                    draw_eps(pair, count, kept->a + pair * stride_);
                });
                eps_ = kept->a + first * stride_;
            }
        }
    }

    /// What one row adds: its own t, and the rest from its pair.
    RowNoise row(int64_t slot, float sign, const float* t) {
        if (!args_.b.perturbed) return {.t = t, .at = at(slot)};
        return {.t = t,
                .at = at(slot),
                .eps = eps(slot),
                .eps_scale = sign * (args_.members.block->sigma * args_.b.sigma_scale)};
    }

    int rank() const { return rank_; }
    int64_t stride() const { return stride_; }
    /// σ/√r.
    float scale() const {
        if (rank_ == 0) return 0.0f;
        return args_.members.block->sigma * args_.w.sigma_scale /
               std::sqrt(static_cast<float>(rank_));
    }
    float* bt(int64_t slot) { return bt_ + slot * rank_ * args_.inputs; }

private:
    float* at(int64_t slot) { return at_ + slot * rank_ * stride_; }
    float* eps(int64_t slot) { return eps_ + slot * stride_; }

    void draw_factors(int64_t first, int64_t pairs, float* bt, float* at) const {
        const auto count = static_cast<uint32_t>(pairs);
        const NoiseStream stream = stream_of(*args_.members.block, args_.w.parameter, first);
        fill_b(args_.w.law, stream, count, args_.inputs, rank_, bt, args_.inputs);
        fill_a(args_.w.law, stream, count, args_.inputs, args_.outputs, rank_, at, stride_);
        pad(at, pairs * rank_);
    }
    void draw_eps(int64_t first, int64_t pairs, float* eps) const {
        fill_normal_many(stream_of(*args_.members.block, args_.b.parameter, first),
                         static_cast<uint32_t>(pairs), 0, args_.outputs, eps, stride_);
        pad(eps, pairs);
    }

    /// Zeros behind the outputs of each row.
    void pad(float* rows, int64_t count) const {
        for (int64_t row = 0; row < count; ++row) {
            std::fill(rows + row * stride_ + args_.outputs, rows + (row + 1) * stride_, 0.0f);
        }
    }

    const LinearArgs& args_;
    int rank_;
    int64_t stride_;
    Scratch own_bt_, own_at_, own_eps_;
    float *bt_ = nullptr, *at_ = nullptr, *eps_ = nullptr;  // what was drawn last
};

/// t = s σ/√r x B_j of the rows of a group of members; row r belongs to the pair whose Bᵀ is b[r].
void project(const float* x, int64_t members, int64_t batch, int64_t inputs, int64_t rank,
             const float* const* b, const float* scale, float* t) {
    const int64_t rows = members * batch;
    if (rank == 1 && batch < kLanes) {
        dot_each(x, rows, b, inputs, t);
    } else {
        for (int64_t row = 0; rank > 0 && row < rows; row += batch) {
            dot_rows(x + row * inputs, batch, b[row], rank, inputs, t + row * rank);
        }
    }
    for (int64_t row = 0; row < rows; ++row) {
        for (int64_t k = 0; k < rank; ++k) t[row * rank + k] *= scale[row];
    }
}

/// Each member has rows of its own.
void perturbed_own(const LinearArgs& args) {
    const int64_t batch = args.batch, outputs = args.outputs, inputs = args.inputs;
    const Members& members = args.members;
    static_assert(cpu::kTileRowsWidest % kTileRows == 0);
    const int64_t group = std::min(members.count, cpu::group_members(batch));
    const bool wide = members.count * batch >= kRowsToPack;
    const PackedWeights packed(args, wide);
    PairNoise noise(args, members.antithetic ? group / 2 + 1 : group);
    const int64_t rank = noise.rank();
    Scratch bias(noise.stride()), t(group * batch * rank);
    pad_bias(args, bias.data());
    cpu::ScratchOf<RowNoise> row_noise(group * batch);
    cpu::ScratchOf<const float*> own_b(group * batch);
    Scratch t_scale(group * batch);

    for (int64_t first = 0; first < members.count; first += group) {
        const int64_t count = std::min(group, members.count - first), rows = count * batch;
        const float* x = args.x + first * batch * inputs;
        float* y = args.y + first * batch * outputs;
        const int64_t first_pair = members.pair_of(members.first + first);
        noise.draw(first_pair, members.pair_of(members.first + first + count - 1) - first_pair + 1);
        for (int64_t m = 0; m < count; ++m) {
            const int64_t member = members.first + first + m;
            const int64_t slot = members.pair_of(member) - first_pair;
            const float sign = members.sign_of(member);
            for (int64_t r = 0; r < batch; ++r) {
                const int64_t row = m * batch + r;
                row_noise.data()[row] = noise.row(slot, sign, t.data() + row * rank);
                own_b.data()[row] = noise.bt(slot);
                t_scale.data()[row] = sign * noise.scale();
            }
        }
        project(x, count, batch, inputs, rank, own_b.data(), t_scale.data(), t.data());
        if (wide) {
            multiply_rows({.x = x,
                           .packed = packed.data(),
                           .bias = bias.data(),
                           .noise = row_noise.data(),
                           .all_eps = args.b.perturbed,
                           .rank = noise.rank(),
                           .relu = args.act == Act::relu,
                           .y = y,
                           .rows = rows,
                           .inputs = inputs,
                           .outputs = outputs,
                           .stride = noise.stride()});
        } else {
            narrow_product(x, args.w.value, y, rows, inputs, outputs);
            for (int64_t r = 0; r < rows; ++r) {
                expand_row(y + r * outputs, bias.data(), row_noise.data() + r, noise.rank(),
                           args.act == Act::relu, y + r * outputs, outputs, noise.stride());
            }
        }
        activate_unfused(args.act, y, rows * outputs);
    }
}

/// All members see the same rows: x Wᵀ is there already, and x B_j is formed for several pairs in
/// one pass over x; the members of a pair differ in a sign.
void perturbed_shared(const LinearArgs& args) {
    constexpr int64_t kPairs = 8;
    const int64_t batch = args.batch, outputs = args.outputs;
    const Members& members = args.members;
    const int64_t slots = std::min(members.count, kPairs);
    PairNoise noise(args, slots);
    const int64_t rank = noise.rank(), columns = slots * rank;
    Scratch bias(noise.stride()), offset(noise.stride());
    Scratch plus(batch * columns), minus(batch * columns);
    pad_bias(args, bias.data());

    for (int64_t m = 0; m < members.count;) {
        // The next pairs, and the members that belong to them.
        const int64_t first_pair = members.pair_of(members.first + m);
        int64_t last = m;
        while (last < members.count && members.pair_of(members.first + last) < first_pair + slots) {
            ++last;
        }
        const int64_t pairs = members.pair_of(members.first + last - 1) - first_pair + 1;
        noise.draw(first_pair, pairs);
        const int64_t width = pairs * rank;
        dot_rows(args.x, batch, noise.bt(0), width, args.inputs, plus.data());
        for (int64_t i = 0; i < batch * width; ++i) {
            plus.data()[i] *= noise.scale();
            minus.data()[i] = -plus.data()[i];
        }
        for (; m < last; ++m) {
            const int64_t member = members.first + m;
            const int64_t slot = members.pair_of(member) - first_pair;
            const float sign = members.sign_of(member);
            const float* t = (sign > 0 ? plus : minus).data() + slot * rank;
            const RowNoise row = noise.row(slot, sign, t);
            for (int64_t o = 0; o < noise.stride(); ++o) {
                offset.data()[o] = bias.data()[o];
                if (row.eps != nullptr) offset.data()[o] += row.eps_scale * row.eps[o];
            }
            float* y = args.y + m * batch * outputs;
            expand_rows({.base = args.base,
                         .offset = offset.data(),
                         .t = t,
                         .t_step = width,
                         .at = row.at,
                         .rank = sign == 0.0f ? 0 : noise.rank(),  // the centre
                         .relu = args.act == Act::relu,
                         .y = y,
                         .rows = batch,
                         .outputs = outputs,
                         .stride = noise.stride()});
            activate_unfused(args.act, y, batch * outputs);
        }
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
                           .all_eps = false,
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
        activate_unfused(args.act, y, rows * args.outputs);
    });
}

}  // namespace

int64_t packed_size(int64_t outputs, int64_t inputs, int64_t rows, Precision) {
    return rows < kRowsToPack ? 0 : packed_floats(outputs, inputs);
}

void pack(const float* w, int64_t outputs, int64_t inputs, Precision, float* packed) {
    pack_weights(w, outputs, inputs, packed);
}

void product(const float* x, const float* w, float* y, int64_t rows, int64_t inputs,
             int64_t outputs, Precision) {
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
    if (args.members.count == 0) {
        unperturbed(args);
    } else if (args.w.perturbed && !args.w.law.has_factors()) {
        linear_by_law(args);
    } else if (args.shared_x) {
        perturbed_shared(args);
    } else {
        perturbed_own(args);
    }
}

}  // namespace eggroll::EGGROLL_CPU_NS
