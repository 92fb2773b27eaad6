// SPDX-License-Identifier: MIT
#pragma once

#include <eggroll/ops.h>

namespace eggroll::cuda {

__device__ inline float relu_of(float v) {  // NaN passes
    return v < 0.0f ? 0.0f : v;
}
__device__ inline float sigmoid_of(float v) {
    return 1.0f / (1.0f + expf(-v));
}
__device__ inline float gelu_of(float v) {
    return 0.5f * v * (1.0f + erff(v * 0.707106781f));
}
__device__ inline float silu_of(float v) {
    return v / (1.0f + expf(-v));
}

__device__ inline float activate(Act act, float v) {
    switch (act) {
        case Act::none:
            return v;
        case Act::relu:
            return relu_of(v);
        case Act::tanh:
            return tanhf(v);
        case Act::sigmoid:
            return sigmoid_of(v);
        case Act::gelu:
            return gelu_of(v);
        case Act::silu:
            return silu_of(v);
    }
    return v;
}

}  // namespace eggroll::cuda
