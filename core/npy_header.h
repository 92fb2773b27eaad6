// SPDX-License-Identifier: MIT
#pragma once

#include <eggroll/tensor.h>

#include <cstdint>
#include <string>
#include <string_view>

// The header of a .npy file: a dictionary as Python writes it, padded with spaces, and a newline.
//
//     {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }

namespace eggroll::detail {

struct NpyHeader {
    std::string descr;  // '<f4': byte order, kind, bytes of an element
    bool fortran_order = false;
    Shape shape;
};

/// At most so many bytes; version 1 of the format holds no more.
inline constexpr uint64_t kMaxNpyHeaderBytes = 65'535;
/// NumPy's limit; bounds what a hostile shape costs.
inline constexpr size_t kMaxNpyAxes = 64;

/// Strict: these three keys, each once, in any order, and nothing after them but space. Throws
/// Error with the bare reason.
NpyHeader parse_npy_header(std::string_view text);

/// All that is before the data in a file of version 1, of a multiple of 64 bytes, for data in C
/// order and a shape of up to kMaxNpyAxes axes.
std::string write_npy_header(std::string_view descr, const Shape& shape);

}  // namespace eggroll::detail
