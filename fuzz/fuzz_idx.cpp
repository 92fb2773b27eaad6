// SPDX-License-Identifier: MIT
// An IDX file, as it is and under gzip.
#include "examples/common/idx.h"
#include "fuzz/check.h"

#include <zlib.h>

#include <algorithm>
#include <optional>

using namespace eggroll;

namespace {

std::optional<examples::IdxArray> parse(std::span<const uint8_t> bytes, size_t axes,
                                        std::string& reason) {
    try {
        return examples::parse_idx(bytes, axes);
    } catch (const Error& error) {
        fuzz::check_message("", error.what());
        reason = error.what();
        return {};
    }
}

void append_little(std::vector<uint8_t>& to, uint64_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) to.push_back(static_cast<uint8_t>(value >> 8 * i));
}

/// A gzip file of one block that is stored, not compressed.
std::vector<uint8_t> gzipped(std::span<const uint8_t> bytes) {
    std::vector<uint8_t> file = {0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 255, 1};
    append_little(file, bytes.size(), 2);
    append_little(file, ~bytes.size(), 2);
    file.insert(file.end(), bytes.begin(), bytes.end());
    append_little(file, crc32(0, bytes.data(), static_cast<uInt>(bytes.size())), 4);
    append_little(file, bytes.size(), 4);
    return file;
}

std::vector<uint8_t> written(const examples::IdxArray& array) {
    std::vector<uint8_t> file = {0, 0, 8, static_cast<uint8_t>(array.shape.size())};
    for (const int64_t extent : array.shape) {
        for (int shift = 24; shift >= 0; shift -= 8) {
            file.push_back(static_cast<uint8_t>(extent >> shift));
        }
    }
    file.insert(file.end(), array.bytes.begin(), array.bytes.end());
    return file;
}

}  // namespace

EGGROLL_FUZZ(data) {
    constexpr size_t kDeflateRatio = 1032;  // at most so many bytes from one
    const bool is_gzip = data.size() > 1 && data[0] == 0x1F && data[1] == 0x8B;
    const size_t axes = !is_gzip && data.size() > 3 && data[3] == 3 ? 3 : 1;
    std::string reason;
    std::optional<examples::IdxArray> array;
    {
        const fuzz::MemoryLimit limit(131'072 + (is_gzip ? 3 * kDeflateRatio : 8) * data.size());
        array = parse(data, axes, reason);
    }
    if (array) {
        uint64_t count = 1;
        for (const int64_t extent : array->shape) count *= static_cast<uint64_t>(extent);
        fuzz::require(array->shape.size() == axes && array->bytes.size() == count,
                      "the shape is not that of the data");
        if (!is_gzip) {
            fuzz::require(std::ranges::equal(written(*array), data), "written again, it differs");
        }
    }
    if (is_gzip || data.size() > 65'535) return;
    std::string reason_of_gzip;
    const auto same = parse(gzipped(data), axes, reason_of_gzip);
    fuzz::require(reason == reason_of_gzip && same.has_value() == array.has_value(),
                  "what is read plain is not what is read under gzip");
    if (array) fuzz::require(same->bytes == array->bytes, "under gzip it is something else");
}
