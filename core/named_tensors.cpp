// SPDX-License-Identifier: MIT
#include "core/named_tensors.h"

#include "core/checksum.h"
#include "core/storage.h"
#include "core/text.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>

namespace eggroll::detail {

static_assert(std::endian::native == std::endian::little,
              "safetensors data is little-endian and is read and written in place");
static_assert(sizeof(float) == 4 && sizeof(int32_t) == 4);

namespace {

constexpr size_t kLengthBytes = 8;  // of the header's length
constexpr size_t kPieceBytes = size_t{1} << 20;
constexpr const char* kChecksumKey = "checksum";

std::string hex(uint32_t value) {
    constexpr const char* kDigits = "0123456789abcdef";
    std::string text;
    for (int shift = 28; shift >= 0; shift -= 4) text += kDigits[(value >> shift) & 15];
    return text;
}

/// Of the header as it would be written; throws Error with the bare reason.
uint32_t checksum_of(const SafetensorsHeader& header) {
    const std::string text = write_safetensors_header(header);
    return crc32c(std::as_bytes(std::span(text)));
}

const char* dtype_name(Dtype dtype) {
    return dtype == Dtype::f32 ? "F32" : dtype == Dtype::i32 ? "I32" : "BF16";
}

/// The elements of a tensor on the host.
std::span<const std::byte> bytes_of(const Tensor& host) {
    if (host.size() == 0) return {};
    return {static_cast<const std::byte*>(TensorAccess::raw(host)),
            static_cast<size_t>(host.size()) * element_bytes(host.dtype())};
}

/// Index of the first float that is not finite; -1 if there is none.
int64_t first_non_finite(const Tensor& host) {
    if (host.dtype() == Dtype::i32) return -1;
    const Tensor floats = host.to(Dtype::f32);
    const std::span<const float> values = floats.data();
    for (size_t i = 0; i < values.size(); ++i) {
        if (!std::isfinite(values[i])) return static_cast<int64_t>(i);
    }
    return -1;
}

/// A sentence if the values are not all finite, else nothing.
std::string finite_complaint(const std::string& name, const Tensor& host) {
    const int64_t index = first_non_finite(host);
    if (index < 0) return {};
    const Tensor floats = host.to(Dtype::f32);
    const float value = floats.data()[static_cast<size_t>(index)];
    return "tensor " + in_quotes(name) + " is " + number(value) + " at element " +
           std::to_string(index) + "; only finite values are saved and loaded";
}

SafetensorsHeader header_of(std::span<const NamedTensor> tensors, const Metadata& metadata) {
    SafetensorsHeader header{{}, metadata};
    uint64_t end = 0;
    for (const NamedTensor& tensor : tensors) {
        const uint64_t begin = end;
        end += static_cast<uint64_t>(tensor.value.size()) * element_bytes(tensor.value.dtype());
        header.tensors.push_back(
            {tensor.name, dtype_name(tensor.value.dtype()), tensor.value.shape(), begin, end});
    }
    return header;
}

/// Up to eight names, quoted.
std::string list(const std::vector<std::string_view>& names) {
    constexpr size_t kLimit = 8;
    std::string text;
    for (size_t i = 0; i < names.size() && i < kLimit; ++i) {
        text += (i ? ", " : "") + in_quotes(names[i]);
    }
    if (names.size() > kLimit) text += " and " + std::to_string(names.size() - kLimit) + " more";
    return text;
}

}  // namespace

void save_tensors(const char* caller, const std::filesystem::path& path,
                  std::span<const NamedTensor> tensors, const Metadata& metadata,
                  const char* temporary) {
    std::string json;
    try {
        json = write_safetensors_header(header_of(tensors, metadata));
    } catch (const Error& error) {
        fail_at(caller, path, error.what());
    }
    const auto content = [&](const WriteBytes& write) {
        const uint64_t length = json.size();
        write(std::as_bytes(std::span(&length, 1)));
        write(std::as_bytes(std::span(json)));
        for (const NamedTensor& tensor : tensors) {
            const Tensor host = tensor.value.to(Device::cpu());
            const std::string complaint = finite_complaint(tensor.name, host);
            if (!complaint.empty()) fail_at(caller, path, complaint);
            write(bytes_of(host));
        }
    };
    write_file_atomically(caller, path, content, temporary);
}

void save_checked_tensors(const char* caller, const std::filesystem::path& path,
                          std::span<const NamedTensor> tensors, Metadata metadata,
                          const char* temporary) {
    std::vector<NamedTensor> hosts;
    for (const NamedTensor& tensor : tensors) {
        hosts.push_back({tensor.name, tensor.value.to(Device::cpu())});
    }
    try {
        uint32_t checksum = checksum_of(header_of(hosts, metadata));
        for (const NamedTensor& host : hosts) checksum = crc32c(bytes_of(host.value), checksum);
        metadata[kChecksumKey] = hex(checksum);
    } catch (const Error& error) {
        fail_at(caller, path, error.what());
    }
    save_tensors(caller, path, hosts, metadata, temporary);
}

TensorFile::TensorFile(const char* caller, const std::filesystem::path& path)
    : file_(caller, path) {
    read_header();
}

TensorFile::TensorFile(const char* caller, std::span<const std::byte> memory)
    : file_(caller, memory) {
    read_header();
}

void TensorFile::read_header() {
    if (file_.size() < kLengthBytes) {
        fail("has " + std::to_string(file_.size()) + " bytes, too few for a safetensors file");
    }
    uint64_t length = 0;
    file_.read_at(0, std::as_writable_bytes(std::span(&length, 1)));
    const uint64_t rest = file_.size() - kLengthBytes;
    if (length > kMaxHeaderBytes) {
        fail("is no safetensors file: its header would be " + std::to_string(length) +
             " bytes long, above the format's limit of " + std::to_string(kMaxHeaderBytes));
    }
    if (length > rest) {
        fail("its header would be " + std::to_string(length) + " bytes long but only " +
             std::to_string(rest) + " follow");
    }
    std::string json(static_cast<size_t>(length), '\0');
    file_.read_at(kLengthBytes, std::as_writable_bytes(std::span(json)));
    try {
        header_ = parse_safetensors_header(json, rest - length);
    } catch (const Error& error) {
        fail(error.what());
    }
    data_begin_ = kLengthBytes + length;
}

std::string TensorFile::checksum() const {
    SafetensorsHeader rest = header_;
    rest.metadata.erase(kChecksumKey);
    uint32_t checksum = 0;
    try {
        checksum = checksum_of(rest);
    } catch (const Error& error) {
        fail(error.what());
    }
    for (const TensorEntry& entry : rest.tensors) {
        each_piece(entry, [&](std::span<const std::byte> piece) {  //
            checksum = crc32c(piece, checksum);
        });
    }
    return hex(checksum);
}

void TensorFile::verify() const {
    const auto said = header_.metadata.find(kChecksumKey);
    if (said == header_.metadata.end()) fail("has no checksum");
    const std::string found = checksum();
    if (found != said->second) {
        fail("is damaged: its checksum is " + in_quotes(said->second) +
             " but what it holds gives \"" + found + "\"");
    }
}

void TensorFile::each_piece(const TensorEntry& entry,
                            const std::function<void(std::span<const std::byte>)>& consume) const {
    std::vector<std::byte> piece;
    for (uint64_t at = entry.begin; at < entry.end; at += piece.size()) {
        piece.resize(static_cast<size_t>(std::min<uint64_t>(entry.end - at, kPieceBytes)));
        file_.read_at(data_begin_ + at, piece);
        consume(piece);
    }
}

std::vector<const TensorEntry*> TensorFile::match(std::span<const NamedTensor> expected) const {
    std::map<std::string_view, const TensorEntry*> left;
    for (const TensorEntry& entry : header_.tensors) left[entry.name] = &entry;

    std::vector<const TensorEntry*> entries;
    std::vector<std::string_view> missing, surplus;
    for (const NamedTensor& tensor : expected) {
        const auto found = left.find(tensor.name);
        if (found == left.end()) {
            missing.push_back(tensor.name);
            continue;
        }
        entries.push_back(found->second);
        left.erase(found);
    }
    for (const auto& [name, entry] : left) surplus.push_back(name);
    std::string reason;
    if (!missing.empty()) reason = "lacks " + list(missing);
    if (!surplus.empty())
        reason += (missing.empty() ? "has surplus " : "; has surplus ") + list(surplus);
    if (!reason.empty()) fail(reason);

    for (size_t i = 0; i < entries.size(); ++i) {
        const std::string name = in_quotes(expected[i].name);
        const Tensor& value = expected[i].value;
        if (entries[i]->shape != value.shape()) {
            fail(name + " is " + to_string(entries[i]->shape) + " in the file but should be " +
                 to_string(value.shape()));
        }
        if (entries[i]->dtype != dtype_name(value.dtype())) {
            fail(name + " is " + entries[i]->dtype + " in the file but should be " +
                 dtype_name(value.dtype()));
        }
    }
    return entries;
}

Tensor TensorFile::read_value(const TensorEntry& entry, Dtype dtype) const {
    Tensor value = TensorAccess::make(entry.shape, Device::cpu(), dtype);
    if (value.size() == 0) return value;
    file_.read_at(data_begin_ + entry.begin,
                  {static_cast<std::byte*>(TensorAccess::raw(value)), entry.end - entry.begin});
    const std::string complaint = finite_complaint(entry.name, value);
    if (!complaint.empty()) fail(complaint);
    return value;
}

std::vector<Tensor> TensorFile::read(std::span<const NamedTensor> expected) const {
    const std::vector<const TensorEntry*> entries = match(expected);
    std::vector<Tensor> values;
    values.reserve(entries.size());
    for (size_t i = 0; i < entries.size(); ++i) {
        values.push_back(read_value(*entries[i], expected[i].value.dtype()));
    }
    return values;
}

}  // namespace eggroll::detail
