// SPDX-License-Identifier: MIT
// Windows that slide over images: unfolded into rows for a convolution, or pooled.
#include "cuda/kernels.h"
#include "cuda/launch.h"

namespace eggroll::cuda {

namespace {

/// What both kernels divide by, in the narrowest integer that holds an index of the result: a
/// division of 64 bits takes some four times as long.
template <class Index>
struct Windows {
    Index channels, height, width, kernel_h, kernel_w, out_h, out_w;
    int64_t stride[2], padding[2];
    const float* x;

    explicit Windows(const WindowArgs& args)
        : channels(static_cast<Index>(args.channels)),
          height(static_cast<Index>(args.height)),
          width(static_cast<Index>(args.width)),
          kernel_h(static_cast<Index>(args.kernel[0])),
          kernel_w(static_cast<Index>(args.kernel[1])),
          out_h(static_cast<Index>(args.out[0])),
          out_w(static_cast<Index>(args.out[1])),
          stride{args.stride[0], args.stride[1]},
          padding{args.padding[0], args.padding[1]},
          x(args.x) {}

    __device__ int64_t top(Index oy) const { return oy * stride[0] - padding[0]; }
    __device__ int64_t left(Index ox) const { return ox * stride[1] - padding[1]; }
};

/// One element of one window.
template <class Index>
struct Unfold {
    Windows<Index> of;
    float* y;

    __device__ void operator()(int64_t item) const {
        const auto i = static_cast<Index>(item);
        const Index columns = of.channels * of.kernel_h * of.kernel_w;
        const Index row = i / columns, k = i - row * columns;
        const Index line = k / of.kernel_w, kx = k - line * of.kernel_w;
        const Index c = line / of.kernel_h, ky = line - c * of.kernel_h;
        const Index down = row / of.out_w, ox = row - down * of.out_w;
        const Index n = down / of.out_h, oy = down - n * of.out_h;
        const int64_t iy = of.top(oy) + ky, ix = of.left(ox) + kx;
        const bool inside = iy >= 0 && iy < of.height && ix >= 0 && ix < of.width;
        const int64_t plane = static_cast<int64_t>(n) * of.channels + c;
        y[item] = inside ? of.x[(plane * of.height + iy) * of.width + ix] : 0.0f;
    }
};

/// One window of one channel.
template <class Index>
struct PoolOne {
    Windows<Index> of;
    Pool kind;
    float* y;

    __device__ void operator()(int64_t item) const {
        const auto i = static_cast<Index>(item);
        const Index down = i / of.out_w, ox = i - down * of.out_w;
        const Index plane = down / of.out_h, oy = down - plane * of.out_h;
        const int64_t top = of.top(oy), left = of.left(ox);
        const float* x = of.x + static_cast<int64_t>(plane) * of.height * of.width;
        const int64_t bottom = min(top + of.kernel_h, static_cast<int64_t>(of.height));
        const int64_t right = min(left + of.kernel_w, static_cast<int64_t>(of.width));
        const int64_t first_y = top > 0 ? top : 0, first_x = left > 0 ? left : 0;
        float largest = -INFINITY;
        double sum = 0.0;
        for (int64_t iy = first_y; iy < bottom; ++iy) {
            for (int64_t ix = first_x; ix < right; ++ix) {
                const float v = x[iy * of.width + ix];
                // A NaN stays: nothing is larger than it.
                largest = v > largest || v != v ? v : largest;
                sum += static_cast<double>(v);
            }
        }
        const auto all = static_cast<double>(of.kernel_h * of.kernel_w);
        y[item] = kind == Pool::max ? largest : static_cast<float>(sum / all);
    }
};

/// f<Index>() for indices below `count`.
template <class F>
void by_index(int64_t count, F f) {
    if (count <= std::numeric_limits<uint32_t>::max()) {
        f.template operator()<uint32_t>();
    } else {
        f.template operator()<int64_t>();
    }
}

}  // namespace

void unfold(const WindowArgs& args) {
    const int64_t count =
        args.images * args.out[0] * args.out[1] * args.channels * args.kernel[0] * args.kernel[1];
    by_index(count, [&]<class Index>() {
        for_each("unfold", count, Unfold<Index>{Windows<Index>(args), args.y});
    });
}

void pool(Pool kind, const WindowArgs& args) {
    const int64_t count = args.images * args.channels * args.out[0] * args.out[1];
    by_index(count, [&]<class Index>() {
        for_each("pool", count, PoolOne<Index>{Windows<Index>(args), kind, args.y});
    });
}

}  // namespace eggroll::cuda
