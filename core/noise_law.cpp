// SPDX-License-Identifier: MIT
// The laws of noise as the host knows them. What each of them draws and adds is in a file of its
// own in every backend: cpu/law_*.cpp, cuda/law_*.cu; low_rank is in linear and update.
#include "core/noise_law.h"

#include "core/noise_math.h"

#include <eggroll/error.h>

#include <algorithm>

namespace eggroll {

using detail::LawKind;
using detail::NoiseLawAccess;

std::string NoiseLaw::name() const {
    const std::string inner = detail::name_of(NoiseLawAccess::law(*this));
    return baseline_ ? "baseline(" + inner + ")" : inner;
}

namespace noise {

NoiseLaw low_rank() {
    return {};
}

NoiseLaw full_rank() {
    return NoiseLawAccess::make(LawKind::full_rank);
}

NoiseLaw sign() {
    return NoiseLawAccess::make(LawKind::sign);
}

NoiseLaw sparse(int64_t entries) {
    if (entries < 1) {
        throw Error("[noise::sparse] entries must be at least 1 but is " + std::to_string(entries));
    }
    return NoiseLawAccess::make(LawKind::sparse, entries);
}

NoiseLaw baseline(const NoiseLaw& of) {
    return NoiseLawAccess::with_baseline(of);
}

}  // namespace noise

namespace detail {

std::string name_of(const Law& law) {
    switch (law.kind) {
        case LawKind::low_rank:
            return "low_rank";
        case LawKind::full_rank:
            return "full_rank";
        case LawKind::sign:
            return "sign";
        case LawKind::sparse:
            break;
    }
    return "sparse(" + std::to_string(law.entries) + ")";
}

Law law_for(const NoiseLaw& law, const NoiseShape& noise) {
    Law own = NoiseLawAccess::law(law);
    own.entries = std::min(own.entries, noise.rows * noise.cols);
    return own;
}

int rank_for(const Law& law, int wanted, const NoiseShape& noise) {
    if (!law.has_factors()) return 0;
    return static_cast<int>(std::min({static_cast<int64_t>(wanted), noise.rows, noise.cols}));
}

uint64_t stream_elements(const Law& law, int rank, const NoiseShape& noise) {
    const auto a = static_cast<uint64_t>(noise.rows) * static_cast<uint64_t>(rank);
    switch (law.kind) {
        case LawKind::low_rank:
            return offset_of_a(noise.cols, rank) + a;
        case LawKind::sign:  // 32 to a word
            return (offset_of_signs(noise.cols, rank) + a + 31) / 32;
        case LawKind::full_rank:
            return static_cast<uint64_t>(noise.rows) * static_cast<uint64_t>(noise.cols);
        case LawKind::sparse:
            break;
    }
    return offset_of_places(law.entries) + 2 * static_cast<uint64_t>(law.entries);
}

bool matches(std::string_view pattern, std::string_view text) {
    // Where the last * stood, and the text it has swallowed so far.
    size_t p = 0, t = 0, star = std::string_view::npos, resume = 0;
    while (t < text.size()) {
        if (p < pattern.size() && pattern[p] == '*') {
            star = p++;
            resume = t;
        } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == text[t])) {
            ++p, ++t;
        } else if (star != std::string_view::npos) {
            p = star + 1;
            t = ++resume;
        } else {
            return false;
        }
    }
    while (p < pattern.size() && pattern[p] == '*') ++p;
    return p == pattern.size();
}

}  // namespace detail
}  // namespace eggroll
