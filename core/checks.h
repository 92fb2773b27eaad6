// SPDX-License-Identifier: MIT
#pragma once

#include "core/storage.h"

#include <eggroll/ops.h>

#include <string>

// What the free functions of <eggroll/ops.h> check before they call the backend, and how they say
// it.

namespace eggroll::detail {

/// Throws Error("[op] what").
[[noreturn]] void fail(const char* op, const std::string& what);
/// `weight "0.weight"` where the tensor is a parameter, else the plain word.
std::string label(const char* word, const Tensor& x);

/// Not the empty tensor; of any element type.
void require_any(const char* op, const Tensor& x, const char* what);
void require(const char* op, const Tensor& x, const char* what, Dtype dtype = Dtype::f32);
/// x, or its values in float32 where it holds bfloat16.
Tensor in_floats(const Tensor& x);
/// The same of a tensor that holds float32 or bfloat16.
Tensor require_floats(const char* op, const Tensor& x, const char* what);
void require_same_device(const char* op, const Tensor& a, const Tensor& b);
/// A per-member x has as many members as the view.
void require_members(const char* op, const Tensor& x, const View& view);

/// The shape with an axis of `members` in front if there are any.
Shape with_members(int64_t members, Shape part);
int64_t last_extent(const char* op, const Tensor& x);
/// Position in shape() of an axis of one member's part.
size_t axis_index(const char* op, const Tensor& x, int axis);
/// Product of the extents begin..end-1.
int64_t product_of(const Shape& shape, size_t begin, size_t end);

}  // namespace eggroll::detail
