// SPDX-License-Identifier: MIT
#pragma once

#include "core/backend.h"

#include <eggroll/tensor.h>

namespace eggroll::detail {

/// (N·Ho·Wo,C·kh·kw)
Shape unfolded_shape(const WindowArgs& windows);
/// What the windows see of x (N,C,H,W), whose extents they say, into such a tensor.
Tensor unfold(const Tensor& x, WindowArgs windows, Tensor into);

}  // namespace eggroll::detail
