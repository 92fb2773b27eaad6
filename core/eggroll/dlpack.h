// SPDX-License-Identifier: MIT
#pragma once

#include <eggroll/tensor.h>

struct DLManagedTensor;  // of <dlpack/dlpack.h>, which whoever makes or reads one includes

namespace eggroll {

// Tensors to and from other libraries without a copy, by DLPack. On a GPU neither side waits for
// the other: its work has to be in current_stream(device), or in order with it by events
// (docs/embedding.md). Both functions throw Error in a library that was built without DLPack
// (EGGROLL_DLPACK).

/// A tensor of the memory that `managed` describes; its deleter is called once, when the last
/// tensor is gone, as the `release` of Tensor::from_blob is. Float32, int32 and bfloat16,
/// dense and row-major, of the CPU or a CUDA GPU. Throws Error for everything else, and `managed`
/// then stays the caller's.
EGGROLL_API Tensor from_dlpack(DLManagedTensor* managed);

/// What others can read and write `x` by. It shares the memory until its deleter is called, which
/// whoever takes it does once, on any thread, when all its work with the memory is done or in order
/// before what the library does next. A parameter cannot move to another device meanwhile. The mark
/// of a per-member tensor does not go along.
EGGROLL_API DLManagedTensor* to_dlpack(const Tensor& x);

}  // namespace eggroll
