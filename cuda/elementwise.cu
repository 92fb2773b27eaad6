// SPDX-License-Identifier: MIT
#include "core/bf16.h"
#include "cuda/activation.h"
#include "cuda/kernels.h"
#include "cuda/launch.h"

namespace eggroll::cuda {

namespace {

struct Fill {
    float* to;
    float value;
    __device__ void operator()(int64_t i) const { to[i] = value; }
};

__device__ float apply(Unary kind, float v) {
    switch (kind) {
        case Unary::negate:  // of a NaN too: the device's own negation may give another one
            return __uint_as_float(__float_as_uint(v) ^ 0x80000000u);
        case Unary::relu:
            return relu_of(v);
        case Unary::tanh:
            return tanhf(v);
        case Unary::sigmoid:
            return sigmoid_of(v);
        case Unary::gelu:
            return gelu_of(v);
        case Unary::silu:
            return silu_of(v);
        case Unary::exp:
            return expf(v);
        case Unary::log:
            return logf(v);
        case Unary::sqrt:
            return sqrtf(v);
        case Unary::abs:
            return fabsf(v);
        case Unary::sin:
            return sinf(v);
        case Unary::cos:
            return cosf(v);
        case Unary::square:
            return v * v;
    }
    return v;
}

__device__ float apply(Binary kind, float u, float v) {
    switch (kind) {
        case Binary::add:
            return u + v;
        case Binary::sub:
            return u - v;
        case Binary::mul:
            return u * v;
        case Binary::div:
            return u / v;
        case Binary::maximum:  // NaN of either side passes
            return u > v || u != u ? u : v;
        case Binary::minimum:
            return u < v || u != u ? u : v;
        case Binary::greater:
            return u > v ? 1.0f : 0.0f;
        case Binary::less:
            return u < v ? 1.0f : 0.0f;
        case Binary::equal:
            return u == v ? 1.0f : 0.0f;
    }
    return u;
}

struct UnaryOp {
    Unary kind;
    const float* x;
    float* y;
    __device__ void operator()(int64_t i) const { y[i] = apply(kind, x[i]); }
};

/// Where operands find element i of the output.
template <int kOperands>
struct Places {
    Strided layout;

    __device__ void at(int64_t i, int64_t (&offset)[kOperands]) const {
        for (int o = 0; o < kOperands; ++o) offset[o] = 0;
        for (int d = layout.dims - 1; d >= 0; --d) {
            const int64_t index = i % layout.extent[d];
            i /= layout.extent[d];
            for (int o = 0; o < kOperands; ++o) offset[o] += index * layout.stride[o][d];
        }
    }
};

struct BinaryOp {
    Binary kind;
    const float *a, *b;
    float* y;
    Places<2> places;
    __device__ void operator()(int64_t i) const {
        int64_t at[2];
        places.at(i, at);
        y[i] = apply(kind, a[at[0]], b[at[1]]);
    }
};

struct Where {
    const float *condition, *a, *b;
    float* y;
    Places<3> places;
    __device__ void operator()(int64_t i) const {
        int64_t at[3];
        places.at(i, at);
        y[i] = condition[at[0]] != 0.0f ? a[at[1]] : b[at[2]];
    }
};

struct CopyStrided {
    const uint32_t* x;
    uint32_t* y;
    Places<2> places;
    __device__ void operator()(int64_t i) const {
        int64_t at[2];
        places.at(i, at);
        y[at[1]] = x[at[0]];
    }
};

/// Four elements.
struct RoundBf16 {
    const float* x;
    uint16_t* y;
    int64_t n;
    bool aligned;
    __device__ void operator()(int64_t quad) const {
        const int64_t i = 4 * quad;
        if (aligned && i + 4 <= n) {
            const float4 v = *reinterpret_cast<const float4*>(x + i);
            *reinterpret_cast<ushort4*>(y + i) = make_ushort4(rounded_bf16(v.x), rounded_bf16(v.y),
                                                              rounded_bf16(v.z), rounded_bf16(v.w));
            return;
        }
        for (int64_t k = i; k < i + 4 && k < n; ++k) y[k] = rounded_bf16(x[k]);
    }
};

struct WidenBf16 {
    const uint16_t* x;
    float* y;
    int64_t n;
    bool aligned;
    __device__ void operator()(int64_t quad) const {
        const int64_t i = 4 * quad;
        if (aligned && i + 4 <= n) {
            const ushort4 v = *reinterpret_cast<const ushort4*>(x + i);
            *reinterpret_cast<float4*>(y + i) = make_float4(widened_bf16(v.x), widened_bf16(v.y),
                                                            widened_bf16(v.z), widened_bf16(v.w));
            return;
        }
        for (int64_t k = i; k < i + 4 && k < n; ++k) y[k] = widened_bf16(x[k]);
    }
};

bool are_aligned(const void* floats, const void* halves) {
    return reinterpret_cast<uintptr_t>(floats) % 16 == 0 &&
           reinterpret_cast<uintptr_t>(halves) % 8 == 0;
}

int64_t elements(const Strided& layout) {
    int64_t n = 1;
    for (int d = 0; d < layout.dims; ++d) n *= layout.extent[d];
    return n;
}

}  // namespace

void fill(float* to, float value, int64_t n) {
    for_each("fill", n, Fill{to, value});
}

void unary(Unary kind, const float* x, float* y, int64_t n) {
    for_each("unary", n, UnaryOp{kind, x, y});
}

void binary(Binary kind, const float* a, const float* b, float* y, const Strided& layout) {
    for_each("binary", elements(layout), BinaryOp{kind, a, b, y, {layout}});
}

void where(const float* condition, const float* a, const float* b, float* y,
           const Strided& layout) {
    for_each("where", elements(layout), Where{condition, a, b, y, {layout}});
}

void copy_strided(const void* x, void* y, const Strided& layout) {
    for_each("copy_strided", elements(layout),
             CopyStrided{static_cast<const uint32_t*>(x), static_cast<uint32_t*>(y), {layout}});
}

void round_bf16(const float* x, uint16_t* y, int64_t n) {
    for_each("round_bf16", blocks_of(n, 4), RoundBf16{x, y, n, are_aligned(x, y)});
}

void widen_bf16(const uint16_t* x, float* y, int64_t n) {
    for_each("widen_bf16", blocks_of(n, 4), WidenBf16{x, y, n, are_aligned(y, x)});
}

}  // namespace eggroll::cuda
