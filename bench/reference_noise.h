// SPDX-License-Identifier: MIT
#pragma once

#include <eggroll/noise.h>

namespace eggroll::bench {

/// Normals first..first+n-1 of a stream, one block after another by the scalar text of
/// core/noise_math.h; first and n multiples of 4.
void reference_normals(const NoiseStream& stream, uint64_t first, float* out, int64_t n);

}  // namespace eggroll::bench
