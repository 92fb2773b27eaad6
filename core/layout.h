// SPDX-License-Identifier: MIT
#pragma once

#include "core/backend.h"

#include <eggroll/tensor.h>

#include <initializer_list>
#include <vector>

namespace eggroll::detail {

/// Strides of a dense row-major array of that shape, in elements.
std::vector<int64_t> dense_strides(const Shape& shape);

/// How operands lie over their common output.
struct Broadcast {
    Shape shape;
    bool per_member = false;
    Strided layout;  // stride[i] is operand i's
};

/// Lines up the members, broadcasts the parts as NumPy does. Throws Error naming `op` and shapes.
Broadcast broadcast(const char* op, std::initializer_list<const Tensor*> operands);

/// One operand read with these strides into a dense output.
Strided single_layout(const char* op, const Shape& shape, const std::vector<int64_t>& strides);

}  // namespace eggroll::detail
