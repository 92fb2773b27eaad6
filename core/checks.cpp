// SPDX-License-Identifier: MIT
#include "core/checks.h"

namespace eggroll::detail {

[[noreturn]] void fail(const char* op, const std::string& what) {
    throw Error(std::string("[") + op + "] " + what);
}

std::string label(const char* word, const Tensor& x) {
    const Storage* storage = TensorAccess::storage(x);
    if (storage == nullptr || storage->name.empty()) return word;
    return std::string(word) + " \"" + storage->name + "\"";
}

void require_any(const char* op, const Tensor& x, const char* what) {
    if (TensorAccess::storage(x) == nullptr) fail(op, std::string(what) + " is an empty tensor");
}

void require(const char* op, const Tensor& x, const char* what, Dtype dtype) {
    require_any(op, x, what);
    if (x.dtype() != dtype) {
        fail(op, std::string(what) + (dtype == Dtype::i32
                                          ? std::string(" must hold int32 (Tensor::from_ints)")
                                          : std::string(" must hold ") + name_of(dtype) + ", not " +
                                                name_of(x.dtype())));
    }
}

Tensor in_floats(const Tensor& x) {
    return x.dtype() == Dtype::bf16 ? x.to(Dtype::f32) : x;
}

Tensor require_floats(const char* op, const Tensor& x, const char* what) {
    require_any(op, x, what);
    const Tensor y = in_floats(x);
    require(op, y, what);
    return y;
}

void require_same_device(const char* op, const Tensor& a, const Tensor& b) {
    if (a.device() != b.device()) {
        fail(op, "operands are on " + a.device().name() + " and " + b.device().name());
    }
}

void require_members(const char* op, const Tensor& x, const View& view) {
    if (!view.is_centre() && x.is_per_member() && x.members() != view.size()) {
        fail(op, "x " + to_string(x.shape()) + " is per-member with a leading axis of " +
                     std::to_string(x.members()) + " but the view has " +
                     std::to_string(view.size()) + " members");
    }
}

Shape with_members(int64_t members, Shape part) {
    if (members > 0) part.insert(part.begin(), members);
    return part;
}

int64_t last_extent(const char* op, const Tensor& x) {
    const Shape& shape = x.shape();
    if (shape.size() <= (x.is_per_member() ? 1u : 0u)) {
        fail(op, "x " + to_string(shape) + " has no last axis");
    }
    return shape.back();
}

size_t axis_index(const char* op, const Tensor& x, int axis) {
    const int mark = x.is_per_member() ? 1 : 0;
    const int dims = static_cast<int>(x.shape().size()) - mark;
    const int index = axis < 0 ? axis + dims : axis;
    if (index < 0 || index >= dims) {
        fail(op,
             "axis " + std::to_string(axis) + " of parts of shape " + to_string(x.part_shape()));
    }
    return static_cast<size_t>(index + mark);
}

int64_t product_of(const Shape& shape, size_t begin, size_t end) {
    int64_t product = 1;
    for (size_t i = begin; i < end; ++i) product *= shape[i];
    return product;
}

}  // namespace eggroll::detail
