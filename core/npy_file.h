// SPDX-License-Identifier: MIT
#pragma once

#include "core/file.h"

#include <eggroll/tensor.h>

#include <cstddef>
#include <span>
#include <string>

// What load_npy and save_npy do once the file is open.

namespace eggroll::detail {

/// The array of the file, on the host; see load_npy.
Tensor read_npy(const InputFile& file);

/// What a file is written of.
struct NpyParts {
    std::string header;               // all that is before the data
    Tensor values;                    // on the host
    std::span<const std::byte> data;  // of `values`
};

/// Throws Error with the bare reason for what save_npy refuses.
NpyParts npy_parts(const Tensor& tensor);

}  // namespace eggroll::detail
