// SPDX-License-Identifier: MIT
#pragma once

#include "core/backend.h"

#include <span>
#include <string>

// Which kernels a processor can run, and which are taken. See cpu/README.md for how they are built.

namespace eggroll::cpu {

/// The kernels of cpu/ compiled for one instruction set.
struct KernelSet {
    const char* name;                           // baseline, avx2, avx512; native
    uint64_t needs;                             // bit i: the i-th of EGGROLL_CPU_FEATURES
    void (*fill_rows)(detail::Backend& table);  // the rows of the table that are kernels

    // Of cpu/noise.h, for the tests.
    void (*fill_normal_many)(const NoiseStream& stream, uint32_t pair_count, uint64_t first,
                             int64_t n, float* out, int64_t stride);
    void (*fill_factors)(const NoiseStream& stream, uint32_t pair_count, uint64_t first, int64_t n,
                         int64_t rank, float* out, int64_t stride);
    void (*normals_from_words)(const uint32_t* words, float* out, int64_t n);
};

/// All that were built in, the most capable last.
std::span<const KernelSet* const> kernel_sets();

/// What the kernels need and this processor, or its operating system, does not have: "avx2, fma";
/// empty when they run here.
std::string missing_features(const KernelSet& kernels);

/// The set of that name, or for an empty one the most capable that runs here. Throws Error naming
/// what there is, or what the processor lacks.
const KernelSet& choose_kernels(const std::string& name);

/// The set that cpu_backend() uses: EGGROLL_CPU_ISA names it, or else it is the most capable.
const KernelSet& kernels_in_use();

/// The table with the kernels of one set.
detail::Backend backend_of(const KernelSet& kernels);

}  // namespace eggroll::cpu
