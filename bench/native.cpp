// SPDX-License-Identifier: MIT
// Compiled with cpu/'s flags: no templates and nothing inline with linkage may come in here.
#include "bench/native.h"

#include "core/noise_math.h"

namespace eggroll::bench {

const char* compiled_isa() {
#if defined(__AVX512F__) && defined(__AVX512DQ__) && defined(__AVX512BW__) && defined(__AVX512VL__)
    return "avx512";
#elif defined(__AVX2__) && defined(__FMA__)
    return "avx2";
#else
    return "baseline";
#endif
}

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
