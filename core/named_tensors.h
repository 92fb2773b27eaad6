// SPDX-License-Identifier: MIT
#pragma once

#include "core/file.h"
#include "core/safetensors_header.h"

#include <functional>
#include <span>

// Named tensors and text in a safetensors file: what weights and checkpoints are made of.

namespace eggroll::detail {

struct NamedTensor {
    std::string name;
    Tensor value;  // float32 or int32, any device
};

/// Writes the file whole or not at all (core/file.h). Throws Error, the old file untouched, also
/// for two tensors of one name and for values that are not finite.
void save_tensors(const char* caller, const std::filesystem::path& path,
                  std::span<const NamedTensor> tensors, const Metadata& metadata = {},
                  const char* temporary = kTemporaryPrefix);

/// As save_tensors, with a checksum of all that the file says: names, shapes, metadata and values.
void save_checked_tensors(const char* caller, const std::filesystem::path& path,
                          std::span<const NamedTensor> tensors, Metadata metadata,
                          const char* temporary = kTemporaryPrefix);

/// A safetensors file whose header has been read and checked; its values have not.
class TensorFile {
public:
    TensorFile(const char* caller, const std::filesystem::path& path);
    /// Of a file that is in memory, and stays there.
    TensorFile(const char* caller, std::span<const std::byte> memory);

    const Metadata& metadata() const { return header_.metadata; }
    const std::vector<TensorEntry>& entries() const { return header_.tensors; }

    /// The checksum that save_checked_tensors would give it.
    std::string checksum() const;
    /// Throws Error unless the file has that.
    void verify() const;
    /// Calls consume(bytes) with the data of a tensor, piece by piece.
    void each_piece(const TensorEntry& entry,
                    const std::function<void(std::span<const std::byte>)>& consume) const;

    /// The values of the tensors named in `expected`, in that order, new and on the host. Throws
    /// Error unless the file has exactly these names, shapes and element types, which is checked
    /// before any value is read, and all values are finite.
    std::vector<Tensor> read(std::span<const NamedTensor> expected) const;

    [[noreturn]] void fail(const std::string& reason) const { file_.fail(reason); }

private:
    void read_header();
    std::vector<const TensorEntry*> match(std::span<const NamedTensor> expected) const;
    Tensor read_value(const TensorEntry& entry, Dtype dtype) const;

    InputFile file_;
    SafetensorsHeader header_;
    uint64_t data_begin_ = 0;  // in the file
};

}  // namespace eggroll::detail
