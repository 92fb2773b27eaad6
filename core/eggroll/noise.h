// SPDX-License-Identifier: MIT
#pragma once

#include <eggroll/export.h>

#include <array>
#include <cstdint>
#include <span>

// The noise of a run: reproducible from counters on any machine, so that distributed workers need
// exchange nothing but fitnesses. docs/noise.md says how to check it with cuRAND or Random123.

namespace eggroll {

/// Version of the mapping from streams to numbers, for whoever stores a seed. It changes when any
/// bit of any stream changes.
inline constexpr int kNoiseVersion = 1;

/// The generation of the streams that initial weights are drawn from (pair 0); no run reaches it.
inline constexpr uint32_t kInitGeneration = 0xFFFFFFFFu;

/// Names 2^34 words, and as many normals. Streams that differ in any field share no counter.
struct NoiseStream {
    uint64_t seed = 0;       // Philox key, low word first; 0 is as good as any
    uint32_t parameter = 0;  // position in the model's full parameters()
    uint32_t pair = 0;       // p/2 of member p with antithetic sampling, else p
    uint32_t generation = 0;
};

/// The four random words of a counter: Philox4x32 with 10 rounds (Salmon et al., SC 2011).
EGGROLL_API std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter,
                                               std::array<uint32_t, 2> key);

/// Words first, first + 1, ... of a stream: word e is word e mod 4 of the Philox block with
/// counter (e / 4, parameter, pair, generation). Throws Error past element 2^34.
EGGROLL_API void fill_words(const NoiseStream& stream, uint64_t first, std::span<uint32_t> out);

/// Standard normals first, first + 1, ... of a stream, by Box-Muller from the words in cuRAND's
/// arrangement; finite, at most 6.764 in size, and the same bits on every machine and device.
/// Throws Error past element 2^34.
EGGROLL_API void fill_normal(const NoiseStream& stream, uint64_t first, std::span<float> out);

/// +1 or −1: sign e is bit e mod 32 of word e / 32 of the stream, −1 where it is set, so 128 come
/// from each block. Throws Error past element 2^39.
EGGROLL_API void fill_signs(const NoiseStream& stream, uint64_t first, std::span<float> out);

}  // namespace eggroll
