// SPDX-License-Identifier: MIT
#include "cuda/noise.h"

#include "cuda/kernels.h"
#include "cuda/launch.h"

#include <type_traits>

namespace eggroll::cuda {

namespace {

/// A block of the stream; writes those of its elements that are asked for.
template <class T>
struct FillBlock {
    NoiseStream stream;
    uint64_t first;
    T* out;
    int64_t n;
    bool quads;  // a block's elements lie on 16 bytes

    __device__ void operator()(int64_t i) const {
        const uint64_t block = first / 4 + static_cast<uint64_t>(i);
        uint32_t words[4];
        block_words(stream.seed, static_cast<uint32_t>(block), stream.parameter, stream.pair,
                    stream.generation, words);
        T values[4];
        if constexpr (std::is_same_v<T, float>) {
            normal4(words, values);
        } else {
            for (int l = 0; l < 4; ++l) values[l] = words[l];
        }
        const auto to = static_cast<int64_t>(4 * block - first);  // below 0: not all are asked for
        if (quads && to >= 0 && to + 4 <= n) {
            using Quad = std::conditional_t<std::is_same_v<T, float>, float4, uint4>;
            *reinterpret_cast<Quad*>(out + to) = {values[0], values[1], values[2], values[3]};
            return;
        }
        for (int l = 0; l < 4; ++l) {
            if (to + l >= 0 && to + l < n) out[to + l] = values[l];
        }
    }
};

template <class T>
void fill_stream(const char* name, const NoiseStream& stream, uint64_t first, T* out, int64_t n) {
    const int64_t blocks = n > 0 ? blocks_of(static_cast<int64_t>(first % 4) + n, 4) : 0;
    const bool quads = first % 4 == 0 && reinterpret_cast<uintptr_t>(out) % 16 == 0;
    for_each(name, blocks, FillBlock<T>{stream, first, out, n, quads});
}

}  // namespace

void fill_words(const NoiseStream& stream, uint64_t first, uint32_t* out, int64_t n) {
    fill_stream("fill_words", stream, first, out, n);
}

void fill_normal(const NoiseStream& stream, uint64_t first, float* out, int64_t n) {
    fill_stream("fill_normal", stream, first, out, n);
}

}  // namespace eggroll::cuda
