// SPDX-License-Identifier: MIT
// Modules as owners of parameters: names, order, aliasing, initial values, moves and copies.
#include "tests/errors.h"
#include "tests/model_bits.h"
#include "tests/temp_directory.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

using namespace eggroll;
using namespace eggroll::test;

// Models move and never copy by accident; clone() says so.
static_assert(!std::is_copy_constructible_v<nn::Linear>);
static_assert(!std::is_copy_assignable_v<nn::Linear>);
static_assert(!std::is_copy_constructible_v<nn::Sequential>);
static_assert(!std::is_copy_assignable_v<nn::Sequential>);
static_assert(!std::is_copy_constructible_v<nn::ReLU>);
static_assert(std::is_nothrow_move_constructible_v<nn::Linear>);
static_assert(std::is_nothrow_move_assignable_v<nn::Linear>);
static_assert(std::is_nothrow_move_constructible_v<nn::Sequential>);
static_assert(std::is_nothrow_move_assignable_v<nn::Sequential>);
static_assert(std::is_move_constructible_v<nn::LayerNorm>);
static_assert(std::is_move_constructible_v<nn::ReLU>);
static_assert(std::has_virtual_destructor_v<nn::Module>);
static_assert(std::is_abstract_v<nn::Module>);
// Layers move into a Sequential, from temporaries or by std::move; nothing else does.
static_assert(std::is_constructible_v<nn::Sequential, nn::Linear, nn::ReLU>);
static_assert(std::is_constructible_v<nn::Sequential, nn::Linear&&>);
static_assert(!std::is_constructible_v<nn::Sequential, nn::Linear&>);
static_assert(!std::is_constructible_v<nn::Sequential, const nn::Linear&>);
static_assert(!std::is_constructible_v<nn::Sequential, nn::Linear, nn::ReLU&>);
static_assert(!std::is_constructible_v<nn::Sequential, nn::Sequential&>);
static_assert(!std::is_constructible_v<nn::Sequential, int>);
static_assert(!std::is_constructible_v<nn::Sequential, Tensor>);
static_assert(!std::is_convertible_v<nn::Linear, nn::Sequential>);

namespace {

using Values = std::vector<float>;

std::vector<std::string> names_of(const nn::Module& model) {
    std::vector<std::string> names;
    for (const Parameter& parameter : model.parameters()) {
        names.push_back(parameter.name + " " + to_string(parameter.value.shape()));
    }
    return names;
}

/// One vector parameter of a given initialiser, noise and shape.
class Single : public nn::Module {
public:
    Single(const Shape& shape, Initializer init, const std::string& name = "p") {
        value_ = register_parameter(name, shape, std::move(init));
    }
    Tensor forward(const Tensor& x, const View&) const override { return x; }
    const Tensor& value() const { return value_; }

private:
    Tensor value_;
};

/// Registers what the test says.
class Custom : public nn::Module {
public:
    Tensor forward(const Tensor& x, const View&) const override { return x; }
    using Module::register_module;
    using Module::register_parameter;
};

Values words_as_units(const NoiseStream& stream, size_t n) {
    std::vector<uint32_t> words(n);
    fill_words(stream, 0, words);
    Values units;
    for (const uint32_t word : words) units.push_back(static_cast<float>(word >> 8) * 0x1p-24f);
    return units;
}

}  // namespace

// --- Parameters ---------------------------------------------------------------------------------

TEST_CASE("module: parameters by name, in order, PyTorch's") {
    nn::Sequential model(nn::Linear(4, 6), nn::ReLU(), nn::LayerNorm(6),
                         nn::Sequential(nn::Linear(6, 5, false), nn::Tanh(), nn::Linear(5, 5)),
                         nn::Softmax(), nn::Linear(5, 2));
    CHECK(names_of(model) ==
          std::vector<std::string>{"0.weight (6,4)", "0.bias (6)", "2.weight (6)", "2.bias (6)",
                                   "3.0.weight (5,6)", "3.2.weight (5,5)", "3.2.bias (5)",
                                   "5.weight (2,5)", "5.bias (2)"});
    const std::vector<Parameter> all = model.parameters();
    CHECK(all[0].noise.rows == 6);
    CHECK(all[0].noise.cols == 4);
    CHECK_FALSE(all[1].noise.is_matrix());
    CHECK_FALSE(all[2].noise.is_matrix());
    CHECK(nn::ReLU().parameters().empty());
    CHECK(model.size() == 6);
    CHECK(model[1].activation() == Act::relu);
    CHECK(model[0].activation() == Act::none);
}

TEST_CASE("module: values alias the model's storage") {
    nn::Sequential model(nn::Linear(2, 1), nn::Sequential(nn::Linear(1, 1)));
    const Tensor x = Tensor::from({1, 2}, {1, 2});
    model.parameters()[0].value.assign(Tensor::from({1, 2}, {3, 4}));
    model.parameters()[1].value.data()[0] = 5;
    model.parameters()[2].value.data()[0] = 2;
    model.parameters()[3].value.data()[0] = 1;
    CHECK(model(x).item() == 2.0f * (3 + 8 + 5) + 1);
    const std::vector<Parameter> held = model.parameters();
    model.init(1);
    CHECK(host(held[0].value) == host(model.parameters()[0].value));
    nn::Linear layer(3, 2);
    layer.parameters()[1].value.data()[1] = 9;
    CHECK(layer.bias().data()[1] == 9.0f);
}

TEST_CASE("module: a registration that makes no sense is refused and changes nothing") {
    Custom model;
    model.register_parameter("a", {2, 3}, nn::init::ones());
    check_refused([&] { model.register_parameter("a", {4}, nn::init::ones()); },
                  {"[register_parameter]", "\"a\""});
    check_refused(
        [&] {
            model.register_parameter("b", {0, 3}, nn::init::ones());
        },
        {"[register_parameter]", "\"b\"", "(0,3)"});
    check_refused([&] { model.register_parameter("b", {-2}, nn::init::ones()); }, {"(-2)"});
    check_refused(
        [&] {
            model.register_parameter("b", {2, 3}, nn::init::ones(), {2, 4});
        },
        {"[register_parameter]", "\"b\"", "(2,3)", "(2,4)"});
    check_refused(
        [&] {
            model.register_parameter("b", {6}, nn::init::ones(), {2, -3});
        },
        {"[register_parameter]", "\"b\"", "(6)"});
    CHECK(names_of(model) == std::vector<std::string>{"a (2,3)"});
    model.register_parameter("b", {6}, nn::init::ones(), {2, 3});
    CHECK(model.parameters()[1].noise.rows == 2);
    model.register_parameter("c", {2, 3}, nn::init::ones(), NoiseShape{});
    CHECK_FALSE(model.parameters()[2].noise.is_matrix());
    model.register_parameter("scalar", {}, nn::init::constant(3.0f));
    CHECK(model.parameters()[3].value.item() == 3.0f);
    CHECK(host(model.register_parameter("plain", {2}, {})) == Values{0, 0});
}

// Two parameters of one name could not be told apart in a file, or by a filter.
TEST_CASE("module: a name that is taken is refused for inner layers too") {
    Custom model;
    const nn::Linear first(2, 3), second(2, 3);
    model.register_module("a", first);
    check_refused([&] { model.register_module("a", second); }, {"[register_module]", "\"a"});
    check_refused([&] { model.register_parameter("a.weight", {2}, nn::init::ones()); },
                  {"[register_parameter]", "\"a.weight\""});
    CHECK(names_of(model) == std::vector<std::string>{"a.weight (3,2)", "a.bias (3)"});
}

TEST_CASE("module: tied weights are one parameter, under their first name") {
    const nn::Linear shared(3, 3);
    Custom model;
    model.register_module("encoder", shared);
    model.register_module("decoder", shared);
    model.register_parameter("extra", {2}, nn::init::ones());
    CHECK(names_of(model) ==
          std::vector<std::string>{"encoder.weight (3,3)", "encoder.bias (3)", "extra (2)"});
    Custom outer;
    outer.register_module("x", model);
    outer.register_module("y", shared);
    CHECK(names_of(outer).size() == 3);
    CHECK(names_of(outer)[1] == "x.encoder.bias (3)");
}

// --- Initial values -----------------------------------------------------------------------------

TEST_CASE("module: initial values are a function of seed, parameter and shape") {
    const auto make = [] { return nn::Sequential(nn::Linear(7, 5), nn::ReLU(), nn::Linear(5, 3)); };
    nn::Sequential model = make(), same = make();
    const std::string fresh = bits(model);
    CHECK((bits(same) == fresh));
    model.init();
    CHECK((bits(model) == fresh));  // seed 0 is what a fresh model has
    model.init(1);
    CHECK((bits(model) != fresh));
    same.init(1);
    CHECK((bits(same) == bits(model)));
    for (Parameter& parameter : model.parameters()) {
        parameter.value.assign(Tensor::full(parameter.value.shape(), 9.0f));
    }
    model.init(1);
    CHECK((bits(same) == bits(model)));  // whatever was there before
    for (const uint64_t seed : {uint64_t{2}, uint64_t{1} << 32, ~uint64_t{0}}) {
        model.init(seed);
        CHECK((bits(model) != bits(same)));
    }

    // By the public noise: uniform in ±1/√fan_in from the words of generation 2^32 − 1, pair 0.
    model.init(123);
    for (size_t i = 0; i < 4; ++i) {
        const Tensor value = model.parameters()[i].value;
        const float bound = 1.0f / std::sqrt(i < 2 ? 7.0f : 5.0f);
        Values want = words_as_units({.seed = 123,
                                      .parameter = static_cast<uint32_t>(i),
                                      .pair = 0,
                                      .generation = kInitGeneration},
                                     static_cast<size_t>(value.size()));
        for (float& v : want) v = (2 * v - 1) * bound;
        CHECK(host(value) == want);
    }
    // Nothing else counts: not the layers after it, nor how they are nested.
    nn::Sequential longer(nn::Linear(7, 5), nn::Linear(5, 3), nn::Linear(3, 40));
    nn::Sequential nested(nn::Sequential(nn::Linear(7, 5), nn::Tanh()),
                          nn::Sequential(nn::Sequential(nn::Linear(5, 3))));
    longer.init(123);
    nested.init(123);
    for (size_t i = 0; i < 4; ++i) {
        CHECK(host(longer.parameters()[i].value) == host(model.parameters()[i].value));
        CHECK(host(nested.parameters()[i].value) == host(model.parameters()[i].value));
    }
}

TEST_CASE("module: fresh layers get fresh values as parts of a model") {
    nn::Sequential twins(nn::Linear(4, 4), nn::Linear(4, 4));
    const std::vector<Parameter> p = twins.parameters();
    CHECK(host(p[0].value) != host(p[2].value));
    CHECK(host(p[1].value) != host(p[3].value));
    nn::Sequential deep(nn::Sequential(nn::Linear(4, 4)), nn::Sequential(nn::Linear(4, 4)));
    CHECK((bits(deep) == bits(twins)));
    const std::string before = bits(twins);
    twins.init(0);
    CHECK((bits(twins) == before));
    // Looking at values is not writing them.
    nn::Linear seen(4, 4);
    CHECK(seen.weight().data()[0] != 0.0f);
    seen(host_random_tensor({2, 4}));
    nn::Sequential one(nn::Linear(4, 4), std::move(seen));
    CHECK((bits(one) == before));
}

TEST_CASE("module: layers that were written to keep their values as parts of a model") {
    const TempDirectory directory("module");
    const nn::Linear source = [] {
        nn::Linear layer(4, 4);
        layer.init(77);
        return layer;
    }();
    save_safetensors(directory / "layer.safetensors", source);
    const std::vector<std::pair<std::string, std::function<void(nn::Linear&)>>> ways = {
        {"data", [](nn::Linear& layer) { layer.parameters()[0].value.data()[3] = 4.0f; }},
        {"assign",
         [](nn::Linear& layer) { layer.parameters()[1].value.assign(Tensor::full({4}, 2.0f)); }},
        {"alias",
         [](nn::Linear& layer) { layer.parameters()[0].value.reshape({16}).data()[0] = 1.0f; }},
        {"copy_from", [&](nn::Linear& layer) { layer.copy_from(source); }},
        {"load",
         [&](nn::Linear& layer) { load_safetensors(directory / "layer.safetensors", layer); }},
        {"train",
         [](nn::Linear& layer) {
             Eggroll es(layer, {.pop_size = 4});
             es.ask();
             es.tell({1, 2, 3, 4});
         }},
    };
    for (const auto& way : ways) {
        const auto& name = way.first;
        const auto& write = way.second;
        CAPTURE(name);
        nn::Linear layer(4, 4);
        write(layer);
        const std::vector<Values> before = values_of(layer);
        nn::Sequential model(nn::Linear(4, 4), nn::ReLU(), std::move(layer));
        const std::vector<Values> all = values_of(model);
        CHECK(std::vector<Values>(all.begin() + 2, all.end()) == before);
        nn::Sequential outer(nn::ReLU(), std::move(model));
        CHECK(values_of(outer) == all);
        outer.init(0);  // asked for, all is drawn anew
        CHECK((bits(outer) == bits(nn::Sequential(nn::Linear(4, 4), nn::Linear(4, 4)))));
    }
}

// A seed that somebody asked for is as good as a value that somebody wrote.
TEST_CASE("module: layers drawn from a seed keep their values as parts of a model") {
    nn::Linear layer(4, 4);
    layer.init(77);
    const std::vector<Values> before = values_of(layer);
    const nn::Sequential model(nn::Linear(4, 4), std::move(layer));
    const std::vector<Values> all = values_of(model);
    CHECK(std::vector<Values>(all.begin() + 2, all.end()) == before);
}

TEST_CASE("module: initialisers by their distributions") {
    constexpr int64_t kRows = 500, kCols = 400;
    constexpr double kCount = 200000;
    struct Law {
        std::string name;
        Initializer init;
        double mean, std, kurtosis, bound;  // fourth moment / variance²; bound 0: none
    };
    const auto uniform = [](const char* name, Initializer init, double bound) {
        return Law{name, std::move(init), 0, bound / std::sqrt(3.0), 1.8, bound};
    };
    const std::vector<Law> laws = {
        uniform("uniform", nn::init::uniform(0.25f), 0.25),
        uniform("fan_in_uniform", nn::init::fan_in_uniform(400), 0.05),
        uniform("xavier_uniform", nn::init::xavier_uniform(), std::sqrt(6.0 / 900)),
        uniform("xavier_uniform 2", nn::init::xavier_uniform(2.0f), 2 * std::sqrt(6.0 / 900)),
        {"normal", nn::init::normal(0.5f, 2.0f), 2, 0.5, 3, 0},
        {"kaiming_normal", nn::init::kaiming_normal(), 0, std::sqrt(2.0 / 400), 3, 0},
        {"kaiming_normal 1", nn::init::kaiming_normal(1.0f), 0, std::sqrt(1.0 / 400), 3, 0},
    };
    for (const Law& law : laws) {
        CAPTURE(law.name);
        const Single model({kRows, kCols}, law.init);
        double mean = 0, second = 0, fourth = 0, largest = 0, smallest = 0;
        for (const float v : model.value().data()) {
            const double x = static_cast<double>(v), d = x - law.mean;
            mean += d / kCount;
            second += d * d / kCount;
            fourth += d * d * d * d / kCount;
            largest = std::max(largest, x);
            smallest = std::min(smallest, x);
        }
        // Five standard errors: of the mean σ/√n, of the variance σ²·√((κ − 1)/n); the fourth
        // moment's own eighth moment is 105 σ⁸ at most (the normal's).
        const double variance = law.std * law.std, root = std::sqrt(kCount);
        CHECK(std::fabs(mean) <= 5 * law.std / root);
        CHECK(std::fabs(second - variance) <= 5 * variance * std::sqrt(law.kurtosis - 1) / root);
        CHECK(std::fabs(fourth - law.kurtosis * variance * variance) <=
              5 * std::sqrt(105.0) * variance * variance / root);
        if (law.bound == 0) continue;
        // Within the bound as a float, and 200000 draws come closer to it than 1e-4 of the range
        // but with probability e^-20.
        CHECK(largest <= static_cast<double>(static_cast<float>(law.bound)) * (1 + 0x1p-23));
        CHECK(-smallest <= static_cast<double>(static_cast<float>(law.bound)) * (1 + 0x1p-23));
        CHECK(largest >= law.bound * (1 - 2e-4));
        CHECK(-smallest >= law.bound * (1 - 2e-4));
    }
    for (const float v : Single({3, 4}, nn::init::constant(2.5f)).value().data()) CHECK(v == 2.5f);
    for (const float v : Single({3, 4}, nn::init::zeros()).value().data()) CHECK(v == 0.0f);
    for (const float v : Single({3, 4}, nn::init::ones()).value().data()) CHECK(v == 1.0f);

    // What the shipped layers have.
    for (const float v : nn::Linear(16, 50).weight().data()) CHECK(std::fabs(v) <= 0.25f);
    for (const float v : nn::Linear(16, 50).bias().data()) CHECK(std::fabs(v) <= 0.25f);
    const nn::LayerNorm norm(5);
    CHECK(values_of(norm) == std::vector<Values>{Values(5, 1.0f), Values(5, 0.0f)});
}

TEST_CASE("module: an initializer that throws passes through") {
    struct Boom {};
    CHECK_THROWS_AS(Single({3}, [](Tensor&, const NoiseStream&) { throw Boom(); }), Boom);
    Custom model;
    CHECK_THROWS_AS(
        model.register_parameter("p", {3}, [](Tensor&, const NoiseStream&) { throw Boom(); }),
        Boom);
    CHECK(model.parameters().empty());
    // One that makes a tensor of another shape is refused.
    check_refused(
        [] { Single({3}, [](Tensor& x, const NoiseStream&) { x = Tensor::zeros({4}); }); },
        {"(3)", "(4)"});
}

// --- Moves and copies ---------------------------------------------------------------------------

TEST_CASE("module: a model that was moved is the same model") {
    nn::Sequential first = here(nn::Sequential(nn::Linear(4, 6), nn::Tanh(), nn::Linear(6, 2)));
    const std::vector<Parameter> held = first.parameters();
    const std::string before = bits(first);
    const Tensor x = random_tensor({3, 4});
    const Values y = host(first(x));
    nn::Sequential second = std::move(first);
    CHECK((bits(second) == before));
    CHECK(host(second(x)) == y);
    CHECK(names_of(second).size() == 4);
    nn::Sequential third(nn::ReLU{});
    third = std::move(second);
    CHECK(host(third(x)) == y);

    // Held values are still the model's, and it trains.
    Eggroll es(third, {.pop_size = 8, .sigma = 0.1f, .lr = 0.1f});
    es.step(x, loss::mse(zeros({3, 2})));
    CHECK((bits(third) != before));
    CHECK(host(held[0].value) == host(third.parameters()[0].value));
    CHECK(host(third(x)) != y);
    // A layer moved into a Sequential too.
    nn::Linear layer(2, 2);
    const Parameter weight = layer.parameters()[0];
    nn::Sequential model(std::move(layer));
    model.parameters()[0].value.data()[0] = 5.0f;
    CHECK(weight.value.data()[0] == 5.0f);
    // And a Sequential as the only layer of another is moved, not nested.
    nn::Sequential only(nn::Sequential(nn::Linear(2, 2)));
    CHECK(names_of(only)[0] == "0.weight (2,2)");
}

TEST_CASE("module: a clone is a model of its own") {
    nn::Sequential model(nn::Linear(4, 6, false), nn::GELU(), nn::LayerNorm(6, 0.1f),
                         nn::Sequential(nn::SiLU(), nn::Linear(6, 2)), nn::Flatten(),
                         nn::Softmax());
    model.init(5);
    model.to(test_device());
    const Tensor x = random_tensor({3, 4});
    const std::unique_ptr<nn::Module> copy = model.clone();
    CHECK(names_of(*copy) == names_of(model));
    CHECK((bits(*copy) == bits(model)));
    CHECK(host((*copy)(x)) == host(model(x)));
    const std::string before = bits(model);
    Eggroll es(*copy, {.pop_size = 8, .lr = 1.0f});
    es.step(x, loss::mse(zeros({3, 2})));
    CHECK((bits(*copy) != before));
    CHECK((bits(model) == before));
    model.init(6);
    CHECK((bits(*copy) != bits(model)));
    const auto again = copy->clone();
    CHECK((bits(*again) == bits(*copy)));
}

TEST_CASE("module: copy_from copies values, or refuses and changes nothing") {
    nn::Sequential to(nn::Linear(4, 6), nn::Linear(6, 2)), from(nn::Linear(4, 6), nn::Linear(6, 2));
    from.init(9);
    to.copy_from(from);
    CHECK((bits(to) == bits(from)));
    to.copy_from(to);
    CHECK((bits(to) == bits(from)));
    from.init(10);
    CHECK((bits(to) != bits(from)));

    const std::string before = bits(to);
    const nn::Sequential fewer(nn::Linear(4, 6)), wide(nn::Linear(4, 6), nn::Linear(6, 3)),
        named(nn::Linear(4, 6), nn::ReLU(), nn::Linear(6, 2)),
        ordered(nn::Linear(6, 4), nn::Linear(6, 2));
    check_refused([&] { to.copy_from(fewer); }, {"[copy_from]", "4", "2"});
    check_refused([&] { to.copy_from(wide); }, {"[copy_from]", "\"1.weight\"", "(2,6)", "(3,6)"});
    check_refused([&] { to.copy_from(named); }, {"[copy_from]", "\"1.weight\"", "\"2.weight\""});
    check_refused([&] { to.copy_from(ordered); },
                  {"[copy_from]", "\"0.weight\"", "(6,4)", "(4,6)"});
    CHECK((bits(to) == before));
}

TEST_CASE("module: moving to the device it is on changes nothing") {
    nn::Linear layer(3, 2);
    const Parameter held = layer.parameters()[0];
    const std::string before = bits(layer);
    layer.to(Device::cpu());
    CHECK((bits(layer) == before));
    layer.parameters()[0].value.data()[0] = 8.0f;
    CHECK(held.value.data()[0] == 8.0f);
}
