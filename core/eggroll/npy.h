// SPDX-License-Identifier: MIT
#pragma once

#include <eggroll/tensor.h>

#include <filesystem>

// Arrays in and out of NumPy's .npy files (the format's versions 1 to 3:
// https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html).

namespace eggroll {

/// The array of a .npy file, on the host, of the shape it has there.
///
/// | in the file | in the tensor |
/// |---|---|
/// | float32, float64 | float32, float64 rounded to the nearest |
/// | int8 … int64, uint8 … uint64, bool | int32 |
///
/// Little-endian, in C or Fortran order. Throws Error `[load_npy] "path": reason` when the file is
/// missing, damaged, longer or shorter than its header says or of another type, and for a value
/// that is not finite or that the tensor's type cannot hold. Memory is only taken for elements that
/// the file has.
EGGROLL_API Tensor load_npy(const std::filesystem::path& path);

/// Writes a tensor of any device for NumPy to load: float32 as '<f4', int32 as '<i4', bfloat16 as
/// the same numbers in float32; an axis of members becomes an ordinary one. The file appears whole
/// or not at all. Throws Error `[save_npy] "path": reason`, also for a value that is not finite and
/// for more than 64 axes.
EGGROLL_API void save_npy(const std::filesystem::path& path, const Tensor& tensor);

}  // namespace eggroll
