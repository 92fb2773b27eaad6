// SPDX-License-Identifier: MIT
#pragma once

// What a perturbed linear layer adds to the product: t = σ/√r x B_j and s t A_jᵀ + b + s σ ε, in
// two kernels or in one.

#include "cuda/elements.h"
#include "cuda/launch.h"

namespace eggroll::cuda {

/// Columns of factors that a thread has in registers at a time; a higher rank goes in slabs.
inline constexpr int kSlab = 8;

inline constexpr int kWarp = 32;

/// The rows of x or y that belong to a pair: those of one or two neighbouring members, or, of a
/// shared x, all.
struct PairRows {
    Members members;
    int64_t batch;

    __host__ __device__ int64_t first_pair() const { return members.pair_of(members.first); }
    __host__ __device__ int64_t pairs() const {
        return members.pair_of(members.first + members.count - 1) - first_pair() + 1;
    }
    /// Rows of a pair whose members are all there.
    int64_t most_rows() const { return (members.antithetic ? 2 : 1) * batch; }
    /// Of one pair, in rows of the range.
    struct Range {
        int64_t first, second, end;  // second: of the second member
        float sign;                  // of the first member's noise; the other has the opposite

        __device__ float sign_of(int64_t row) const { return row < second ? sign : -sign; }
        /// Which of its member's rows it is.
        __device__ int64_t part_row(int64_t row) const {
            return row - (row < second ? first : second);
        }
    };
    __device__ Range range(int64_t slot) const {
        if (!members.antithetic) {
            return {slot * batch, (slot + 1) * batch, (slot + 1) * batch,
                    members.sign_of(members.first + slot)};
        }
        int64_t begin = 2 * (first_pair() + slot) - members.first, end = begin + 2;
        if (begin < 0) begin = 0;
        if (end > members.count) end = members.count;
        return {begin * batch, (begin + 1) * batch, end * batch,
                members.sign_of(members.first + begin)};
    }
};

struct ProjectArgs {
    PairRows rows;
    Source x;
    bool shared_x;
    float* t;  // (V,B,r) of x's own rows, or (pairs,B,r) of shared ones
    uint32_t parameter;
    int rank;
    int64_t inputs;
    float sigma_scale;
    bool signs;  // the factors are of noise::sign
};
/// t = σ/√r x B_j.
void project(const ProjectArgs& args);

struct ExpandArgs {
    PairRows rows;
    Source from;  // (V,B,O), or (B,O); without data: zeros
    bool shared_from;
    const float* t;  // (V,B,r), or (pairs,B,r)
    bool shared_t;
    const float* bias;  // may be null
    Target y;
    uint32_t w_parameter, b_parameter;
    bool bias_noise;
    int rank;  // 0: no factors, and no t
    int64_t inputs, outputs;
    Act act;
    float b_sigma_scale;
    bool signs;
};
/// y = act(from + s t A_jᵀ + b + s σ ε).
void expand(const ExpandArgs& args);

struct PerturbArgs {
    PairRows rows;
    Source x;           // (V,B,I)
    const float* bias;  // may be null
    Target y;
    uint32_t w_parameter, b_parameter;
    bool bias_noise;
    int rank;  // 1..kSlab
    int64_t inputs, outputs;
    float w_sigma_scale, b_sigma_scale;
};
/// Rows of a pair that `perturb` takes at most.
inline constexpr int64_t kPerturbRows = 8;
/// y = s σ/√r (x B_j) A_jᵀ + b + s σ ε: x is read once and y written once.
void perturb(const PerturbArgs& args);

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

}  // namespace eggroll::cuda
