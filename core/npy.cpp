// SPDX-License-Identifier: MIT
#include <eggroll/npy.h>

#include "core/npy_file.h"
#include "core/npy_header.h"
#include "core/storage.h"
#include "core/text.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <concepts>
#include <type_traits>
#include <utility>

namespace eggroll {

namespace detail {

static_assert(std::endian::native == std::endian::little,
              ".npy data is little-endian and is read and written in place");

namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr size_t kBlock = 4096;  // elements that are converted at a time

// --- The header ---------------------------------------------------------------------------------

/// The header of a file, and where its data begins.
std::pair<NpyHeader, uint64_t> read_header(const InputFile& file) {
    std::array<unsigned char, 12> start{};
    const uint64_t size = file.size();
    const auto count = static_cast<size_t>(std::min<uint64_t>(size, start.size()));
    file.read_at(0, std::as_writable_bytes(std::span(start).first(count)));
    if (!std::equal(kMagic.begin(), kMagic.end(), start.begin(),
                    [](char a, unsigned char b) { return static_cast<unsigned char>(a) == b; })) {
        file.fail("is no .npy file");
    }
    const unsigned major = start[6], minor = start[7];
    if (major < 1 || major > 3 || minor != 0) {
        file.fail("is of version " + std::to_string(major) + "." + std::to_string(minor) +
                  "; 1.0, 2.0 and 3.0 are read");
    }
    const uint64_t begin = major == 1 ? 10 : 12;
    if (size < begin) file.fail("ends within its header");
    uint64_t length = start[8] | uint64_t{start[9]} << 8;
    if (major > 1) length |= uint64_t{start[10]} << 16 | uint64_t{start[11]} << 24;
    if (length > kMaxNpyHeaderBytes) {
        file.fail("its header would be " + std::to_string(length) + " bytes long, above " +
                  std::to_string(kMaxNpyHeaderBytes));
    }
    if (length > size - begin) {
        file.fail("its header would be " + std::to_string(length) + " bytes long but only " +
                  std::to_string(size - begin) + " follow");
    }
    std::string text(static_cast<size_t>(length), '\0');
    file.read_at(begin, std::as_writable_bytes(std::span(text)));
    try {
        return {parse_npy_header(text), begin + length};
    } catch (const Error& error) {
        file.fail(error.what());
    }
}

/// The data is as long as type and shape say.
void check_size(const InputFile& file, const NpyHeader& header, size_t element_bytes,
                uint64_t data_bytes) {
    const std::string what = "shape " + to_string(header.shape) + " of " + in_quotes(header.descr);
    uint64_t bytes = element_bytes;
    for (const int64_t extent : header.shape) {
        // What one empty axis makes nothing of may not overflow either: the order of axes says
        // nothing.
        const auto factor = static_cast<uint64_t>(std::max<int64_t>(extent, 1));
        if (__builtin_mul_overflow(bytes, factor, &bytes)) {
            file.fail(what + " has more elements than can be addressed");
        }
    }
    if (std::ranges::find(header.shape, 0) != header.shape.end()) bytes = 0;
    if (bytes != data_bytes) {
        file.fail(what + " takes " + std::to_string(bytes) + " bytes but " +
                  std::to_string(data_bytes) + " follow the header");
    }
}

// --- Values -------------------------------------------------------------------------------------

/// Where the elements of a file go in a row-major tensor, one after another.
class Places {
public:
    Places(const Shape& shape, bool fortran_order)
        : shape_(shape), index_(shape.size()), stride_(shape.size()) {
        in_order_ = !fortran_order || shape.size() < 2;
        int64_t stride = 1;
        for (size_t axis = shape.size(); axis-- > 0; stride *= shape[axis]) stride_[axis] = stride;
    }

    int64_t next() {
        const int64_t here = place_;
        if (in_order_) {
            ++place_;
            return here;
        }
        for (size_t axis = 0; axis < shape_.size(); ++axis) {  // the first axis goes fastest
            place_ += stride_[axis];
            if (++index_[axis] < shape_[axis]) break;
            place_ -= stride_[axis] * shape_[axis];
            index_[axis] = 0;
        }
        return here;
    }

private:
    const Shape& shape_;
    Shape index_, stride_;
    int64_t place_ = 0;
    bool in_order_ = true;
};

/// One byte that is 0 or 1.
enum class Truth : uint8_t {};

std::string shown(double value) {
    return number(value);
}
std::string shown(Truth value) {
    return std::to_string(static_cast<int>(value));
}
template <std::integral T>
std::string shown(T value) {
    return std::to_string(value);
}

bool convert(double from, float& to) {
    to = static_cast<float>(from);
    return std::isfinite(to);
}
bool convert(Truth from, int32_t& to) {
    to = static_cast<int32_t>(from);
    return to <= 1;
}
template <std::integral From>
bool convert(From from, int32_t& to) {
    to = static_cast<int32_t>(from);
    return std::in_range<int32_t>(from);
}

template <class From, class To>
void read_values(const InputFile& file, uint64_t begin, const NpyHeader& header, Tensor& tensor) {
    constexpr const char* kWanted = std::is_same_v<From, Truth> ? "bool"
                                    : std::is_same_v<To, float> ? "finite float32"
                                                                : "int32";
    const auto count = static_cast<size_t>(tensor.size());
    std::vector<From> block(std::min(count, kBlock));
    Places places(header.shape, header.fortran_order);
    auto* const to = static_cast<To*>(TensorAccess::raw(tensor));
    for (size_t first = 0; first < count; first += block.size()) {
        block.resize(std::min(block.size(), count - first));
        file.read_at(begin + first * sizeof(From), std::as_writable_bytes(std::span(block)));
        for (const From from : block) {
            const int64_t place = places.next();
            if (convert(from, to[place])) continue;
            file.fail("element " + std::to_string(place) + " of " + in_quotes(header.descr) +
                      " is " + shown(from) + ", which is no " + kWanted);
        }
    }
}

struct Kind {
    std::string_view code;  // without the byte order
    size_t bytes;
    Dtype dtype;
    void (*read)(const InputFile& file, uint64_t begin, const NpyHeader& header, Tensor& tensor);
};

template <class From, class To>
constexpr Kind kind(std::string_view code) {
    return {code, sizeof(From), std::is_same_v<To, float> ? Dtype::f32 : Dtype::i32,
            read_values<From, To>};
}

constexpr std::array kKinds{
    kind<float, float>("f4"),      kind<double, float>("f8"),     kind<int8_t, int32_t>("i1"),
    kind<int16_t, int32_t>("i2"),  kind<int32_t, int32_t>("i4"),  kind<int64_t, int32_t>("i8"),
    kind<uint8_t, int32_t>("u1"),  kind<uint16_t, int32_t>("u2"), kind<uint32_t, int32_t>("u4"),
    kind<uint64_t, int32_t>("u8"), kind<Truth, int32_t>("b1"),
};

const Kind& kind_of(const InputFile& file, const std::string& descr) {
    const char order = descr.empty() ? '\0' : descr[0];
    const std::string code = descr.substr(std::min<size_t>(1, descr.size()));
    for (const Kind& known : kKinds) {
        if (known.code != code) continue;
        if (order == '<' || (order == '|' && known.bytes == 1)) return known;
        if (order == '>') file.fail("holds " + in_quotes(descr) + ", which is big-endian");
    }
    file.fail("holds " + in_quotes(descr) +
              "; floats of 4 and 8 bytes, whole numbers of 1 to 8 and bool are read");
}

}  // namespace

Tensor read_npy(const InputFile& file) {
    const auto [header, begin] = read_header(file);
    const Kind& kind = kind_of(file, header.descr);
    check_size(file, header, kind.bytes, file.size() - begin);
    Tensor tensor = TensorAccess::make(header.shape, Device::cpu(), kind.dtype);
    if (tensor.size() > 0) kind.read(file, begin, header, tensor);
    return tensor;
}

NpyParts npy_parts(const Tensor& tensor) {
    if (tensor.shape().size() > kMaxNpyAxes) {
        throw Error("a tensor of " + std::to_string(tensor.shape().size()) +
                    " axes is given; NumPy has at most " + std::to_string(kMaxNpyAxes));
    }
    const Tensor host = tensor.to(Device::cpu());
    if (host.dtype() == Dtype::i32) {
        return {write_npy_header("<i4", host.shape()), host, std::as_bytes(host.ints())};
    }
    const Tensor floats = host.to(Dtype::f32);
    const std::span<const float> values = floats.data();
    const auto bad = std::ranges::find_if(values, [](float x) { return !std::isfinite(x); });
    if (bad != values.end()) {
        throw Error("element " + std::to_string(bad - values.begin()) + " is " + number(*bad) +
                    "; only finite values are saved and loaded");
    }
    return {write_npy_header("<f4", host.shape()), floats, std::as_bytes(values)};
}

}  // namespace detail

Tensor load_npy(const std::filesystem::path& path) {
    return detail::read_npy(detail::InputFile("load_npy", path));
}

void save_npy(const std::filesystem::path& path, const Tensor& tensor) {
    detail::NpyParts parts;
    try {
        parts = detail::npy_parts(tensor);
    } catch (const Error& error) {
        throw Error("[save_npy] \"" + path.string() + "\": " + error.what());
    }
    detail::write_file_atomically("save_npy", path, [&](const detail::WriteBytes& write) {
        write(std::as_bytes(std::span(parts.header)));
        if (!parts.data.empty()) write(parts.data);
    });
}

}  // namespace eggroll
