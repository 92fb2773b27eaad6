// SPDX-License-Identifier: MIT
// A .npy file: what is read has the header's shape and nothing that is not finite, and written
// again it reads the same.
#include "core/npy_file.h"
#include "core/npy_header.h"
#include "core/storage.h"
#include "fuzz/check.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

using namespace eggroll;
using namespace eggroll::detail;

namespace {

constexpr std::string_view kStart = "[fuzz] \"memory\": ";

bool same(const Tensor& a, const Tensor& b) {
    return a.shape() == b.shape() && a.dtype() == b.dtype() &&
           (a.size() == 0 || std::memcmp(TensorAccess::raw(a), TensorAccess::raw(b),
                                         static_cast<size_t>(a.size()) * 4) == 0);
}

/// Without whatever is before the dictionary, the header says the same as all of the file does.
void check_shape(std::span<const uint8_t> data, const Tensor& tensor) {
    const std::string_view text = fuzz::text_of(data);
    const size_t begin = text[6] == 1 ? 10 : 12;
    const size_t length = data[8] + size_t{256} * data[9];
    const NpyHeader header = parse_npy_header(text.substr(begin, length));
    fuzz::require(header.shape == tensor.shape(), "the tensor has another shape than the file");
    const size_t data_bytes = data.size() - begin - length;
    fuzz::require(static_cast<size_t>(tensor.size()) <= data_bytes,
                  "the tensor has more elements than the file has bytes");
    if (header.descr != "<f4" && header.descr != "<i4") return;
    const auto* const values = static_cast<const char*>(TensorAccess::raw(tensor));
    const std::string ours(values, static_cast<size_t>(tensor.size()) * 4);
    const std::string theirs(text.substr(begin + length));
    if (header.fortran_order) {
        // Another order, of the same four-byte elements.
        const auto sorted = [](const std::string& bytes) {
            std::vector<uint32_t> words(bytes.size() / 4);
            if (!words.empty()) std::memcpy(words.data(), bytes.data(), bytes.size());
            std::ranges::sort(words);
            return words;
        };
        fuzz::require(sorted(ours) == sorted(theirs), "other elements than the file has");
        if (header.shape.size() != 2) return;
        const auto rows = static_cast<size_t>(header.shape[0]);
        const auto cols = static_cast<size_t>(header.shape[1]);
        for (size_t i = 0; i < rows * cols; ++i) {
            fuzz::require(
                std::memcmp(&ours[4 * i], &theirs[4 * (i % cols * rows + i / cols)], 4) == 0,
                "an element is in another place");
        }
        return;
    }
    fuzz::require(ours == theirs, "other elements than the file has");
}

}  // namespace

EGGROLL_FUZZ(data) {
    const fuzz::MemoryLimit limit(2 * fuzz::allowance(data.size()) + 65'536);
    fuzz::accepts(kStart, [&] {
        const Tensor tensor = read_npy(InputFile("fuzz", std::as_bytes(data)));
        if (tensor.dtype() == Dtype::f32) {
            fuzz::require(
                std::ranges::all_of(tensor.data(), [](float x) { return std::isfinite(x); }),
                "a value that is not finite was read");
        }
        check_shape(data, tensor);

        const NpyParts parts = npy_parts(tensor);
        std::string again = parts.header;
        fuzz::require(again.size() % 64 == 0, "the data is not aligned");
        again.append(reinterpret_cast<const char*>(parts.data.data()), parts.data.size());
        const Tensor copy = read_npy(InputFile("fuzz", std::as_bytes(std::span(again))));
        fuzz::require(same(copy, tensor), "written again, it reads otherwise");
    });
}
