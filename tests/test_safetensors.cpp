// SPDX-License-Identifier: MIT
#include <eggroll/safetensors.h>

#include "core/named_tensors.h"
#include "tests/model_bits.h"
#include "tests/temp_directory.h"

#include <eggroll/activation.h>
#include <eggroll/layer_norm.h>
#include <eggroll/linear.h>
#include <eggroll/sequential.h>

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>

using namespace eggroll;
using test::bits;
using test::TempDirectory;

namespace {

nn::Sequential make_model(uint64_t seed) {
    nn::Sequential model(nn::Linear(3, 4), nn::ReLU(), nn::LayerNorm(4), nn::Linear(4, 2));
    model.init(seed);
    return model;
}

}  // namespace

TEST_CASE("safetensors: what is saved is loaded, bit for bit") {
    const TempDirectory directory("safetensors-round-trip");
    const auto path = directory / "model.safetensors";
    nn::Sequential saved = make_model(1);
    Tensor weight = saved.parameters()[0].value;
    weight.data()[0] = -0.0f;
    weight.data()[1] = std::numeric_limits<float>::denorm_min();
    weight.data()[2] = std::numeric_limits<float>::max();
    save_safetensors(path, saved);

    nn::Sequential loaded = make_model(2);
    const std::vector<Parameter> aliases = loaded.parameters();
    load_safetensors(path, loaded);
    CHECK(bits(loaded) == bits(saved));
    CHECK(aliases[0].value.data()[2] == std::numeric_limits<float>::max());
    CHECK(directory.list() == std::vector<std::string>{"model.safetensors"});

    const std::string bytes = test::read_bytes(path);
    uint64_t header = 0;
    std::memcpy(&header, bytes.data(), sizeof header);
    CHECK(header % 8 == 0);
    CHECK(bytes.size() == 8 + header + bits(saved).size());
}

TEST_CASE("safetensors: values that are not finite are not saved") {
    const float nan = std::numeric_limits<float>::quiet_NaN();
    const TempDirectory directory("safetensors-finite");
    const auto path = directory / "model.safetensors";
    nn::Linear model(2, 1);
    save_safetensors(path, model);
    const std::string before = test::read_bytes(path);
    model.parameters()[1].value.data()[0] = nan;
    CHECK_THROWS_WITH_AS(save_safetensors(path, model), doctest::Contains("\"bias\" is nan"),
                         Error);
    CHECK(test::read_bytes(path) == before);
    CHECK(directory.list().size() == 1);
}

TEST_CASE("safetensors: truncated anywhere, a file is refused") {
    const TempDirectory directory("safetensors-truncated");
    const auto path = directory / "model.safetensors";
    save_safetensors(path, make_model(1));
    const std::string whole = test::read_bytes(path);
    nn::Sequential model = make_model(2);
    const std::string before = bits(model);
    for (size_t length = 0; length < whole.size(); ++length) {
        CAPTURE(length);
        test::write_bytes(path, std::string_view(whole).substr(0, length));
        CHECK_THROWS_AS(load_safetensors(path, model), Error);
        CHECK(bits(model) == before);
    }
}

TEST_CASE("safetensors: a damaged header byte is refused or means the same [host]") {
    const TempDirectory directory("safetensors-corrupt");
    const auto path = directory / "model.safetensors";
    const nn::Sequential saved = make_model(1);
    save_safetensors(path, saved);
    const std::string whole = test::read_bytes(path);
    nn::Sequential model = make_model(2);
    const std::string before = bits(model), after = bits(saved);
    REQUIRE(before != after);
    int refused = 0, loaded = 0;
    for (size_t at = 0; at < whole.size() - after.size(); ++at) {
        for (const int flip : {0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0xFF}) {
            CAPTURE(at);
            CAPTURE(flip);
            std::string bytes = whole;
            bytes[at] = static_cast<char>(bytes[at] ^ flip);
            test::write_bytes(path, bytes);
            try {
                load_safetensors(path, model);
                ++loaded;
                CHECK(bits(model) == after);
                model = make_model(2);
            } catch (const Error&) {
                ++refused;
                CHECK(bits(model) == before);
            }
        }
    }
    CHECK(refused > 1000);
    CHECK(loaded < 20);  // padding turned into other white space
}

TEST_CASE("safetensors: places that cannot be read or written") {
    const TempDirectory directory("safetensors-places");
    nn::Sequential model = make_model(1);
    const std::string before = bits(model);
    CHECK_THROWS_WITH_AS(load_safetensors(directory / "none", model),
                         doctest::Contains("No such file or directory"), Error);
    CHECK_THROWS_WITH_AS(load_safetensors(directory / "", model),
                         doctest::Contains("is a directory"), Error);
    CHECK_THROWS_WITH_AS(save_safetensors(directory / "", model),
                         doctest::Contains("is a directory"), Error);
    CHECK_THROWS_WITH_AS(save_safetensors(directory / "none/model", model),
                         doctest::Contains("[save_safetensors]"), Error);
    CHECK(bits(model) == before);
    CHECK(directory.list().empty());
}

TEST_CASE("safetensors: tensors of both types and text, for checkpoints") {
    const TempDirectory directory("safetensors-named");
    const auto path = directory / "state";
    const std::vector<detail::NamedTensor> tensors = {
        {"größe \"\\\n\x01", Tensor::from({2, 2}, {1, 2, 3, 4})},
        {"", Tensor::from_ints({3}, {-1, 0, 1 << 30})},
        {"empty", Tensor::zeros({0, 5})},
        {"scalar", Tensor::full({}, 7)},
    };
    const detail::Metadata metadata = {
        {"", "empty"}, {"key \"\\\t", "🥚\n"}, {"generation", "12"}};
    detail::save_tensors("test", path, tensors, metadata);

    const detail::TensorFile file("test", path);
    CHECK(file.metadata() == metadata);
    CHECK(file.entries().size() == 4);
    const std::vector<Tensor> values = file.read(tensors);
    REQUIRE(values.size() == 4);
    for (size_t i = 0; i < values.size(); ++i) CHECK(values[i].shape() == tensors[i].value.shape());
    const Tensor first = values[0], second = values[1];
    CHECK(first.data()[3] == 4);
    CHECK(second.ints()[2] == 1 << 30);
    CHECK(values[3].item() == 7);

    const std::string before = test::read_bytes(path);
    const auto refuse = [&](std::vector<detail::NamedTensor> bad, const char* reason) {
        CHECK_THROWS_WITH_AS(detail::save_tensors("test", path, bad), doctest::Contains(reason),
                             Error);
        CHECK(test::read_bytes(path) == before);
        CHECK(directory.list().size() == 1);
    };
    refuse({tensors[0], tensors[1], tensors[0]}, "two tensors are named");
    refuse({{"__metadata__", tensors[0].value}}, "may not be named");
    refuse({{"\xFF", tensors[0].value}}, "not UTF-8");
}

TEST_CASE("safetensors: what a file holds, in numbers [host]") {
    const TempDirectory directory("safetensors-info");
    const auto path = directory / "file";
    // Offsets 0, 12, 20, 26 and 32 of the data; F16 and BF16 as their bits.
    std::string json = R"({"__metadata__":{"by":"hand"},)"
                       R"("f":{"dtype":"F32","shape":[3],"data_offsets":[0,12]},)"
                       R"("h":{"dtype":"F16","shape":[2,2],"data_offsets":[12,20]},)"
                       R"("b":{"dtype":"BF16","shape":[3],"data_offsets":[20,26]},)"
                       R"("i":{"dtype":"I8","shape":[3],"data_offsets":[26,29]},)"
                       R"("t":{"dtype":"BOOL","shape":[2],"data_offsets":[29,31]},)"
                       R"("e":{"dtype":"F8_E4M3","shape":[1],"data_offsets":[31,32]},)"
                       R"("d":{"dtype":"F64","shape":[],"data_offsets":[32,40]},)"
                       R"("none":{"dtype":"F32","shape":[0],"data_offsets":[40,40]}})";
    std::string bytes;
    const auto append = [&](auto... values) {
        (bytes.append(reinterpret_cast<const char*>(&values), sizeof values), ...);
    };
    append(static_cast<uint64_t>(json.size()));
    bytes += json;
    append(1.5f, -2.5f, std::numeric_limits<float>::infinity());
    // 1, -2, the smallest above 0 (2^-24), NaN
    append(uint16_t{0x3C00}, uint16_t{0xC000}, uint16_t{0x0001}, uint16_t{0x7E01});
    append(uint16_t{0x3F80}, uint16_t{0xC040}, uint16_t{0xFF80});  // 1, -3, -inf
    append(int8_t{-128}, int8_t{127}, int8_t{4}, true, false, '8', 0.1);
    test::write_bytes(path, bytes);

    const SafetensorsInfo info = read_safetensors_info(path);
    CHECK(info.metadata == std::map<std::string, std::string>{{"by", "hand"}});
    REQUIRE(info.tensors.size() == 8);
    const auto check = [&](size_t i, const char* name, const char* dtype, Shape shape,
                           int64_t finite, double min, double max, double mean) {
        const TensorSummary& tensor = info.tensors[i];
        CAPTURE(name);
        CHECK(tensor.name == name);
        CHECK(tensor.dtype == dtype);
        CHECK(tensor.shape == shape);
        CHECK(tensor.elements == element_count(shape));
        CHECK(tensor.finite == finite);
        if (finite == 0) {
            CHECK((std::isnan(tensor.min) && std::isnan(tensor.max) && std::isnan(tensor.mean)));
            return;
        }
        CHECK(tensor.min == min);
        CHECK(tensor.max == max);
        CHECK(tensor.mean == mean);
    };
    check(0, "f", "F32", {3}, 2, -2.5, 1.5, -0.5);
    check(1, "h", "F16", {2, 2}, 3, -2, 1, (-1 + 0x1p-24) / 3);
    check(2, "b", "BF16", {3}, 2, -3, 1, -1);
    check(3, "i", "I8", {3}, 3, -128, 127, 1);
    check(4, "t", "BOOL", {2}, 2, 0, 1, 0.5);
    check(5, "e", "F8_E4M3", {1}, 0, 0, 0, 0);
    check(6, "d", "F64", {}, 1, 0.1, 0.1, 0.1);
    check(7, "none", "F32", {0}, 0, 0, 0, 0);
    CHECK_THROWS_AS(read_safetensors_info(directory / "no"), Error);
}
