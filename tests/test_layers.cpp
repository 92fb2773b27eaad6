// SPDX-License-Identifier: MIT
// The shipped layers against PyTorch's definitions in double, and every layer, shipped or of a
// user's own, against what any layer must satisfy (check_layer.h).
#include "tests/check_layer.h"
#include "tests/errors.h"
#include "tests/reference.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <vector>

using namespace eggroll;
using namespace eggroll::test;
namespace ref = eggroll::test::reference;

namespace {

std::vector<ref::Bounded> exact(std::span<const float> x) {
    std::vector<ref::Bounded> values;
    for (const float v : x) values.push_back({static_cast<double>(v), 0});
    return values;
}

/// Applies a function of one row of n values to all of x.
template <class F>
std::vector<ref::Bounded> by_rows(std::span<const float> x, size_t n, F&& row) {
    std::vector<ref::Bounded> all;
    for (size_t first = 0; first < x.size(); first += n) {
        const std::vector<ref::Bounded> y = row(exact(x.subspan(first, n)));
        all.insert(all.end(), y.begin(), y.end());
    }
    return all;
}

/// Known values, correct to the digits given.
void check_values(const Tensor& y, const std::vector<double>& want, double bound) {
    REQUIRE(y.size() == static_cast<int64_t>(want.size()));
    for (size_t i = 0; i < want.size(); ++i) {
        CAPTURE(i);
        CHECK(std::fabs(static_cast<double>(host(y)[i]) - want[i]) <= bound);
    }
}

void write(const nn::Module& model, const std::vector<std::vector<float>>& values) {
    std::vector<Parameter> parameters = model.parameters();
    REQUIRE(parameters.size() == values.size());
    for (size_t i = 0; i < values.size(); ++i) {
        parameters[i].value.assign(tensor(parameters[i].value.shape(), values[i]));
    }
}

std::vector<std::string> names_of(const nn::Module& model) {
    std::vector<std::string> names;
    for (const Parameter& parameter : model.parameters()) {
        names.push_back(parameter.name + " " + to_string(parameter.value.shape()));
    }
    return names;
}

/// Integers 0..n-1 as inputs, for layers that look rows up.
auto ids_below(int32_t n) {
    return [n](const Shape& shape, uint32_t which) {
        std::vector<uint32_t> words(static_cast<size_t>(element_count(shape)));
        fill_words({.seed = 21, .parameter = 1u << 20, .pair = which, .generation = 0}, 0, words);
        std::vector<int32_t> ids;
        for (const uint32_t word : words) {
            ids.push_back(static_cast<int32_t>(word % static_cast<uint32_t>(n)));
        }
        return int_tensor(shape, ids);
    };
}

// --- Layers of a user's own ---------------------------------------------------------------------

template <class Layer>
std::unique_ptr<nn::Module> copied(Layer copy, const nn::Module& from) {
    copy.copy_from(from);
    return std::make_unique<Layer>(std::move(copy));
}

/// The example of module.h.
class Gated : public nn::Module {
public:
    Gated(int64_t in, int64_t out) : value_(in, out), gate_(in, out) {
        register_module("value", value_);
        register_module("gate", gate_);
    }
    Tensor forward(const Tensor& x, const View& v) const override {
        return value_.forward(x, v) * sigmoid(gate_.forward(x, v));
    }
    std::unique_ptr<nn::Module> clone() const override {
        return copied(Gated(value_.inputs(), value_.outputs()), *this);
    }

private:
    nn::Linear value_, gate_;
};

/// Vector parameters: a gain of two axes by `perturbed`, a bias by `add`.
class Affine : public nn::Module {
public:
    Affine() {
        gain_ = register_parameter("gain", {2, 3}, nn::init::normal(0.5f, 1.0f), NoiseShape{});
        bias_ = register_parameter("bias", {6}, nn::init::normal(1.0f));
    }
    /// x (B,6) -> (B,6)
    Tensor forward(const Tensor& x, const View& v) const override {
        const Tensor scaled = reshape(x, {-1, 2, 3}) * perturbed(gain_, v);
        return add(reshape(scaled, {-1, 6}), bias_, v);
    }
    std::unique_ptr<nn::Module> clone() const override { return copied(Affine(), *this); }

private:
    Tensor gain_, bias_;
};

/// Mean of embedded tokens, then logits by the same table: tied weights.
class Tokens : public nn::Module {
public:
    Tokens() { table_ = register_parameter("table", {11, 5}, nn::init::normal(0.4f)); }
    /// ids (B,T) -> (B,11)
    Tensor forward(const Tensor& ids, const View& v) const override {
        return linear(mean(embedding(ids, table_, v), -2), table_, Tensor(), v);
    }
    std::unique_ptr<nn::Module> clone() const override { return copied(Tokens(), *this); }

private:
    Tensor table_;
};

/// Self-attention over T steps with two heads.
class Attention : public nn::Module {
public:
    Attention() : project_(6, 18), out_(6, 6) {
        register_module("project", project_);
        register_module("out", out_);
    }
    /// x (B,T,6) -> (B,T,6)
    Tensor forward(const Tensor& x, const View& v) const override {
        const Tensor qkv = project_.forward(x, v);
        std::vector<Tensor> heads;
        for (int64_t first : {0, 3}) {
            const Tensor q = slice(qkv, -1, first, first + 3);
            const Tensor k = slice(qkv, -1, first + 6, first + 9);
            const Tensor value = slice(qkv, -1, first + 12, first + 15);
            const Tensor scores = matmul(q, transpose(k, -1, -2)) / std::sqrt(3.0f);
            heads.push_back(matmul(softmax(scores), value));
        }
        return out_.forward(concat(heads, -1), v);
    }
    std::unique_ptr<nn::Module> clone() const override { return copied(Attention(), *this); }

private:
    nn::Linear project_, out_;
};

/// A recurrent net that starts from a shared state: h = tanh(U x_t + V h).
class Recurrent : public nn::Module {
public:
    Recurrent() : input_(3, 4), state_(4, 4, false) {
        register_module("input", input_);
        register_module("state", state_);
    }
    /// x (B,T,3) -> (B,4)
    Tensor forward(const Tensor& x, const View& v) const override {
        const Shape part = x.part_shape();
        Tensor h = Tensor::zeros({part[0], 4}, x.device());
        for (int64_t t = 0; t < part[1]; ++t) {
            const Tensor now = reshape(slice(x, 1, t, t + 1), {part[0], 3});
            h = tanh(input_.forward(now, v) + state_.forward(h, v));
        }
        return h;
    }
    std::unique_ptr<nn::Module> clone() const override { return copied(Recurrent(), *this); }

private:
    nn::Linear input_, state_;
};

}  // namespace

// --- What any layer must satisfy ----------------------------------------------------------------

TEST_CASE("layers: check_layer for Linear") {
    struct Case {
        int64_t inputs, outputs, batch;
    };
    for (const Case& of : {Case{1, 1, 1}, Case{5, 3, 1}, Case{3, 5, 4}, Case{33, 17, 16},
                           Case{7, 70, 13}, Case{129, 2, 3}}) {
        for (const bool bias : {true, false}) {
            CAPTURE(of.inputs);
            CAPTURE(of.outputs);
            CAPTURE(bias);
            nn::Linear layer = here(nn::Linear(of.inputs, of.outputs, bias));
            layer.init(3);
            // r products more for the low-rank part.
            check_layer(layer, {of.batch, of.inputs}, {.terms = of.inputs + 3});
        }
    }
    check_layer(nn::Linear(4, 6), {3, 5, 4});  // further axes before the inputs
}

TEST_CASE("layers: check_layer for activations, Softmax and Flatten") {
    check_layer(nn::ReLU(), {5, 37});
    check_layer(nn::Tanh(), {5, 37});
    check_layer(nn::Sigmoid(), {5, 37});
    check_layer(nn::GELU(), {5, 37});
    check_layer(nn::SiLU(), {5, 37});
    check_layer(nn::Softmax(), {5, 37}, {.terms = 37});
    check_layer(nn::Flatten(), {5, 2, 3});
    check_layer(nn::Flatten(), {5, 4});
}

TEST_CASE("layers: check_layer for LayerNorm") {
    nn::LayerNorm layer(37);
    write(layer, {host(random_tensor({37}, 5)), host(random_tensor({37}, 6))});
    check_layer(layer, {5, 37}, {.terms = 37});
    check_layer(nn::LayerNorm(6, 1e-3f), {5, 2, 6});
}

TEST_CASE("layers: check_layer for Sequential") {
    const auto inner = [] {
        return nn::Sequential(nn::LayerNorm(9), nn::GELU(), nn::Linear(9, 7), nn::SiLU());
    };
    nn::Sequential model(nn::Flatten(), nn::Linear(6, 9), nn::Tanh(), inner(), nn::ReLU(),
                         nn::Linear(7, 4, false), nn::Softmax());
    model.init(8);
    check_layer(model, {5, 2, 3}, {.terms = 80});
    check_layer(nn::Sequential(nn::ReLU(), nn::ReLU()), {5, 6});
}

TEST_CASE("layers: check_layer for layers of a user's own") {
    check_layer(Gated(6, 4), {5, 6});
    check_layer(Affine(), {5, 6});
    check_layer(Tokens(), {5, 7}, {.input = ids_below(11)});
    check_layer(Attention(), {5, 4, 6}, {.terms = 64});
    check_layer(Recurrent(), {5, 3, 3}, {.terms = 64});
    check_layer(nn::Sequential(Gated(6, 6), Affine(), nn::Tanh(), nn::Linear(6, 2)), {5, 6},
                {.terms = 64});
}

// --- The layers' own mathematics ----------------------------------------------------------------

TEST_CASE("layers: Linear is x W^T + b") {
    for (const LayerCase& of : kLayerCases) {
        for (const bool bias : {true, false}) {
            CAPTURE(of.outputs);
            CAPTURE(of.inputs);
            nn::Linear layer = here(nn::Linear(of.inputs, of.outputs, bias));
            const Tensor x = random_tensor({of.batch, of.inputs});
            const auto weights = ref::centre_parameters(layer);
            const auto want = by_rows(host(x), static_cast<size_t>(of.inputs), [&](auto row) {
                return ref::linear(row, weights[0], bias ? &weights[1] : nullptr);
            });
            const Tensor y = layer(x);
            CHECK(y.shape() == Shape{of.batch, of.outputs});
            CHECK(ref::excess(host(y), want) <= 1);
        }
    }
    // By hand: W (2,3), so rows of W are outputs, as PyTorch has it.
    nn::Linear layer = here(nn::Linear(3, 2));
    CHECK(names_of(layer) == std::vector<std::string>{"weight (2,3)", "bias (2)"});
    CHECK(names_of(nn::Linear(3, 2, false)) == std::vector<std::string>{"weight (2,3)"});
    write(layer, {{1, 2, 3, 4, 5, 6}, {10, 20}});
    CHECK(host(layer(tensor({1, 3}, {1, 0, -1}))) == std::vector<float>{8, 18});
}

TEST_CASE("layers: activations at known values") {
    const Tensor x = tensor({5}, {-1.0f, 0.0f, 0.5f, 1.0f, 2.0f});
    // From tables of Φ, tanh and the logistic function, ten digits.
    check_values(nn::ReLU()(x), {0, 0, 0.5, 1, 2}, 0);
    check_values(nn::Tanh()(x), {-0.7615941560, 0, 0.4621171573, 0.7615941560, 0.9640275801},
                 2.5e-7);
    check_values(nn::Sigmoid()(x), {0.2689414214, 0.5, 0.6224593312, 0.7310585786, 0.8807970780},
                 2.5e-7);
    check_values(nn::GELU()(x), {-0.1586552539, 0, 0.3457312306, 0.8413447461, 1.9544997361},
                 2.5e-7);
    check_values(nn::SiLU()(x), {-0.2689414214, 0, 0.3112296656, 0.7310585786, 1.7615941560},
                 2.5e-7);
}

TEST_CASE("layers: LayerNorm is PyTorch's, biased variance") {
    // mean 2.5, variance 5/4: (1 − 2.5)/√1.25001 and so on.
    nn::LayerNorm layer = here(nn::LayerNorm(4));
    CHECK(names_of(layer) == std::vector<std::string>{"weight (4)", "bias (4)"});
    check_values(layer(tensor({1, 4}, {1, 2, 3, 4})),
                 {-1.3416354, -0.4472118, 0.4472118, 1.3416354}, 5e-7);
    // A constant row has variance 0: eps keeps it finite.
    check_values(layer(tensor({1, 4}, {3, 3, 3, 3})), {0, 0, 0, 0}, 0);

    for (const int64_t n : {1, 2, 7, 37, 300}) {
        for (const float eps : {1e-5f, 0.5f}) {
            for (const float offset : {0.0f, 50.0f}) {
                CAPTURE(n);
                CAPTURE(eps);
                CAPTURE(offset);
                nn::LayerNorm norm = here(nn::LayerNorm(n, eps));
                write(norm, {host(random_tensor({n}, 5)), host(random_tensor({n}, 6))});
                const Tensor x = random_tensor({3, n}, 7) * 2.0f + offset;
                const auto weights = ref::centre_parameters(norm);
                const auto want = by_rows(host(x), static_cast<size_t>(n), [&](auto row) {
                    return ref::layer_norm(row, weights[0], weights[1], static_cast<double>(eps));
                });
                CHECK(ref::excess(host(norm(x)), want) <= 1);
            }
        }
    }
}

TEST_CASE("layers: Softmax over the last axis") {
    check_values(nn::Softmax()(tensor({3}, {1, 2, 3})), {0.0900305732, 0.2447284711, 0.6652409558},
                 2.5e-7);
    const Tensor x = random_tensor({4, 3, 5}) * 3.0f;
    const Tensor y = nn::Softmax()(x);
    REQUIRE(y.shape() == x.shape());
    for (size_t row = 0; row < 12; ++row) {
        double sum = 0;
        for (size_t i = 0; i < 5; ++i) sum += std::exp(static_cast<double>(host(x)[row * 5 + i]));
        for (size_t i = 0; i < 5; ++i) {
            const double want = std::exp(static_cast<double>(host(x)[row * 5 + i])) / sum;
            // Roundings of x − max (|x − max| below 20), exp, the sum and the quotient.
            CHECK(std::fabs(static_cast<double>(host(y)[row * 5 + i]) - want) <=
                  30 * ref::kUnit * want);
        }
    }
}

TEST_CASE("layers: Flatten keeps the batch") {
    const Tensor x = random_tensor({2, 3, 4});
    const Tensor y = nn::Flatten()(x);
    CHECK(y.shape() == Shape{2, 12});
    CHECK(host(y) == host(x));
    CHECK(nn::Flatten()(per_member(x)).shape() == Shape{2, 3, 4});
    CHECK(nn::Flatten()(per_member(random_tensor({2, 3, 4, 5}))).shape() == Shape{2, 3, 20});
    CHECK(nn::Flatten()(random_tensor({5})).shape() == Shape{5});
    CHECK(nn::Flatten()(zeros({3, 0, 2})).shape() == Shape{3, 0});
}

TEST_CASE("layers: Sequential folds an activation and changes nothing by it") {
    const auto check_folded = [](const nn::Module& folded, const nn::Module& layer, Act act,
                                 const Tensor& x) {
        // Folded or not, the layer's sums of 33 products and the activation are rounded alike up
        // to the order of summation; slopes stay below 1.13.
        const Tensor got = folded(x), want = activate(layer(x), act);
        CHECK(got.shape() == want.shape());
        CHECK(got.is_per_member() == want.is_per_member());
        CHECK(layer_check::distance(host(got), host(want)) <=
              layer_check::bound({.terms = 40}, host(want)));
    };
    const auto run = [&]<Act act>(const nn::Activation<act>&) {
        for (const int64_t batch : {1, 5, 40}) {
            const Tensor x = random_tensor({batch, 33});
            const Tensor xs = per_member(random_tensor({3, batch, 33}));
            for (const Tensor& input : {x, xs}) {
                const nn::Sequential one =
                    here(nn::Sequential(nn::Linear(33, 19), nn::Activation<act>()));
                check_folded(one, one[0], act, input);
                const nn::Sequential two =
                    here(nn::Sequential(nn::LayerNorm(33), nn::Activation<act>()));
                check_folded(two, two[0], act, input);
                const nn::Sequential three = here(
                    nn::Sequential(nn::Sequential(nn::Linear(33, 7), nn::Tanh(), nn::Linear(7, 5)),
                                   nn::Activation<act>()));
                check_folded(three, three[0], act, input);
                const nn::Sequential four{nn::Tanh(), nn::Activation<act>()};
                check_folded(four, four[0], act, input);
            }
        }
    };
    run(nn::ReLU());
    run(nn::Tanh());
    run(nn::Sigmoid());
    run(nn::GELU());
    run(nn::SiLU());
    // The first layer may be an activation, and many may follow each other.
    const nn::Sequential many{nn::ReLU(), nn::Tanh(), nn::ReLU(), nn::Sigmoid()};
    check_values(many(tensor({2}, {-1.0f, 0.5f})), {0.5, 1 / (1 + std::exp(-0.4621171573))},
                 2.5e-7);
}

TEST_CASE("layers: a NaN passes through every layer, folded or not") {
    const auto check_row = [](const Tensor& y, int64_t row, int64_t rows) {
        const int64_t n = y.size() / rows;
        const std::vector<float> values = host(y);
        for (int64_t i = 0; i < y.size(); ++i) {
            const float v = values[static_cast<size_t>(i)];
            CHECK(std::isnan(v) == (i / n == row));
        }
    };
    const auto run = [&]<class Activation>(const Activation&) {
        for (const int64_t outputs : {3, 16, 37}) {
            for (const int64_t batch : {2, 5, 30}) {
                CAPTURE(outputs);
                CAPTURE(batch);
                nn::Sequential model = here(nn::Sequential(nn::Linear(6, outputs), Activation()));
                const Tensor clean = random_tensor({batch, 6});
                Tensor x = clean.clone();
                set(x, 6 + 4, kNan);  // row 1
                check_row(model(x), 1, batch);
                Eggroll es(model, {.pop_size = 6});
                const Tensor shared = es.ask().forward(x);
                for (int64_t p = 0; p < 6; ++p) {
                    check_row(tensor({batch, outputs}, part(shared, p)), 1, batch);
                }
                // One member's input.
                Tensor xs = per_member(random_tensor({6, batch, 6}));
                set(xs, (4 * batch + 1) * 6, kNan);
                check_row(es.ask().forward(xs), 4 * batch + 1, 6 * batch);
            }
        }
    };
    run(nn::ReLU());
    run(nn::Tanh());
    run(nn::Sigmoid());
    run(nn::GELU());
    run(nn::SiLU());
    Tensor x = random_tensor({3, 6});
    set(x, 7, kNan);
    check_row(here(nn::LayerNorm(6))(x), 1, 3);
    check_row(nn::Softmax()(x), 1, 3);
}

TEST_CASE("layers: the gated layer by hand") {
    Gated layer = here(Gated(2, 1));
    CHECK(names_of(layer) == std::vector<std::string>{"value.weight (1,2)", "value.bias (1)",
                                                      "gate.weight (1,2)", "gate.bias (1)"});
    write(layer, {{1, 2}, {3}, {0, 1}, {-1}});
    // (1·1 + 2·2 + 3) · sigmoid(2 − 1)
    check_values(layer(tensor({1, 2}, {1, 2})), {8 * 0.7310585786}, 2e-6);
}

// --- Refusals -----------------------------------------------------------------------------------

TEST_CASE("layers: sizes that make no layer are refused") {
    check_refused([] { nn::Linear(0, 3); }, {"[nn::Linear]", "inputs 0", "outputs 3"});
    check_refused([] { nn::Linear(3, -1); }, {"[nn::Linear]", "inputs 3", "outputs -1"});
    check_refused([] { nn::LayerNorm(0); }, {"[nn::LayerNorm]", "0"});
    check_refused([] { nn::LayerNorm(3, 0.0f); }, {"[nn::LayerNorm]", "3"});
    check_refused([] { nn::LayerNorm(3, kNan); }, {"[nn::LayerNorm]", "nan"});
    check_refused(
        [] {
            std::vector<std::unique_ptr<nn::Module>> layers;
            layers.push_back(std::make_unique<nn::ReLU>());
            layers.push_back(nullptr);
            nn::Sequential model(std::move(layers));
        },
        {"[nn::Sequential]", "layer 1"});
}

TEST_CASE("layers: an input that does not fit is refused by the parameter's name") {
    const nn::Sequential model =
        here(nn::Sequential(nn::Linear(4, 3), nn::LayerNorm(3), nn::Linear(3, 2)));
    check_refused(
        [&] {
            model(zeros({2, 5}));
        },
        {"[linear]", "\"0.weight\"", "(3,4)", "5 columns"});
    check_refused([&] { model(zeros({})); }, {"[linear]", "()"});
    check_refused([&] { model(Tensor()); }, {"[linear]"});
    check_refused([&] { model(int_tensor({1, 4}, {1, 2, 3, 4})); }, {"[linear]", "int32"});
    const nn::Sequential bad = here(nn::Sequential(nn::Linear(4, 3), nn::LayerNorm(5)));
    check_refused([&] { bad(zeros({2, 4})); }, {"[layer_norm]", "\"1.weight\"", "(5)", "(2,3)"});
    check_refused([] { nn::Softmax()(zeros({})); }, {"[softmax]", "()"});
}

TEST_CASE("layers: a layer that does not override clone() says so") {
    class Plain : public nn::Module {
    public:
        Tensor forward(const Tensor& x, const View&) const override { return x; }
    };
    check_refused([] { Plain().clone(); }, {"[clone]", "Plain"});
}
