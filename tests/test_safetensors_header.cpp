// SPDX-License-Identifier: MIT
// Files nobody should have written: refused with the reason, and nothing changed.
#include "tests/model_bits.h"
#include "tests/temp_directory.h"

#include <eggroll/linear.h>
#include <eggroll/safetensors.h>

#include <doctest/doctest.h>

#include <initializer_list>
#include <limits>

using namespace eggroll;
using test::bits;
using test::TempDirectory;

namespace {

std::string to_bytes(const void* from, size_t count) {
    return {static_cast<const char*>(from), count};
}

std::string length_field(uint64_t length) {
    return to_bytes(&length, sizeof length);
}

std::string floats(std::initializer_list<float> values) {
    return to_bytes(values.begin(), values.size() * sizeof(float));
}

/// A file with that header and data.
std::string file_of(const std::string& header, const std::string& data) {
    return length_field(header.size()) + header + data;
}

// The hostile files are aimed at Linear(2, 1): weight (1,2), bias (1), 12 bytes of data.
const std::string kWeight = R"("weight":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]})";
const std::string kBias = R"("bias":{"dtype":"F32","shape":[1],"data_offsets":[8,12]})";
const std::string kHeader = "{" + kWeight + "," + kBias + "}";
const std::string kData = floats({1.5f, -2.5f, 3.5f});

/// The text with its first `from` replaced.
std::string with(std::string text, const std::string& from, const std::string& to) {
    const size_t at = text.find(from);
    REQUIRE(at != std::string::npos);
    return text.replace(at, from.size(), to);
}

/// Loading these bytes throws an Error of one line that has the path and `reason` in it, and
/// changes nothing.
void check_refused(const std::string& bytes, const std::string& reason) {
    CAPTURE(reason);
    const TempDirectory directory("safetensors-refused");
    const auto path = directory / "hostile.safetensors";
    test::write_bytes(path, bytes);
    nn::Linear model(2, 1);
    model.init(3);
    const std::string before = bits(model);
    std::string message;
    try {
        load_safetensors(path, model);
    } catch (const Error& error) {
        message = error.what();
    }
    CAPTURE(message);
    CHECK(message.starts_with("[load_safetensors] \"" + path.string() + "\": "));
    CHECK(message.find(reason) != std::string::npos);
    CHECK(message.find('\n') == std::string::npos);
    CHECK(message.size() < 1200);
    CHECK(bits(model) == before);
}

void check_header_refused(const std::string& header, const std::string& reason) {
    check_refused(file_of(header, kData), reason);
}

/// Replaces a part of the good header.
void check_change_refused(const std::string& from, const std::string& to,
                          const std::string& reason) {
    check_header_refused(with(kHeader, from, to), reason);
}

void check_loads(const std::string& header) {
    CAPTURE(header);
    const TempDirectory directory("safetensors-loads");
    test::write_bytes(directory / "model.safetensors", file_of(header, kData));
    nn::Linear model(2, 1);
    CHECK_NOTHROW(load_safetensors(directory / "model.safetensors", model));
    CHECK(bits(model) == kData);
}

}  // namespace

TEST_CASE("safetensors: any JSON spelling of a good header is read") {
    check_loads(kHeader);
    check_loads(kHeader + "  \t\n\r ");
    check_loads("{" + kBias + "," + kWeight + "}");
    check_loads(with(kHeader, ",", " \n,\t\r") + " ");
    check_loads(with(kHeader, "[1,2]", "[ 1 , 2 ]"));
    check_loads(with(kHeader, "\"weight\"", R"("\u0077ei\u0067ht" )"));
    check_loads(
        with(kHeader, R"("dtype":"F32","shape":[1])", R"("shape":[1],"dtype":"\u00463\u0032")"));
    check_loads(with(kHeader, "{", R"({"__metadata__":{},)"));
    check_loads(with(kHeader, "}}", R"(},"__metadata__":{"a\ud83e\udd5a\/\b":"","":"\"\\\n"}})"));
}

TEST_CASE("safetensors: damaged files are refused") {
    check_refused("", "has 0 bytes");
    check_refused("1234567", "has 7 bytes");
    check_refused(length_field(0), "does not begin with '{'");
    check_refused(length_field(9) + "{}", "9 bytes long but only 2 follow");
    check_refused(length_field(100'000'000) + "{}", "100000000 bytes long but only 2 follow");
    check_refused(length_field(100'000'001) + "{}", "limit of 100000000");
    check_refused(length_field(~uint64_t{0}) + "{}", "limit of 100000000");
    check_refused(length_field(~uint64_t{0} - 7) + "{}", "limit of 100000000");
    check_refused(file_of(kHeader, kData + "x"),
                  "end at byte 12 of the data but the file holds 13");
    check_refused(file_of(kHeader, kData.substr(1)), "holds only 11 bytes");
    check_refused(file_of("{}", ""), "lacks \"weight\", \"bias\"");
    check_refused(file_of("{}", "data"), "end at byte 0");
}

TEST_CASE("safetensors: a header above the limit is refused unread") {
    const TempDirectory directory("safetensors-huge");
    const auto path = directory / "huge.safetensors";
    test::write_bytes(path, length_field(100'000'001) + kHeader);
    std::filesystem::resize_file(path, 200'000'000);  // sparse
    nn::Linear model(2, 1);
    const std::string before = bits(model);
    CHECK_THROWS_WITH_AS(load_safetensors(path, model),
                         doctest::Contains("100000001 bytes long, above"), Error);
    CHECK(bits(model) == before);
}

TEST_CASE("safetensors: what is not the header's JSON is refused") {
    check_header_refused(" " + kHeader, "does not begin with '{'");
    check_header_refused("[]", "does not begin with '{'");
    check_header_refused("{", "expected a string but found the end");
    check_header_refused(kHeader + "}", "expected the end but found \"}\"");
    check_header_refused(kHeader + std::string(8, '\0'), "expected the end but found \"\\x00\"");
    check_header_refused("{" + kWeight + "," + kBias + ",}", "expected a string but found \"}\"");
    check_header_refused("{" + kWeight + " " + kBias + "}", "expected ',' or '}'");
    check_header_refused("{\"weight\":" + std::string(90'000, '['), "expected an object");
    std::string nested = "{";
    for (int i = 0; i < 90'000; ++i) nested += "\"a\":{";
    check_header_refused(nested, "unknown key \"a\"");
    check_header_refused("{\"weight\":null}", "expected an object but found \"n\"");
    check_change_refused("\"dtype\"", "dtype", "expected a string but found \"d\"");
    check_change_refused("\"dtype\":", "\"dtype\"", "expected ':'");
    check_change_refused("[1,2]", "[1,2,]", "expected a number but found \"]\"");
    check_change_refused("[1,2]", "[1 2]", "expected ',' or ']'");
    check_change_refused("[1,2]", "2", "expected a list");
    check_change_refused("[1,2]", "[[1,2]]", "expected a number but found \"[\"");
    check_change_refused("[1,2]", "[\"1\",2]", "expected a number");
    check_change_refused("[1,2]", "[-1,2]", "negative");
    check_change_refused("[1,2]", "[1.0,2]", "fraction or an exponent");
    check_change_refused("[1,2]", "[1,2e0]", "fraction or an exponent");
    check_change_refused("[1,2]", "[01,2]", "starts with 0");
    check_change_refused("[1,2]", "[1,9223372036854775808]", "too large");
    check_change_refused("[1,2]", "[1,99999999999999999999999]", "too large");
    check_change_refused("[0,8]", "[0,18446744073709551624]", "too large");
    check_change_refused("weight", "we\x01ght", "control character");
    check_change_refused("weight", "we\xC3(ght", "not UTF-8");
    check_change_refused("weight", "we\xC0\xA9ght", "not UTF-8");
    check_change_refused("weight", "we\xED\xA0\x80ght", "not UTF-8");
    check_change_refused("weight", "we\xF4\x90\x80\x80ght", "not UTF-8");
    check_change_refused("weight", R"(we\ight)", "unknown escape of \"i\"");
    check_change_refused("weight", R"(we\u00g9ght)", "four hexadecimal digits");
    check_change_refused("weight", R"(we\ud83eght)", "surrogate");
    check_change_refused("weight", R"(we\ud83e\u0041ght)", "surrogate");
    check_change_refused("weight", R"(we\udd5a\ud83eght)", "surrogate");
    check_header_refused("{\"weight", "does not end");
    check_header_refused("{\"weight\\", "unknown escape of the end");
    check_header_refused("{\"weight\\ud8", "four hexadecimal digits");
}

TEST_CASE("safetensors: entries that contradict themselves or each other are refused") {
    check_header_refused("{" + kWeight + "," + kWeight + "," + kBias + "}",
                         "two tensors are named \"weight\"");
    check_header_refused(with(kHeader, "bias", R"(w\u0065ight)"), "two tensors are named");
    check_change_refused("\"shape\"", R"("dtype":"F32","shape")", "\"dtype\" twice");
    check_change_refused("\"shape\"", R"("shape":[1],"shape")", "\"shape\" twice");
    check_change_refused("[0,8]", R"([0,8],"data_offsets":[0,8])", "\"data_offsets\" twice");
    check_change_refused(R"("dtype":"F32",)", "", "\"weight\" has no \"dtype\"");
    check_change_refused(R"("shape":[1,2],)", "", "\"weight\" has no \"shape\"");
    check_change_refused(R"(,"data_offsets":[0,8])", "", "\"weight\" has no \"data_offsets\"");
    check_change_refused("\"shape\"", R"("strides":[1],"shape")", "unknown key \"strides\"");
    check_change_refused("F32", "f32", "unknown dtype \"f32\"");
    check_change_refused("F32", "", "unknown dtype \"\"");
    check_change_refused("F32", "F64", "takes 16 bytes");
    check_change_refused("F32", "F4", "takes 1 bytes");
    check_change_refused("[0,8]", "[]", "fewer than two");
    check_change_refused("[0,8]", "[0]", "fewer than two");
    check_change_refused("[0,8]", "[0,8,8]", "more than two");
    check_change_refused("[0,8]", "[8,0]", "ends before it begins");
    check_change_refused("[0,8]", "[0,9]", "takes 8 bytes but has data_offsets (0,9)");
    check_change_refused("[8,12]", "[8,16]", "holds only 12 bytes");
    check_change_refused("[8,12]", "[9223372036854775803,9223372036854775807]", "holds only 12");
    check_change_refused("[8,12]", "[4,8]", "overlaps");
    check_change_refused("[8,12]", "[0,4]", "overlaps");
    check_refused(file_of(with(kHeader, "[8,12]", "[12,16]"), kData + "hole"), "hole from 8");
    check_refused(
        file_of(with(with(kHeader, "[0,8]", "[4,12]"), "[8,12]", "[12,16]"), kData + "hole"),
        "hole from 0");
    check_change_refused("[1,2]", "[4611686018427387904,4611686018427387904]", "overflows");
    check_change_refused("[1,2]", "[4294967296,4294967296]", "overflows");
    check_change_refused("[1,2]", "[1,2,2305843009213693952]", "overflows");
    std::string axes = "[1,2";
    for (int i = 0; i < 70; ++i) axes += ",1";
    check_change_refused("[1,2]", axes + "]", "more than 64 axes");

    const std::string open = "{\"__metadata__\":";
    const std::string rest = "," + kWeight + "," + kBias + "}";
    check_header_refused(open + "[]" + rest, "expected an object");
    check_header_refused(open + "null" + rest, "expected an object");
    check_header_refused(open + "{\"a\":1}" + rest, "expected a string");
    check_header_refused(open + "{\"a\":{}}" + rest, "expected a string");
    check_header_refused(open + R"({"a":"1","\u0061":"2"})" + rest, "\"a\" twice");
    check_header_refused(open + "{},\"__metadata__\":{}" + rest, "\"__metadata__\" twice");
}

TEST_CASE("safetensors: files of another model are refused") {
    check_change_refused("weight", "wéight", "lacks \"weight\"; has surplus \"wéight\"");
    check_change_refused("weight", R"(line\nbreak)", "\"line\\x0abreak\"");
    check_change_refused("weight", std::string(50'000, 'w'), "\"...");
    check_change_refused("[1,2]", "[2,1]", "\"weight\" is (2,1) in the file but should be (1,2)");
    check_change_refused("[1,2]", "[2]", "\"weight\" is (2) in the file");
    check_change_refused(R"(F32","shape":[1])", R"(I32","shape":[1])",
                         "\"bias\" is I32 in the file but should be F32");
    check_refused(file_of("{" + kBias + "}", kData), "hole");
    check_refused(file_of("{" + kWeight + "}", kData.substr(0, 8)), "lacks \"bias\"");
    check_refused(file_of(with(kHeader, "{",
                               R"({"empty":{"dtype":"F32","shape":[0],"data_offsets":[12,12]},)"),
                          kData),
                  "has surplus \"empty\"");
    std::string many = "{";
    for (int i = 0; i < 1000; ++i) {
        many += "\"name " + std::to_string(i) +
                R"(":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},)";
    }
    check_header_refused(many + kWeight + "," + kBias + "}", "and 992 more");
}

TEST_CASE("safetensors: values that are not finite are refused") {
    const float nan = std::numeric_limits<float>::quiet_NaN();
    const float infinity = std::numeric_limits<float>::infinity();
    check_refused(file_of(kHeader, floats({1, nan, 2})), "tensor \"weight\" is nan at element 1");
    check_refused(file_of(kHeader, floats({1, 2, -infinity})),
                  "tensor \"bias\" is -inf at element 0");
}
