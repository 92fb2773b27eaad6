// SPDX-License-Identifier: MIT
// A safetensors file: what is read is what it holds, and written again it says the same.
#include "core/named_tensors.h"
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

using Bytes = std::span<const std::byte>;

/// The same header in our own spelling, and the same data.
std::string written(const TensorFile& file, Bytes data) {
    const std::string json = write_safetensors_header({file.entries(), file.metadata()});
    const uint64_t length = json.size();
    std::string bytes(reinterpret_cast<const char*>(&length), sizeof length);
    bytes += json;
    bytes.append(reinterpret_cast<const char*>(data.data()), data.size());
    return bytes;
}

bool same(const TensorEntry& a, const TensorEntry& b) {
    return a.name == b.name && a.dtype == b.dtype && a.shape == b.shape && a.begin == b.begin &&
           a.end == b.end;
}

/// Tensors for all entries; none when one has a type that is not read.
std::vector<NamedTensor> wanted(const std::vector<TensorEntry>& entries) {
    std::vector<NamedTensor> tensors;
    for (const TensorEntry& entry : entries) {
        const bool known = entry.dtype == "F32" || entry.dtype == "I32" || entry.dtype == "BF16";
        if (!known) return {};
        const Dtype dtype = entry.dtype == "F32"   ? Dtype::f32
                            : entry.dtype == "I32" ? Dtype::i32
                                                   : Dtype::bf16;
        tensors.push_back({entry.name, TensorAccess::make(entry.shape, Device::cpu(), dtype)});
    }
    return tensors;
}

bool all_finite(const Tensor& value) {
    if (value.dtype() == Dtype::i32) return true;
    const Tensor floats = value.to(Dtype::f32);
    return std::ranges::all_of(floats.data(), [](float x) { return std::isfinite(x); });
}

void check_values(const TensorFile& file, Bytes data) {
    const std::vector<NamedTensor> tensors = wanted(file.entries());
    if (tensors.empty()) return;
    std::vector<Tensor> values;
    const bool good = fuzz::accepts(kStart, [&] { values = file.read(tensors); });
    for (size_t i = 0; i < values.size(); ++i) {
        const TensorEntry& entry = file.entries()[i];
        fuzz::require(values[i].shape() == entry.shape, "a tensor has another shape");
        fuzz::require(all_finite(values[i]), "a value that is not finite was read");
        fuzz::require(values[i].size() == 0 ||
                          std::memcmp(TensorAccess::raw(std::as_const(values[i])),
                                      data.data() + entry.begin, entry.end - entry.begin) == 0,
                      "other bits were read than the file has");
    }
    if (good) return;
    fuzz::require(values.empty(), "values of a refused file");
}

/// A model's weights, of names and shapes that are known beforehand.
void check_model(const TensorFile& file) {
    static const std::vector<NamedTensor> model = {{"weight", Tensor::zeros({1, 2})},
                                                   {"bias", Tensor::zeros({1})}};
    fuzz::accepts(kStart, [&] {
        const std::vector<Tensor> values = file.read(model);
        fuzz::require(values.size() == 2 && values[0].shape() == Shape{1, 2} &&
                          values[1].shape() == Shape{1} && all_finite(values[0]) &&
                          all_finite(values[1]),
                      "a model's weights are not what it asked for");
    });
}

}  // namespace

EGGROLL_FUZZ(data) {
    const Bytes bytes = std::as_bytes(data);
    const fuzz::MemoryLimit limit(2 * fuzz::allowance(bytes.size()));  // the file and its copy
    fuzz::accepts(kStart, [&] {
        const TensorFile file("fuzz", bytes);
        const uint64_t data_bytes = file.entries().empty() ? 0 : file.entries().back().end;
        const Bytes values = bytes.last(data_bytes);
        check_model(file);
        check_values(file, values);

        const std::string again = written(file, values);
        const TensorFile copy("fuzz", std::as_bytes(std::span(again)));
        fuzz::require(copy.metadata() == file.metadata() &&
                          std::ranges::equal(copy.entries(), file.entries(), same),
                      "written again, a header says something else");
    });
}
