// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

namespace examples {

/// An array of bytes, row-major.
struct IdxArray {
    std::vector<int64_t> shape;
    std::vector<uint8_t> bytes;
};

/// Reads the content of an IDX file of unsigned bytes, gzipped or plain (the format of MNIST: two
/// zero bytes, the type 8, the number of axes, their extents as big-endian words, the data). Throws
/// eggroll::Error with the bare reason when it is damaged or has not `axes` axes. Memory grows with
/// the data that is there, not with what the header claims.
IdxArray parse_idx(std::span<const uint8_t> content, size_t axes);

/// The same of a file. Throws eggroll::Error naming it also when it is missing.
IdxArray read_idx(const std::filesystem::path& path, size_t axes);

/// Images (N,rows,cols) and one label 0..classes-1 for each.
struct LabelledImages {
    int64_t count = 0, rows = 0, cols = 0;
    std::vector<uint8_t> pixels, labels;
};

/// Reads both files of a set; throws eggroll::Error also when they do not belong together, hold
/// no images, or a label is out of range.
LabelledImages read_labelled_images(const std::filesystem::path& images,
                                    const std::filesystem::path& labels, int classes);

}  // namespace examples
