// SPDX-License-Identifier: MIT
#pragma once

#include "core/backend.h"

#include <eggroll/module.h>
#include <eggroll/noise_law.h>

#include <string>
#include <string_view>

namespace eggroll::detail {

struct NoiseLawAccess {
    static NoiseLaw make(LawKind kind, int64_t entries = 0) {
        NoiseLaw law;
        law.kind_ = static_cast<int>(kind);
        law.entries_ = entries;
        return law;
    }
    static NoiseLaw with_baseline(NoiseLaw law) {
        law.baseline_ = true;
        return law;
    }
    static Law law(const NoiseLaw& of) { return {static_cast<LawKind>(of.kind_), of.entries_}; }
    static bool is_baseline(const NoiseLaw& of) { return of.baseline_; }
};

/// "low_rank", "sparse(64)".
std::string name_of(const Law& law);
/// The law as one matrix has it: no more entries than the matrix.
Law law_for(const NoiseLaw& law, const NoiseShape& noise);
/// Rank of the factors of a matrix; 0 under laws without factors.
int rank_for(const Law& law, int wanted, const NoiseShape& noise);
/// Elements that one pair takes of a matrix's stream.
uint64_t stream_elements(const Law& law, int rank, const NoiseShape& noise);
/// Whether a text is as the pattern says, with * and ?.
bool matches(std::string_view pattern, std::string_view text);

}  // namespace eggroll::detail
