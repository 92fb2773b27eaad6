// SPDX-License-Identifier: MIT
#pragma once

#include <eggroll/export.h>

#include <cstdint>
#include <optional>
#include <string>

namespace eggroll {

namespace detail {
struct NoiseLawAccess;
}

/// What the perturbation of a matrix W (O,I) looks like: W_p = W + s_p σ E_j, where the entries of
/// E have mean 0 and variance 1 and are uncorrelated under every law, so that σ and lr mean the
/// same. A vector gets independent normals whatever the law. `noise::` makes them; the default is
/// `noise::low_rank()`.
class EGGROLL_API NoiseLaw {
public:
    NoiseLaw() = default;

    /// As written: "low_rank", "sparse(64)", "baseline(sign)".
    std::string name() const;

private:
    friend struct detail::NoiseLawAccess;

    int kind_ = 0;
    int64_t entries_ = 0;
    bool baseline_ = false;
};

namespace noise {

/// E = A Bᵀ/√r, A (O,r) and B (I,r) standard normal: EGGROLL (arXiv 2511.16652). Kurtosis 3 + 6/r.
EGGROLL_API NoiseLaw low_rank();
/// E standard normal in all entries: OpenAI's evolution strategies (Salimans et al. 2017). Drawn
/// tile by tile, never stored; a product costs O·I normals a pair.
EGGROLL_API NoiseLaw full_rank();
/// E = A Bᵀ/√r, the entries of A and B +1 or −1 with equal chance: 128 of them from one Philox
/// block. Kurtosis 3 − 2/r.
EGGROLL_API NoiseLaw sign();
/// E is zero but for k = min(entries, O·I) terms v·√(O·I/k) at places drawn evenly with
/// replacement, v standard normal. Kurtosis about 3 O·I/k. Throws Error unless entries >= 1.
EGGROLL_API NoiseLaw sparse(int64_t entries);
/// Any of the others for members 1, 2, ...; member 0 is the centre, and the fitness of the others
/// counts against its own: f̂_p = (f_p − f_0)/std (shaping::against_first). Without antithetic
/// sampling only, for in a pair the baseline cancels. Options::clip_norm is its trust region.
EGGROLL_API NoiseLaw baseline(const NoiseLaw& of = low_rank());

}  // namespace noise

/// Settings of their own for the parameters whose name matches a pattern.
struct ParameterRule {
    std::string pattern;           // * stands for any characters, ? for one: "*.bias", "0.weight"
    std::optional<int> rank = {};  // >= 1
    std::optional<float> sigma_scale = {};  // times σ, > 0
    std::optional<bool> frozen = {};        // true: neither perturbed nor changed
    std::optional<NoiseLaw> noise = {};     // no baseline: that is the whole population's
};

}  // namespace eggroll
