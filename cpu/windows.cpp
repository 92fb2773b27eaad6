// SPDX-License-Identifier: MIT
// Windows that slide over images: unfolded into rows for a convolution, or pooled.
#include "cpu/kernels.h"
#include "cpu/threads.h"

#include <algorithm>
#include <cstring>
#include <limits>

namespace eggroll::EGGROLL_CPU_NS {

namespace {

/// One line of one kernel for the windows first..last-1, all inside the row: kWidth elements to
/// each, or `width` where that is 0.
template <int kWidth>
void copy_lines(const float* row, int64_t stride, int64_t width, int64_t first, int64_t last,
                float* y, int64_t columns) {
    for (int64_t o = first; o < last; ++o) {
        const float* from = row + o * stride;
        float* to = y + o * columns;
        if constexpr (kWidth > 0) {
            std::memcpy(to, from, kWidth * sizeof(float));
        } else {
            for (int64_t i = 0; i < width; ++i) to[i] = from[i];
        }
    }
}

using CopyLines = void (*)(const float*, int64_t, int64_t, int64_t, int64_t, float*, int64_t);

CopyLines copy_lines_of(int64_t width) {
    constexpr CopyLines kBy[] = {copy_lines<0>, copy_lines<1>, copy_lines<2>, copy_lines<3>,
                                 copy_lines<4>, copy_lines<5>, copy_lines<6>, copy_lines<7>};
    return kBy[width < 8 ? width : 0];
}

/// The windows, first..last-1 of them, that lie within the width.
struct Inside {
    int64_t first, last;

    explicit Inside(const WindowArgs& args) {
        const int64_t stride = args.stride[1], padding = args.padding[1];
        first = std::min((padding + stride - 1) / stride, args.out[1]);
        const int64_t room = args.width + padding - args.kernel[1];
        last = room < 0 ? first : std::clamp(room / stride + 1, first, args.out[1]);
    }
};

/// One row of windows of one image: y (Wo,C·kh·kw).
void unfold_row(const WindowArgs& args, const Inside& inside, CopyLines copy, const float* image,
                int64_t oy, float* y) {
    const int64_t lines = args.kernel[0], width = args.kernel[1];
    const int64_t columns = args.channels * lines * width;
    const int64_t top = oy * args.stride[0] - args.padding[0];
    for (int64_t c = 0; c < args.channels; ++c) {
        for (int64_t line = 0; line < lines; ++line, y += width) {
            const int64_t iy = top + line;
            if (iy < 0 || iy >= args.height) {
                for (int64_t o = 0; o < args.out[1]; ++o) std::fill_n(y + o * columns, width, 0.0f);
                continue;
            }
            const float* row = image + (c * args.height + iy) * args.width;
            copy(row - args.padding[1], args.stride[1], width, inside.first, inside.last, y,
                 columns);
            const auto clipped = [&](int64_t o) {
                const int64_t left = o * args.stride[1] - args.padding[1];
                for (int64_t i = 0; i < width; ++i) {
                    const int64_t ix = left + i;
                    y[o * columns + i] = ix >= 0 && ix < args.width ? row[ix] : 0.0f;
                }
            };
            for (int64_t o = 0; o < inside.first; ++o) clipped(o);
            for (int64_t o = inside.last; o < args.out[1]; ++o) clipped(o);
        }
    }
}

/// body(i) for i in 0..count-1, each of which writes `floats`; threads share them in blocks when
/// the call is not part of a chunk.
template <class F>
void in_blocks(int64_t count, int64_t floats, const F& body) {
    constexpr int64_t kBlockFloats = 16384;
    const int64_t block = kBlockFloats / std::max<int64_t>(floats, 1) + 1;
    cpu::parallel_for((count + block - 1) / block, [&](int64_t b) {
        for (int64_t i = b * block; i < std::min(count, (b + 1) * block); ++i) body(i);
    });
}

/// The first and the last element + 1 of window o that lie within `extent`.
struct Clip {
    int64_t begin, end;

    Clip(int64_t o, int64_t stride, int64_t padding, int64_t kernel, int64_t extent)
        : begin(std::max<int64_t>(o * stride - padding, 0)),
          end(std::min(o * stride - padding + kernel, extent)) {}
};

float pooled(Pool kind, const WindowArgs& args, const float* plane, const Clip& y, const Clip& x) {
    if (kind == Pool::max) {
        float largest = -std::numeric_limits<float>::infinity();
        for (int64_t iy = y.begin; iy < y.end; ++iy) {
            for (int64_t ix = x.begin; ix < x.end; ++ix) {
                const float v = plane[iy * args.width + ix];
                largest = v > largest || v != v ? v : largest;
                if (largest != largest) return largest;  // a NaN passes
            }
        }
        return largest;
    }
    double sum = 0.0;
    for (int64_t iy = y.begin; iy < y.end; ++iy) {
        for (int64_t ix = x.begin; ix < x.end; ++ix) {
            sum += static_cast<double>(plane[iy * args.width + ix]);
        }
    }
    return static_cast<float>(sum / static_cast<double>(args.kernel[0] * args.kernel[1]));
}

}  // namespace

void unfold(const WindowArgs& args) {
    const int64_t image = args.channels * args.height * args.width;
    const int64_t row = args.out[1] * args.channels * args.kernel[0] * args.kernel[1];
    const Inside inside(args);
    const CopyLines copy = copy_lines_of(args.kernel[1]);
    in_blocks(args.images, args.out[0] * row, [&](int64_t n) {
        for (int64_t oy = 0; oy < args.out[0]; ++oy) {
            unfold_row(args, inside, copy, args.x + n * image, oy,
                       args.y + (n * args.out[0] + oy) * row);
        }
    });
}

void pool(Pool kind, const WindowArgs& args) {
    const int64_t plane = args.height * args.width;
    const int64_t windows = args.out[0] * args.out[1];
    in_blocks(args.images * args.channels, windows, [&](int64_t p) {
        float* y = args.y + p * windows;
        for (int64_t oy = 0; oy < args.out[0]; ++oy) {
            const Clip down(oy, args.stride[0], args.padding[0], args.kernel[0], args.height);
            for (int64_t ox = 0; ox < args.out[1]; ++ox) {
                const Clip across(ox, args.stride[1], args.padding[1], args.kernel[1], args.width);
                *y++ = pooled(kind, args, args.x + p * plane, down, across);
            }
        }
    });
}

}  // namespace eggroll::EGGROLL_CPU_NS
