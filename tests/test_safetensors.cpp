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
