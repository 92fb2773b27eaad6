// SPDX-License-Identifier: MIT
// Reductions, and operations on rows.
#include <eggroll/ops.h>

#include "core/checks.h"

namespace eggroll {

using detail::axis_index;
using detail::fail;
using detail::last_extent;
using detail::product_of;
using detail::require;
using detail::require_floats;
using detail::require_same_device;
using detail::TensorAccess;
using detail::with_members;

namespace {

Tensor reduce_all(const char* op, detail::Reduce kind, const Tensor& given) {
    const Tensor x = require_floats(op, given, "x");
    const int64_t members = x.members();
    const int64_t outer = x.is_per_member() ? members : 1;
    const int64_t n = outer > 0 ? x.size() / outer : 0;
    if (n == 0) fail(op, "x " + to_string(x.shape()) + " has no elements");
    Tensor y =
        TensorAccess::make(with_members(members, {}), x.device(), Dtype::f32, x.is_per_member());
    TensorAccess::backend(x).reduce(kind, TensorAccess::floats(x), TensorAccess::floats(y), outer,
                                    n, 1);
    return y;
}

Tensor reduce_axis(const char* op, detail::Reduce kind, const Tensor& given, int axis) {
    const Tensor x = require_floats(op, given, "x");
    const size_t index = axis_index(op, x, axis);
    Shape shape = x.shape();
    const int64_t n = shape[index];
    if (n == 0)
        fail(op, "x " + to_string(shape) + " has no elements along axis " + std::to_string(axis));
    const int64_t outer = product_of(shape, 0, index);
    const int64_t inner = product_of(shape, index + 1, shape.size());
    shape.erase(shape.begin() + static_cast<std::ptrdiff_t>(index));
    Tensor y = TensorAccess::make(shape, x.device(), Dtype::f32, x.is_per_member());
    TensorAccess::backend(x).reduce(kind, TensorAccess::floats(x), TensorAccess::floats(y), outer,
                                    n, inner);
    return y;
}

Tensor softmax_of(const char* op, const Tensor& given, bool logarithm) {
    const Tensor x = require_floats(op, given, "x");
    const int64_t n = last_extent(op, x);
    Tensor y = TensorAccess::make(x.shape(), x.device(), Dtype::f32, x.is_per_member());
    if (n > 0) {
        TensorAccess::backend(x).softmax(TensorAccess::floats(x), TensorAccess::floats(y),
                                         x.size() / n, n, logarithm);
    }
    return y;
}

}  // namespace

Tensor sum(const Tensor& x) {
    return reduce_all("sum", detail::Reduce::sum, x);
}
Tensor mean(const Tensor& x) {
    return reduce_all("mean", detail::Reduce::mean, x);
}
Tensor sum(const Tensor& x, int axis) {
    return reduce_axis("sum", detail::Reduce::sum, x, axis);
}
Tensor mean(const Tensor& x, int axis) {
    return reduce_axis("mean", detail::Reduce::mean, x, axis);
}
Tensor max(const Tensor& x, int axis) {
    return reduce_axis("max", detail::Reduce::max, x, axis);
}

Tensor argmax(const Tensor& given) {
    const Tensor x = require_floats("argmax", given, "x");
    const int64_t n = last_extent("argmax", x);
    if (n == 0) fail("argmax", "x " + to_string(x.shape()) + " has no elements in a row");
    Shape shape = x.shape();
    shape.pop_back();
    Tensor y = TensorAccess::make(shape, x.device(), Dtype::f32, x.is_per_member());
    TensorAccess::backend(x).argmax(TensorAccess::floats(x), TensorAccess::floats(y), x.size() / n,
                                    n);
    return y;
}

Tensor softmax(const Tensor& x) {
    return softmax_of("softmax", x, false);
}
Tensor log_softmax(const Tensor& x) {
    return softmax_of("log_softmax", x, true);
}

Tensor gather(const Tensor& given, const Tensor& ids) {
    const Tensor x = require_floats("gather", given, "x");
    require("gather", ids, "ids", Dtype::i32);
    require_same_device("gather", x, ids);
    const int64_t n = last_extent("gather", x);
    Shape rows = x.part_shape();
    rows.pop_back();
    if (ids.part_shape() != rows || (ids.is_per_member() && ids.members() != x.members())) {
        fail("gather", "x is " + to_string(x.shape()) + " but ids are " + to_string(ids.shape()));
    }
    if (ids.device() == Device::cpu()) {
        for (const int32_t id : ids.ints()) {
            if (id < 0 || id >= n) {
                fail("gather",
                     "id " + std::to_string(id) + " is outside 0.." + std::to_string(n - 1));
            }
        }
    }
    Tensor y = TensorAccess::make(with_members(x.members(), rows), x.device(), Dtype::f32,
                                  x.is_per_member());
    if (n > 0) {
        TensorAccess::backend(x).gather(TensorAccess::floats(x), TensorAccess::ints(ids),
                                        TensorAccess::floats(y), x.size() / n, n, ids.size());
    }
    return y;
}

}  // namespace eggroll
