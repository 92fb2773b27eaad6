// SPDX-License-Identifier: MIT
#pragma once

#include <eggroll/noise.h>

#include <cstdint>
#include <vector>

// What NVIDIA's own code gives on the device, for the noise to be compared with.

namespace eggroll::test {

struct CurandStream {
    std::vector<uint32_t> words;
    std::vector<float> normals;
};

/// Blocks first..first+blocks-1 of a stream by curand_kernel.h's Philox4x32-10: curand4 and
/// curand_normal4 after curand_init(seed, pair | generation << 32, 4 (block | parameter << 32)).
CurandStream curand_stream(const NoiseStream& stream, uint32_t first, int64_t blocks);

/// For how many of the floats whose bits are first, first + step.. up to last the noise's square
/// root on the device is not __fsqrt_rn's.
int64_t other_roots(uint32_t first, uint32_t last, uint32_t step);

}  // namespace eggroll::test
