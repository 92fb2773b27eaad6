// SPDX-License-Identifier: MIT
#include <eggroll/safetensors.h>

#include "core/named_tensors.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace eggroll {

namespace {

using Bytes = std::span<const std::byte>;
using Add = void (*)(TensorSummary&, double& sum, Bytes);

/// IEEE 754 binary16.
double from_half(uint16_t bits) {
    const int exponent = (bits >> 10) & 31, fraction = bits & 1023;
    const double sign = bits >> 15 ? -1.0 : 1.0;
    if (exponent == 31) return fraction == 0 ? sign * INFINITY : NAN;
    if (exponent == 0) return sign * std::ldexp(fraction, -24);
    return sign * std::ldexp(1024 + fraction, exponent - 25);
}

double from_bf16(uint16_t bits) {
    const uint32_t wide = uint32_t{bits} << 16;
    float value = 0;
    std::memcpy(&value, &wide, sizeof value);
    return value;
}

double from_bool(uint8_t byte) {
    return byte != 0 ? 1.0 : 0.0;
}

template <class T>
double from_number(T value) {
    return static_cast<double>(value);
}

template <class T, double (*widen)(T) = from_number<T>>
void add(TensorSummary& of, double& sum, Bytes bytes) {
    for (size_t at = 0; at < bytes.size(); at += sizeof(T)) {
        T element;
        std::memcpy(&element, bytes.data() + at, sizeof element);
        const double value = widen(element);
        if (!std::isfinite(value)) continue;
        of.min = of.finite == 0 ? value : std::min(of.min, value);
        of.max = of.finite == 0 ? value : std::max(of.max, value);
        sum += value;
        ++of.finite;
    }
}

/// Null for the types of less than a byte or with two numbers an element, and the 8-bit floats.
Add add_of(const std::string& dtype) {
    if (dtype == "F64") return add<double>;
    if (dtype == "F32") return add<float>;
    if (dtype == "F16") return add<uint16_t, from_half>;
    if (dtype == "BF16") return add<uint16_t, from_bf16>;
    if (dtype == "I64") return add<int64_t>;
    if (dtype == "I32") return add<int32_t>;
    if (dtype == "I16") return add<int16_t>;
    if (dtype == "I8") return add<int8_t>;
    if (dtype == "U64") return add<uint64_t>;
    if (dtype == "U32") return add<uint32_t>;
    if (dtype == "U16") return add<uint16_t>;
    if (dtype == "U8") return add<uint8_t>;
    if (dtype == "BOOL") return add<uint8_t, from_bool>;
    return nullptr;
}

}  // namespace

SafetensorsInfo read_safetensors_info(const std::filesystem::path& path) {
    const detail::TensorFile file("read_safetensors_info", path);
    SafetensorsInfo info{file.metadata(), {}};
    for (const detail::TensorEntry& entry : file.entries()) {
        TensorSummary summary{.name = entry.name, .dtype = entry.dtype, .shape = entry.shape};
        summary.elements = element_count(entry.shape);
        if (const Add add = add_of(entry.dtype)) {
            double sum = 0;
            file.each_piece(entry, [&](Bytes piece) { add(summary, sum, piece); });
            if (summary.finite > 0) summary.mean = sum / static_cast<double>(summary.finite);
        }
        info.tensors.push_back(std::move(summary));
    }
    return info;
}

}  // namespace eggroll
