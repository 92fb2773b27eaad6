// SPDX-License-Identifier: MIT
// NumPy's files: hand-made bytes, and what nobody should have written.
#include <eggroll/npy.h>

#include "tests/cases.h"
#include "tests/errors.h"
#include "tests/temp_directory.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <limits>
#include <numeric>

using namespace eggroll;
using test::TempDirectory;

namespace {

std::string little(uint64_t value, size_t count) {
    std::string bytes;
    for (size_t i = 0; i < count; ++i, value >>= 8) bytes += static_cast<char>(value);
    return bytes;
}

template <class T>
std::string raw(std::initializer_list<T> values) {
    return {reinterpret_cast<const char*>(values.begin()), values.size() * sizeof(T)};
}

/// A file of that version of the format, with that dictionary and data.
std::string file_of(const std::string& header, const std::string& data, char version = 1) {
    return std::string("\x93NUMPY") + version + '\0' + little(header.size(), version == 1 ? 2 : 4) +
           header + data;
}

std::string header_of(const std::string& descr, const std::string& shape,
                      const std::string& fortran_order = "False") {
    return "{'descr': '" + descr + "', 'fortran_order': " + fortran_order + ", 'shape': " + shape +
           ", }  \n";
}

Tensor loaded(const std::string& bytes) {
    const TempDirectory directory("npy-loaded");
    test::write_bytes(directory / "a.npy", bytes);
    return load_npy(directory / "a.npy");
}

std::vector<float> floats_of(const Tensor& tensor) {
    return {tensor.data().begin(), tensor.data().end()};
}

std::vector<int32_t> ints_of(const Tensor& tensor) {
    return {tensor.ints().begin(), tensor.ints().end()};
}

/// Loading these bytes throws an Error of one line that has the path and `reason` in it.
void check_refused(const std::string& bytes, const std::string& reason) {
    CAPTURE(reason);
    const TempDirectory directory("npy-refused");
    const auto path = directory / "hostile.npy";
    test::write_bytes(path, bytes);
    const std::string message = test::error_of([&] { load_npy(path); });
    CAPTURE(message);
    CHECK(message.starts_with("[load_npy] \"" + path.string() + "\": "));
    CHECK(message.find(reason) != std::string::npos);
    CHECK(message.find('\n') == std::string::npos);
    CHECK(message.size() < 1200);
}

const std::string kData = raw({0.0f, 1.0f, 2.0f, 3.0f, 4.0f, 5.0f});
const std::string kHeader = header_of("<f4", "(2, 3)");

/// The good header with `from` replaced.
void check_change_refused(const std::string& from, const std::string& to,
                          const std::string& reason) {
    std::string header = kHeader;
    const size_t at = header.find(from);
    REQUIRE(at != std::string::npos);
    check_refused(file_of(header.replace(at, from.size(), to), kData), reason);
}

}  // namespace

TEST_CASE("npy: every type that is read [host]") {
    const auto file = [](const std::string& descr, const std::string& data) {
        return loaded(file_of(header_of(descr, "(2,)"), data));
    };
    const Tensor f4 = file("<f4", raw({-0.0f, std::numeric_limits<float>::denorm_min()}));
    CHECK(std::signbit(f4.data()[0]));
    CHECK(f4.data()[1] == std::numeric_limits<float>::denorm_min());
    CHECK(floats_of(file("<f8", raw({1.0 / 3, -1e-300}))) == std::vector<float>{1.0f / 3, -0.0f});
    CHECK(floats_of(file("<f8", raw({3.4028235e38, -1e38})))[0] ==
          std::numeric_limits<float>::max());

    using Ints = std::vector<int32_t>;
    CHECK(ints_of(file("|i1", raw<int8_t>({-128, 127}))) == Ints{-128, 127});
    CHECK(ints_of(file("<i2", raw<int16_t>({-32768, 1}))) == Ints{-32768, 1});
    CHECK(ints_of(file("<i4", raw<int32_t>({INT32_MIN, INT32_MAX}))) == Ints{INT32_MIN, INT32_MAX});
    CHECK(ints_of(file("<i8", raw<int64_t>({INT32_MIN, INT32_MAX}))) == Ints{INT32_MIN, INT32_MAX});
    CHECK(ints_of(file("|u1", raw<uint8_t>({0, 255}))) == Ints{0, 255});
    CHECK(ints_of(file("<u1", raw<uint8_t>({7, 8}))) == Ints{7, 8});
    CHECK(ints_of(file("<u2", raw<uint16_t>({0, 65535}))) == Ints{0, 65535});
    CHECK(ints_of(file("<u4", raw<uint32_t>({0, INT32_MAX}))) == Ints{0, INT32_MAX});
    CHECK(ints_of(file("<u8", raw<uint64_t>({0, INT32_MAX}))) == Ints{0, INT32_MAX});
    CHECK(ints_of(file("|b1", raw<uint8_t>({0, 1}))) == Ints{0, 1});
}

TEST_CASE("npy: any spelling of a good header is read [host]") {
    const std::vector<float> values = {0, 1, 2, 3, 4, 5};
    for (const std::string header :
         {"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)}",
          "{ \"shape\" :(2,3,) ,\t'fortran_order':False,\n\"descr\":\"<f4\"}   \n",
          "{'fortran_order': False, 'shape': (2, 3), 'descr': '<f4', }"}) {
        for (const char version : {1, 2, 3}) {
            CAPTURE(header);
            const Tensor tensor = loaded(file_of(header, kData, version));
            CHECK(tensor.shape() == Shape{2, 3});
            CHECK(floats_of(tensor) == values);
        }
    }
    CHECK(loaded(file_of(header_of("<f4", "()"), raw({7.0f}))).item() == 7);
    CHECK(loaded(file_of(header_of("<f4", "()", "True"), raw({7.0f}))).item() == 7);
    CHECK(loaded(file_of(header_of("<i4", "(0, 1099511627776, 3)"), "")).shape() ==
          Shape{0, int64_t{1} << 40, 3});
}

TEST_CASE("npy: an array in Fortran order is transposed [host]") {
    // Larger than one block of the reader.
    const Shape shape = {7, 30, 41};
    const auto count = static_cast<size_t>(element_count(shape));
    std::vector<float> there(count), here(count);
    std::iota(here.begin(), here.end(), 0.0f);
    for (int64_t i = 0, at = 0; i < shape[0]; ++i) {
        for (int64_t j = 0; j < shape[1]; ++j) {
            for (int64_t k = 0; k < shape[2]; ++k, ++at) {
                there[static_cast<size_t>(i + shape[0] * (j + shape[1] * k))] =
                    here[static_cast<size_t>(at)];
            }
        }
    }
    const std::string data(reinterpret_cast<const char*>(there.data()), count * sizeof(float));
    const Tensor tensor = loaded(file_of(header_of("<f4", "(7, 30, 41)", "True"), data));
    CHECK(tensor.shape() == shape);
    CHECK(floats_of(tensor) == here);
    CHECK(floats_of(loaded(file_of(header_of("<f4", "(6,)", "True"), kData))) ==
          std::vector<float>{0, 1, 2, 3, 4, 5});
}

TEST_CASE("npy: what is saved is loaded, bit for bit") {
    const TempDirectory directory("npy-round-trip");
    const auto path = directory / "a.npy";
    const auto check_same = [&](const Tensor& saved, const Shape& shape) {
        save_npy(path, saved);
        const Tensor back = load_npy(path);
        CHECK(back.shape() == shape);
        const Tensor host = saved.to(Device::cpu());
        REQUIRE(back.dtype() == host.dtype());
        if (host.dtype() == Dtype::i32) {
            CHECK(ints_of(back) == ints_of(host));
        } else {
            CHECK(std::ranges::equal(std::as_bytes(back.data()), std::as_bytes(host.data())));
        }
        // NumPy maps the data where it is.
        const std::string bytes = test::read_bytes(path);
        CHECK(bytes.substr(0, 8) == std::string("\x93NUMPY\x01\0", 8));
        CHECK((bytes.size() - static_cast<size_t>(host.size()) * 4) % 64 == 0);
        CHECK(directory.list().size() == 1);
    };
    check_same(test::random_tensor({3, 5}).to(test::test_device()), {3, 5});
    check_same(Tensor::from({2}, {-0.0f, std::numeric_limits<float>::max()}), {2});
    check_same(Tensor::from_ints({2, 1}, {INT32_MIN, 7}), {2, 1});
    check_same(Tensor::full({}, 7), {});
    check_same(Tensor::zeros({0, 5}), {0, 5});
    check_same(Tensor(), {0});
    check_same(per_member(test::random_tensor({4, 2, 3})), {4, 2, 3});

    const Tensor exact = Tensor::from({2}, {1.5f, -3.0f});
    save_npy(path, exact.to(Dtype::bf16));
    CHECK(floats_of(load_npy(path)) == floats_of(exact));
}

TEST_CASE("npy: what cannot be saved leaves the old file [host]") {
    const TempDirectory directory("npy-unsaved");
    const auto path = directory / "a.npy";
    save_npy(path, Tensor::full({2}, 1));
    const std::string before = test::read_bytes(path);
    const auto refused = [&](const Tensor& tensor, const std::string& reason) {
        CHECK(test::error_of([&] { save_npy(path, tensor); }) ==
              "[save_npy] \"" + path.string() + "\": " + reason);
        CHECK(test::read_bytes(path) == before);
        CHECK(directory.list().size() == 1);
    };
    refused(Tensor::from({2}, {1, std::numeric_limits<float>::quiet_NaN()}),
            "element 1 is nan; only finite values are saved and loaded");
    refused(Tensor::zeros(Shape(65, 1)), "a tensor of 65 axes is given; NumPy has at most 64");
    CHECK_THROWS_WITH_AS(save_npy("", Tensor::zeros({1})), "[save_npy] \"\": names no file", Error);
    CHECK_THROWS_WITH_AS(save_npy(directory / "none/a.npy", Tensor()),
                         doctest::Contains("[save_npy]"), Error);
    CHECK_THROWS_WITH_AS(load_npy(directory / "none"),
                         doctest::Contains("No such file or directory"), Error);
    CHECK_THROWS_WITH_AS(load_npy(directory / ""), doctest::Contains("is a directory"), Error);
}

TEST_CASE("npy: truncated anywhere, a file is refused [host]") {
    for (const char version : {1, 2}) {
        const std::string whole = file_of(kHeader, kData, version);
        for (size_t length = 0; length < whole.size(); ++length) {
            CAPTURE(length);
            check_refused(whole.substr(0, length), "");
        }
        check_refused(whole + "x", "takes 24 bytes but 25 follow");
    }
}

TEST_CASE("npy: a damaged byte before the data is refused or means a file as good [host]") {
    const std::string whole = file_of(kHeader, kData);
    int refused = 0, read = 0;
    for (size_t at = 0; at < whole.size() - kData.size(); ++at) {
        for (int bit = 0; bit < 8; ++bit) {
            std::string bytes = whole;
            bytes[at] = static_cast<char>(bytes[at] ^ 1 << bit);
            try {
                const Tensor tensor = loaded(bytes);
                CHECK(tensor.size() == 6);
                ++read;
            } catch (const Error&) {
                ++refused;
            }
        }
    }
    CHECK(refused > 450);
    CHECK(read < 20);  // '<i4', and padding turned into other white space
}

TEST_CASE("npy: files that lie are refused [host]") {
    const uint64_t follow = kHeader.size() + kData.size();
    check_refused("", "is no .npy file");
    check_refused("\x93NUMPX\x01" + little(0, 40), "is no .npy file");
    check_refused("\x93NUMPY", "is of version 0.0");
    check_refused(file_of(kHeader, kData, 4), "is of version 4.0; 1.0, 2.0 and 3.0 are read");
    check_refused("\x93NUMPY\x01\x01" + little(0, 40), "is of version 1.1");
    check_refused("\x93NUMPY\x02" + little(0, 1) + little(0xFFFFFFFF, 4) + kHeader,
                  "4294967295 bytes long, above 65535");
    check_refused("\x93NUMPY\x01" + little(0, 1) + little(0xFFFF, 2) + kHeader + kData,
                  "65535 bytes long but only " + std::to_string(follow) + " follow");
    // No memory is asked for what is only claimed.
    check_change_refused("(2, 3)", "(1099511627776, 1048575)", "takes 4611681620380876800 bytes");
    check_change_refused("(2, 3)", "(4294967296, 4294967296)",
                         "more elements than can be addressed");
    check_change_refused("(2, 3)", "(0, 4294967296, 4294967296)",
                         "more elements than can be addressed");
    check_change_refused("(2, 3)", "(0, 3)", "takes 0 bytes but 24 follow");
    check_change_refused("<f4", "<f8", "takes 48 bytes but 24 follow");
    check_change_refused("<f4", ">f4", "big-endian");
    check_change_refused("<f4", "=f4", "holds \"=f4\"");
    check_change_refused("<f4", "|f4", "holds \"|f4\"");
    check_change_refused("<f4", "", "holds \"\"");
    check_change_refused("<f4", "<", "holds \"<\"");
    for (const char* other : {"<f2", "<c8", "|O", "|S4", "<U1", "|V4", "<M8[ns]", "<f44"}) {
        check_change_refused("<f4", other, "whole numbers of 1 to 8 and bool are read");
    }
}

TEST_CASE("npy: what is not the header's dictionary is refused [host]") {
    check_refused(file_of("", ""), "expected a dictionary but found the end");
    check_refused(file_of("[]", ""), "expected a dictionary but found \"[\"");
    check_refused(file_of("{}", ""), "has no \"descr\"");
    check_change_refused("'descr': '<f4', ", "", "has no \"descr\"");
    check_change_refused("'fortran_order': False, ", "", "has no \"fortran_order\"");
    check_change_refused("'shape': (2, 3), ", "", "has no \"shape\"");
    check_change_refused("{", "{'shape': (6,), ", "has \"shape\" twice");
    check_change_refused("{", "{'more': 1, ", "unknown key \"more\"");
    check_change_refused("'<f4'", "[('a', '<f4')]", "structured");
    check_change_refused("'<f4'", "'<f\\x34'", "escape");
    check_change_refused("'<f4'", "<f4", "expected a string but found \"<\"");
    check_change_refused("'descr'", "'descr", "expected ':' but found \"<\"");
    check_change_refused("'shape'", "'shape\n'", "line's end");
    check_change_refused("False", "0", "expected True or False");
    check_change_refused("False", "Falsehood", "expected ',' or '}'");
    check_change_refused("(2, 3)", "[2, 3]", "expected a tuple");
    check_change_refused("(2, 3)", "(6)", "a number, no tuple");
    check_change_refused("(2, 3)", "(,)", "expected a number");
    check_change_refused("(2, 3)", "(2,, 3)", "expected a number");
    check_change_refused("(2, 3)", "(2 3)", "expected ',' or ')'");
    check_change_refused("(2, 3)", "(-2, 3)", "negative");
    check_change_refused("(2, 3)", "(2.0, 3)", "expected ',' or ')' but found \".\"");
    check_change_refused("(2, 3)", "(02, 3)", "starts with 0");
    check_change_refused("(2, 3)", "(9223372036854775808,)", "too large");
    std::string axes;
    for (int i = 0; i < 65; ++i) axes += "1,";
    check_change_refused("(2, 3)", "(" + axes + ")", "more than 64 axes");
    check_change_refused(", }", ",, }", "expected a string but found \",\"");
    check_change_refused("}", "} x", "expected the end but found \"x\"");
    check_change_refused("}", "", "expected a string but found the end");
    check_refused(file_of("{'descr", ""), "does not end");
    check_refused(file_of("{" + std::string(60'000, '{'), ""), "expected a string");
}

TEST_CASE("npy: values that a tensor cannot hold are refused [host]") {
    const auto refused = [](const std::string& descr, const std::string& data,
                            const std::string& reason) {
        check_refused(file_of(header_of(descr, "(1, 2)"), data), reason);
    };
    const float inf = std::numeric_limits<float>::infinity();
    refused("<f4", raw({1.0f, -inf}), "element 1 of \"<f4\" is -inf, which is no finite float32");
    refused("<f8", raw({std::numeric_limits<double>::quiet_NaN(), 0.0}),
            "element 0 of \"<f8\" is nan");
    refused("<f8", raw({0.0, 1e39}), "element 1 of \"<f8\" is 1e+39, which is no finite float32");
    refused("<i8", raw<int64_t>({int64_t{INT32_MAX} + 1, 0}),
            "element 0 of \"<i8\" is 2147483648, which is no int32");
    refused("<u4", raw<uint32_t>({0, UINT32_MAX}), "is 4294967295, which is no int32");
    refused("<u8", raw<uint64_t>({0, UINT64_MAX}), "is 18446744073709551615");
    refused("|b1", raw<uint8_t>({1, 2}), "element 1 of \"|b1\" is 2, which is no bool");
    // The element is told by its place in the tensor, not in the file.
    check_refused(file_of(header_of("<f4", "(2, 2)", "True"), raw({0.0f, inf, 0.0f, 0.0f})),
                  "element 2 of");
}
