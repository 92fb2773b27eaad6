// SPDX-License-Identifier: MIT
// Convolution and pooling: operations on windows that slide over images.
#include <eggroll/ops.h>

#include "core/checks.h"
#include "core/scope.h"
#include "core/windows.h"

#include <algorithm>

namespace eggroll {

using detail::fail;
using detail::label;
using detail::product_of;
using detail::require;
using detail::require_floats;
using detail::require_members;
using detail::require_same_device;
using detail::TensorAccess;
using detail::ViewAccess;
using detail::WindowArgs;
using detail::with_members;

namespace {

std::string to_text(const Size2& size) {
    return to_string({size.rows, size.cols});
}

/// Extents and strides up to here, so that no sum of them overflows.
constexpr int64_t kMostExtent = int64_t{1} << 30;

void require_extents(const char* op, const char* what, const Size2& size, int64_t least) {
    for (const int64_t n : {size.rows, size.cols}) {
        if (n >= least && n <= kMostExtent) continue;
        fail(op, std::string(what) + " is " + to_text(size) + " but must be at least " +
                     std::to_string(least) + " and at most 2^30");
    }
}

/// The windows of a kernel over x (...,C,H,W), all but where x and y are.
WindowArgs windows_of(const char* op, const Tensor& x, const std::string& kernel_name,
                      const Size2& kernel, const Sliding& sliding) {
    require_extents(op, "kernel", kernel, 1);
    require_extents(op, "stride", sliding.stride, 1);
    require_extents(op, "padding", sliding.padding, 0);
    const Shape part = x.part_shape();
    const size_t lead = part.size() < 3 ? 0 : part.size() - 3;
    if (part.size() < 3) fail(op, "x is " + to_string(x.shape()) + " but must be (...,C,H,W)");
    WindowArgs args{};
    args.images = product_of(part, 0, lead) * (x.is_per_member() ? x.members() : 1);
    args.channels = part[lead];
    args.height = part[lead + 1];
    args.width = part[lead + 2];
    const int64_t extents[] = {args.height, args.width}, kernels[] = {kernel.rows, kernel.cols};
    const int64_t strides[] = {sliding.stride.rows, sliding.stride.cols};
    const int64_t paddings[] = {sliding.padding.rows, sliding.padding.cols};
    for (int d = 0; d < 2; ++d) {
        if (extents[d] + 2 * paddings[d] < kernels[d]) {
            fail(op, kernel_name + " is larger than x " + to_string(x.shape()) + " with padding " +
                         to_text(sliding.padding));
        }
        args.kernel[d] = kernels[d];
        args.stride[d] = strides[d];
        args.padding[d] = paddings[d];
        args.out[d] = (extents[d] + 2 * paddings[d] - kernels[d]) / strides[d] + 1;
    }
    int64_t elements = std::max<int64_t>(args.images, 1);
    for (const int64_t n :
         {args.channels, args.kernel[0], args.kernel[1], args.out[0], args.out[1]}) {
        if (__builtin_mul_overflow(elements, std::max<int64_t>(n, 1), &elements) ||
            elements > int64_t{1} << 60) {
            fail(op, kernel_name + " has more windows over x " + to_string(x.shape()) +
                         " with padding " + to_text(sliding.padding) + " than any memory holds");
        }
    }
    return args;
}

/// One member's part of what comes of x (...,C,H,W).
Shape output_part(const Tensor& x, int64_t channels, const WindowArgs& windows) {
    Shape part = x.part_shape();
    part.resize(part.size() - 3);
    part.insert(part.end(), {channels, windows.out[0], windows.out[1]});
    return part;
}

Tensor pool(const char* op, detail::Pool kind, const Tensor& given, const Size2& kernel,
            const Sliding& sliding) {
    const Tensor x = require_floats(op, given, "x");
    WindowArgs windows = windows_of(op, x, "kernel " + to_text(kernel), kernel, sliding);
    if (2 * sliding.padding.rows > kernel.rows || 2 * sliding.padding.cols > kernel.cols) {
        fail(op, "padding " + to_text(sliding.padding) + " is more than half the kernel " +
                     to_text(kernel));
    }
    if (windows.height == 0 || windows.width == 0) {
        fail(op, "x " + to_string(x.shape()) + " has no pixels");
    }
    Tensor y =
        TensorAccess::make(with_members(x.members(), output_part(x, windows.channels, windows)),
                           x.device(), Dtype::f32, x.is_per_member());
    windows.x = TensorAccess::floats(x);
    windows.y = TensorAccess::floats(y);
    if (y.size() > 0) TensorAccess::backend(x).pool(kind, windows);
    return y;
}

}  // namespace

Shape detail::unfolded_shape(const WindowArgs& windows) {
    return {windows.images * windows.out[0] * windows.out[1],
            windows.channels * windows.kernel[0] * windows.kernel[1]};
}

Tensor detail::unfold(const Tensor& x, WindowArgs windows, Tensor into) {
    windows.x = TensorAccess::floats(x);
    windows.y = TensorAccess::floats(into);
    if (into.size() > 0) TensorAccess::backend(x).unfold(windows);
    return into;
}

Tensor conv2d(const Tensor& given, const Tensor& w, const Tensor& b, const View& view,
              const Sliding& sliding, Act act) {
    const Tensor x = require_floats("conv2d", given, "x");
    require("conv2d", w, "weight");
    require_same_device("conv2d", x, w);
    require_members("conv2d", x, view);
    const std::string weight = label("weight", w) + " " + to_string(w.shape());
    if (w.is_per_member() || w.shape().size() != 4) {
        fail("conv2d",
             weight + (w.is_per_member() ? " is marked as per-member; a parameter is shared"
                                         : " must be (O,C,kh,kw)"));
    }
    const int64_t outputs = w.dim(0);
    const WindowArgs windows = windows_of("conv2d", x, weight, {w.dim(2), w.dim(3)}, sliding);
    if (windows.channels != w.dim(1)) {
        fail("conv2d", weight + " takes " + std::to_string(w.dim(1)) + " channels but x " +
                           to_string(x.shape()) + " has " + std::to_string(windows.channels));
    }
    if (b.size() > 0 && b.part_shape() != Shape{outputs}) {
        fail("conv2d", label("bias", b) + " is " + to_string(b.shape()) + " but the " + weight);
    }

    const detail::Scope* scope = ViewAccess::scope(view);
    const Shape flat = detail::unfolded_shape(windows);
    const Tensor rows = scope != nullptr
                            ? scope->unfolded(x, w, windows)
                            : detail::unfold(x, windows, TensorAccess::make(flat, x.device()));
    // The rows of an image lie together, so that members keep theirs.
    const Shape part = output_part(x, outputs, windows);
    const int64_t positions = windows.out[0] * windows.out[1];
    const int64_t images = product_of(part, 0, part.size() - 3);
    const Tensor y = linear(
        TensorAccess::with_shape(rows, with_members(x.members(), {images * positions, flat[1]}),
                                 x.is_per_member()),
        w.reshape({outputs, flat[1]}), b, view, act);
    if (positions == 1 || outputs == 1) return reshape(y, part);
    return reshape(transpose(reshape(y, {images, positions, outputs}), 1, 2), part);
}

Tensor max_pool2d(const Tensor& x, Size2 kernel, const Sliding& sliding) {
    return pool("max_pool2d", detail::Pool::max, x, kernel, sliding);
}

Tensor avg_pool2d(const Tensor& x, Size2 kernel, const Sliding& sliding) {
    return pool("avg_pool2d", detail::Pool::mean, x, kernel, sliding);
}

}  // namespace eggroll
