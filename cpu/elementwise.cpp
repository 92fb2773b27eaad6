// SPDX-License-Identifier: MIT
#include "core/bf16.h"
#include "cpu/eigen.h"
#include "cpu/exp.h"
#include "cpu/kernels.h"

#include <cmath>
#include <cstring>

namespace eggroll::EGGROLL_CPU_NS {

namespace {

using Array = Eigen::Map<Eigen::ArrayXf>;
using ConstArray = Eigen::Map<const Eigen::ArrayXf>;

template <class F>
void each(const float* x, float* y, int64_t n, F f) {
    for (int64_t i = 0; i < n; ++i) y[i] = f(x[i]);
}

/// Eigen's vector functions clamp their argument, which would turn a NaN into a number.
void keep_nan(const float* x, float* y, int64_t n) {
    for (int64_t i = 0; i < n; ++i) y[i] = x[i] == x[i] ? y[i] : x[i];
}

/// A block small enough to stay in the first-level cache between the passes over it.
constexpr int64_t kBlock = 1024;

template <class F>
void in_blocks(const float* x, float* y, int64_t n, F f) {
    float copy[kBlock];  // x and y may be the same row
    for (int64_t first = 0; first < n; first += kBlock) {
        const int64_t count = n - first < kBlock ? n - first : kBlock;
        std::memcpy(copy, x + first, static_cast<size_t>(count) * sizeof(float));
        f(ConstArray(copy, count), Array(y + first, count));
        keep_nan(copy, y + first, count);
    }
}

/// Walks the outer axes; calls row(offsets, extent, strides of the innermost axis).
template <int kOperands, class F>
void walk(const Strided& layout, F row) {
    const int last = layout.dims - 1;
    int64_t index[kMaxDims] = {}, at[kOperands] = {};
    int64_t total = 1;
    for (int d = 0; d < layout.dims; ++d) total *= layout.extent[d];
    if (total == 0) return;
    for (int64_t out = 0; out < total; out += layout.extent[last]) {
        row(out, at, layout.extent[last]);
        for (int d = last - 1; d >= 0; --d) {
            for (int i = 0; i < kOperands; ++i) at[i] += layout.stride[i][d];
            if (++index[d] < layout.extent[d]) break;
            for (int i = 0; i < kOperands; ++i) at[i] -= layout.stride[i][d] * index[d];
            index[d] = 0;
        }
    }
}

template <class F>
void binary_with(const float* a, const float* b, float* y, const Strided& layout, F f) {
    const int last = layout.dims - 1;
    const int64_t sa = layout.stride[0][last], sb = layout.stride[1][last];
    walk<2>(layout, [&](int64_t out, const int64_t* at, int64_t n) {
        const float *pa = a + at[0], *pb = b + at[1];
        float* to = y + out;
        if (sa == 1 && sb == 1) {
            for (int64_t i = 0; i < n; ++i) to[i] = f(pa[i], pb[i]);
        } else if (sa == 1 && sb == 0) {
            for (int64_t i = 0; i < n; ++i) to[i] = f(pa[i], *pb);
        } else if (sa == 0 && sb == 1) {
            for (int64_t i = 0; i < n; ++i) to[i] = f(*pa, pb[i]);
        } else {
            for (int64_t i = 0; i < n; ++i) to[i] = f(pa[i * sa], pb[i * sb]);
        }
    });
}

}  // namespace

void fill(float* to, float value, int64_t n) {
    for (int64_t i = 0; i < n; ++i) to[i] = value;
}

void unary(Unary kind, const float* x, float* y, int64_t n) {
    switch (kind) {
        case Unary::negate:
            return each(x, y, n, [](float v) { return -v; });
        case Unary::relu:  // NaN passes
            return each(x, y, n, [](float v) { return v < 0.0f ? 0.0f : v; });
        case Unary::tanh:
            return in_blocks(x, y, n, [](auto v, auto out) { out = v.tanh(); });
        case Unary::sigmoid:
            return each(x, y, n, [](float v) { return 1.0f / (1.0f + exp_of(-v)); });
        case Unary::gelu:
            return each(x, y, n,
                        [](float v) { return 0.5f * v * (1.0f + std::erf(v * 0.707106781f)); });
        case Unary::silu:
            return each(x, y, n, [](float v) { return v / (1.0f + exp_of(-v)); });
        case Unary::exp:
            return each(x, y, n, [](float v) { return exp_of(v); });
        case Unary::log:
            return each(x, y, n, [](float v) { return std::log(v); });
        case Unary::sqrt:
            return each(x, y, n, [](float v) { return std::sqrt(v); });
        case Unary::abs:
            return each(x, y, n, [](float v) { return std::fabs(v); });
        case Unary::sin:
            return each(x, y, n, [](float v) { return std::sin(v); });
        case Unary::cos:
            return each(x, y, n, [](float v) { return std::cos(v); });
        case Unary::square:
            return each(x, y, n, [](float v) { return v * v; });
    }
}

void activate_row(Act act, float* y, int64_t n) {
    switch (act) {
        case Act::none:
            return;
        case Act::relu:
            return unary(Unary::relu, y, y, n);
        case Act::tanh:
            return unary(Unary::tanh, y, y, n);
        case Act::sigmoid:
            return unary(Unary::sigmoid, y, y, n);
        case Act::gelu:
            return unary(Unary::gelu, y, y, n);
        case Act::silu:
            return unary(Unary::silu, y, y, n);
    }
}

void binary(Binary kind, const float* a, const float* b, float* y, const Strided& layout) {
    const auto run = [&](auto f) { binary_with(a, b, y, layout, f); };
    switch (kind) {
        case Binary::add:
            return run([](float u, float v) { return u + v; });
        case Binary::sub:
            return run([](float u, float v) { return u - v; });
        case Binary::mul:
            return run([](float u, float v) { return u * v; });
        case Binary::div:
            return run([](float u, float v) { return u / v; });
        case Binary::maximum:  // NaN of either side passes
            return run([](float u, float v) { return u > v || u != u ? u : v; });
        case Binary::minimum:
            return run([](float u, float v) { return u < v || u != u ? u : v; });
        case Binary::greater:
            return run([](float u, float v) { return u > v ? 1.0f : 0.0f; });
        case Binary::less:
            return run([](float u, float v) { return u < v ? 1.0f : 0.0f; });
        case Binary::equal:
            return run([](float u, float v) { return u == v ? 1.0f : 0.0f; });
    }
}

void where(const float* condition, const float* a, const float* b, float* y,
           const Strided& layout) {
    const int last = layout.dims - 1;
    walk<3>(layout, [&](int64_t out, const int64_t* at, int64_t n) {
        for (int64_t i = 0; i < n; ++i) {
            const bool yes = condition[at[0] + i * layout.stride[0][last]] != 0.0f;
            y[out + i] =
                yes ? a[at[1] + i * layout.stride[1][last]] : b[at[2] + i * layout.stride[2][last]];
        }
    });
}

void copy_strided(const void* x, void* y, const Strided& layout) {
    const auto* from = static_cast<const uint32_t*>(x);
    auto* to = static_cast<uint32_t*>(y);
    const int last = layout.dims - 1;
    const int64_t sx = layout.stride[0][last], sy = layout.stride[1][last];
    walk<2>(layout, [&](int64_t, const int64_t* at, int64_t n) {
        if (sx == 1 && sy == 1) {
            std::memcpy(to + at[1], from + at[0], static_cast<size_t>(n) * sizeof(uint32_t));
        } else {
            for (int64_t i = 0; i < n; ++i) to[at[1] + i * sy] = from[at[0] + i * sx];
        }
    });
}

void round_bf16(const float* x, uint16_t* y, int64_t n) {
    for (int64_t i = 0; i < n; ++i) y[i] = rounded_bf16(x[i]);
}

void widen_bf16(const uint16_t* x, float* y, int64_t n) {
    for (int64_t i = 0; i < n; ++i) y[i] = widened_bf16(x[i]);
}

}  // namespace eggroll::EGGROLL_CPU_NS
