// SPDX-License-Identifier: MIT
// Compiled as the kernels are but for vectors.
#include "bench/reference_noise.h"

#include "core/noise_math.h"

namespace eggroll::bench {

void reference_normals(const NoiseStream& stream, uint64_t first, float* out, int64_t n) {
    for (int64_t e = 0; e < n; e += 4) {
        uint32_t words[4];
        const uint64_t block = first / 4 + static_cast<uint64_t>(e) / 4;
        detail::block_words(stream.seed, static_cast<uint32_t>(block), stream.parameter,
                            stream.pair, stream.generation, words);
        detail::normal4(words, out + e);
    }
}

}  // namespace eggroll::bench
