// SPDX-License-Identifier: MIT
#pragma once

#include <eggroll/tensor.h>

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

// The JSON header of a safetensors file:
//
//     {"__metadata__": {"any": "text"},
//      "0.weight": {"dtype": "F32", "shape": [20,10], "data_offsets": [0,800]}, ...}
//
// The file is the header's length (8 bytes, little-endian), the header, padded with spaces, and the
// data, which the tensors cover without holes or overlaps. Offsets count from the first data byte.

namespace eggroll::detail {

using Metadata = std::map<std::string, std::string>;

/// The format's own limit.
inline constexpr uint64_t kMaxHeaderBytes = 100'000'000;

struct TensorEntry {
    std::string name;
    std::string dtype;  // "F32", "BF16", ...
    Shape shape;
    uint64_t begin = 0, end = 0;  // bytes of the data
};

struct SafetensorsHeader {
    std::vector<TensorEntry> tensors;  // in the order of their data
    Metadata metadata;
};

/// Reads and checks the header of a file with `data_bytes` bytes of data: strict JSON, only the
/// keys above, no name twice, and entries that cover the data exactly. Throws Error with the bare
/// reason.
SafetensorsHeader parse_safetensors_header(std::string_view json, uint64_t data_bytes);

/// The header as JSON, padded so that the data starts at a multiple of 8. Entries must be in the
/// order of their data. Throws Error with the bare reason for a name the format cannot hold.
std::string write_safetensors_header(const SafetensorsHeader& header);

}  // namespace eggroll::detail
