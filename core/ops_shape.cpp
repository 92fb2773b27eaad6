// SPDX-License-Identifier: MIT
// Operations that move elements, and products of matrices.
#include <eggroll/ops.h>

#include "core/checks.h"
#include "core/layout.h"

#include <algorithm>

namespace eggroll {

using detail::axis_index;
using detail::fail;
using detail::product_of;
using detail::require;
using detail::require_any;
using detail::require_floats;
using detail::require_same_device;
using detail::TensorAccess;
using detail::with_members;

Tensor reshape(const Tensor& x, const Shape& part) {
    Shape full = part;
    if (x.is_per_member()) full.insert(full.begin(), x.members());
    return x.reshape(full);
}

namespace {

/// x, or the same numbers in float32 where it holds bfloat16: elements are moved by 4 bytes.
Tensor in_words(const char* op, const Tensor& x, const char* what) {
    require_any(op, x, what);
    return detail::in_floats(x);
}

/// A dense tensor of that shape, read from x with those strides (in elements).
Tensor copy_strided(const char* op, const Tensor& x, int64_t offset, const Shape& shape,
                    const std::vector<int64_t>& strides) {
    Tensor y = TensorAccess::make(shape, x.device(), x.dtype(), x.is_per_member());
    const auto* from = static_cast<const uint32_t*>(TensorAccess::raw(x)) + offset;
    TensorAccess::backend(x).copy_strided(from, TensorAccess::raw(y),
                                          detail::single_layout(op, shape, strides));
    return y;
}

}  // namespace

Tensor slice(const Tensor& given, int axis, int64_t begin, int64_t end) {
    const Tensor x = in_words("slice", given, "x");
    const size_t index = axis_index("slice", x, axis);
    Shape shape = x.shape();
    if (begin < 0 || end < begin || end > shape[index]) {
        fail("slice", "entries " + std::to_string(begin) + ".." + std::to_string(end) +
                          " of axis " + std::to_string(axis) + " of parts of shape " +
                          to_string(x.part_shape()));
    }
    const std::vector<int64_t> strides = detail::dense_strides(shape);
    shape[index] = end - begin;
    return copy_strided("slice", x, begin * strides[index], shape, strides);
}

Tensor transpose(const Tensor& given, int axis_a, int axis_b) {
    const Tensor x = in_words("transpose", given, "x");
    const size_t a = axis_index("transpose", x, axis_a), b = axis_index("transpose", x, axis_b);
    Shape shape = x.shape();
    std::vector<int64_t> strides = detail::dense_strides(shape);
    std::swap(shape[a], shape[b]);
    std::swap(strides[a], strides[b]);
    return copy_strided("transpose", x, 0, shape, strides);
}

Tensor concat(std::span<const Tensor> given, int axis) {
    if (given.empty()) fail("concat", "needs at least one tensor");
    std::vector<Tensor> parts;
    for (const Tensor& x : given) parts.push_back(in_words("concat", x, "a part"));
    int64_t members = 0;
    for (const Tensor& x : parts) {
        require("concat", x, "a part", parts[0].dtype());
        require_same_device("concat", parts[0], x);
        if (!x.is_per_member()) continue;
        if (members > 0 && members != x.members()) {
            fail("concat", "parts are " + to_string(parts[0].shape()) + " and " +
                               to_string(x.shape()) + ", of different numbers of members");
        }
        members = x.members();
    }
    const size_t mark = parts[0].is_per_member() ? 1 : 0;
    const size_t index = axis_index("concat", parts[0], axis) - mark;
    Shape shape = parts[0].part_shape();
    int64_t joined = 0;
    for (const Tensor& x : parts) {
        Shape other = x.part_shape();
        const bool fits =
            other.size() == shape.size() && (!x.is_per_member() || x.members() == members);
        if (fits) {
            joined += other[index];
            other[index] = shape[index];
        }
        if (!fits || other != shape) {
            fail("concat", "parts are " + to_string(parts[0].shape()) + " and " +
                               to_string(x.shape()) + " along axis " + std::to_string(axis));
        }
    }
    // Each part is a run of `inner` elements in every one of `outer` rows.
    const int64_t outer = product_of(shape, 0, index);
    const int64_t below = product_of(shape, index + 1, shape.size());
    const int64_t copies = std::max<int64_t>(members, 1);
    shape[index] = joined;
    Tensor y = TensorAccess::make(with_members(members, shape), parts[0].device(), parts[0].dtype(),
                                  members > 0);
    detail::Strided layout;
    layout.dims = 3;
    int64_t at = 0;
    for (const Tensor& x : parts) {
        const int64_t inner = x.part_shape()[index] * below;
        layout.extent[0] = copies;
        layout.extent[1] = outer;
        layout.extent[2] = inner;
        layout.stride[0][0] = x.is_per_member() ? outer * inner : 0;
        layout.stride[0][1] = inner;
        layout.stride[0][2] = 1;
        layout.stride[1][0] = outer * joined * below;
        layout.stride[1][1] = joined * below;
        layout.stride[1][2] = 1;
        TensorAccess::backend(x).copy_strided(
            TensorAccess::raw(x), static_cast<uint32_t*>(TensorAccess::raw(y)) + at, layout);
        at += inner;
    }
    return y;
}

Tensor concat(std::initializer_list<Tensor> parts, int axis) {
    return concat(std::span<const Tensor>(parts.begin(), parts.size()), axis);
}

Tensor matmul(const Tensor& left, const Tensor& right) {
    const Tensor a = require_floats("matmul", left, "the left operand");
    const Tensor b = require_floats("matmul", right, "the right operand");
    require_same_device("matmul", a, b);
    const Shape pa = a.part_shape(), pb = b.part_shape();
    const auto refuse = [&] {
        fail("matmul", "operands are " + to_string(a.shape()) + " and " + to_string(b.shape()));
    };
    if (pa.size() < 2 || pb.size() < 2 || pa.back() != pb[pb.size() - 2]) refuse();
    if (a.is_per_member() && b.is_per_member() && a.members() != b.members()) refuse();
    const Shape lead_a(pa.begin(), pa.end() - 2), lead_b(pb.begin(), pb.end() - 2);
    if (!lead_a.empty() && !lead_b.empty() && lead_a != lead_b) refuse();
    const int64_t m = pa[pa.size() - 2], k = pa.back(), n = pb.back();
    const int64_t members = std::max(a.members(), b.members());
    const Shape& lead = lead_a.empty() ? lead_b : lead_a;
    const int64_t inner = element_count(lead);
    Shape shape = lead;
    shape.push_back(m);
    shape.push_back(n);
    Tensor y =
        TensorAccess::make(with_members(members, shape), a.device(), Dtype::f32, members > 0);
    // The members outside, the leading axes inside; a shared side stands still for the members.
    const int64_t step_a = lead_a.empty() ? 0 : m * k, step_b = lead_b.empty() ? 0 : k * n;
    const int64_t part_a = element_count(pa), part_b = element_count(pb);
    for (int64_t p = 0; p < std::max<int64_t>(members, 1); ++p) {
        TensorAccess::backend(a).matmul(
            {.a = TensorAccess::floats(a) + (a.is_per_member() ? p * part_a : 0),
             .b = TensorAccess::floats(b) + (b.is_per_member() ? p * part_b : 0),
             .c = TensorAccess::floats(y) + p * inner * m * n,
             .batches = inner,
             .m = m,
             .k = k,
             .n = n,
             .stride_a = step_a,
             .stride_b = step_b});
    }
    return y;
}

}  // namespace eggroll
