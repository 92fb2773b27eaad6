// SPDX-License-Identifier: MIT
// Convolution and pooling against direct sums over windows in double.
#include "tests/check_layer.h"
#include "tests/errors.h"
#include "tests/reference_layers.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

using namespace eggroll;
using namespace eggroll::test;
namespace ref = eggroll::test::reference;

namespace {

struct ConvCase {
    int64_t images;
    ref::Image image;
    int64_t outputs;
    ref::Window window;
    bool bias;
};

/// Kernels of every kind of width, strides over the padding's edge, windows that see nothing but
/// padding on a side, and images that a stride does not divide.
const ConvCase kConvCases[] = {
    {1, {1, 1, 1}, 1, {{1, 1}, {1, 1}, {0, 0}}, true},
    {2, {3, 5, 6}, 4, {{3, 3}, {1, 1}, {1, 1}}, true},
    {3, {2, 7, 8}, 5, {{3, 3}, {2, 2}, {1, 1}}, false},
    {2, {2, 6, 5}, 3, {{1, 1}, {1, 1}, {0, 0}}, true},
    {2, {1, 9, 4}, 2, {{5, 2}, {3, 1}, {2, 0}}, true},
    {1, {2, 4, 13}, 3, {{2, 9}, {1, 3}, {0, 4}}, true},
    {2, {1, 3, 3}, 2, {{3, 3}, {1, 1}, {0, 0}}, false},
    {1, {1, 2, 2}, 2, {{2, 3}, {2, 3}, {3, 5}}, true},
};

nn::Conv2d layer_of(const ConvCase& of) {
    const ref::Window& w = of.window;
    return nn::Conv2d(of.image.channels, of.outputs, {w.kernel[0], w.kernel[1]},
                      {.stride = {w.stride[0], w.stride[1]},
                       .padding = {w.padding[0], w.padding[1]},
                       .bias = of.bias});
}

Shape input_shape(const ConvCase& of) {
    return {of.images, of.image.channels, of.image.height, of.image.width};
}

/// All images of x by the reference.
std::vector<ref::Bounded> expected(const ConvCase& of, std::span<const float> x,
                                   const std::vector<ref::MemberParameter>& weights) {
    const auto size = static_cast<size_t>(of.image.channels * of.image.height * of.image.width);
    std::vector<ref::Bounded> all;
    for (size_t first = 0; first < x.size(); first += size) {
        const std::vector<ref::Bounded> y =
            ref::conv2d(x.subspan(first, size), of.image, weights[0],
                        of.bias ? &weights[1] : nullptr, of.outputs, of.window);
        all.insert(all.end(), y.begin(), y.end());
    }
    return all;
}

/// Two convolutions of one input by one weight that slide differently, and one by another.
class Branches : public nn::Module {
public:
    Branches() {
        a_ = register_parameter("a", {3, 2, 3, 3}, nn::init::normal(0.2f), NoiseShape{3, 18});
        b_ = register_parameter("b", {3, 2, 3, 3}, nn::init::normal(0.2f), NoiseShape{3, 18});
    }
    /// x (B,2,5,5) -> (B,3,3)
    Tensor forward(const Tensor& x, const View& v) const override {
        const Tensor near = conv2d(x, a_, Tensor(), v, {}, Act::tanh);
        const Tensor far = conv2d(x, a_, Tensor(), v, {.stride = 2, .padding = 1});
        const Tensor other = conv2d(x, b_, Tensor(), v);
        return mean(near + far * other, -1);
    }
    std::unique_ptr<nn::Module> clone() const override {
        auto copy = std::make_unique<Branches>();
        copy->copy_from(*this);
        return copy;
    }

private:
    Tensor a_, b_;
};

nn::Sequential small_cnn() {
    return nn::Sequential(nn::Conv2d(2, 4, 3, {.stride = 2, .padding = 1}), nn::ReLU(),
                          nn::Conv2d(4, 6, 3, {.padding = 1}), nn::Tanh(), nn::MaxPool2d(2),
                          nn::Flatten(), nn::Linear(24, 3));
}

}  // namespace

TEST_CASE("windows: check_layer for Conv2d") {
    for (const ConvCase& of : kConvCases) {
        if (is_slow() && of.window.kernel[0] == 1) continue;
        CAPTURE(to_string(input_shape(of)));
        const nn::Conv2d layer = here(layer_of(of));
        check_layer(layer, input_shape(of),
                    {.terms = of.image.channels * of.window.kernel[0] * of.window.kernel[1] + 3,
                     .pop_size = is_slow() ? 10 : 22});
    }
}

TEST_CASE("windows: check_layer for networks of convolutions and pools") {
    nn::Sequential model = small_cnn();
    model.init(4);
    check_layer(model, {3, 2, 7, 8}, {.terms = 120, .pop_size = is_slow() ? 10 : 22});
    check_layer(Branches(), {3, 2, 5, 5}, {.terms = 60, .pop_size = is_slow() ? 10 : 22});
}

TEST_CASE("windows: check_layer for pools") {
    check_layer(nn::MaxPool2d(2), {3, 2, 5, 4}, {.pop_size = is_slow() ? 10 : 22});
    check_layer(nn::AvgPool2d(3, {.stride = 2, .padding = 1}), {3, 2, 5, 4},
                {.pop_size = is_slow() ? 10 : 22});
}

TEST_CASE("windows: Conv2d is PyTorch's, by hand") {
    nn::Conv2d layer = here(nn::Conv2d(1, 1, 2));
    std::vector<Parameter> parameters = layer.parameters();
    REQUIRE(parameters.size() == 2);
    CHECK(parameters[0].name == "weight");
    CHECK(parameters[0].value.shape() == Shape{1, 1, 2, 2});
    CHECK(parameters[1].name == "bias");
    CHECK(parameters[1].value.shape() == Shape{1});
    parameters[0].value.assign(tensor({1, 1, 2, 2}, {1, 2, 3, 4}));
    parameters[1].value.assign(tensor({1}, {0.5f}));
    const Tensor x = tensor({1, 1, 3, 3}, {1, 2, 3, 4, 5, 6, 7, 8, 9});
    // 1·1 + 2·2 + 3·4 + 4·5 = 37: the kernel is not turned over.
    CHECK(host(layer(x)) == std::vector<float>{37.5f, 47.5f, 67.5f, 77.5f});
    nn::Conv2d padded = here(nn::Conv2d(1, 1, 2, {.stride = 2, .padding = 1, .bias = false}));
    padded.parameters()[0].value.assign(tensor({1, 1, 2, 2}, {1, 2, 3, 4}));
    CHECK(host(padded(x)) == std::vector<float>{4, 18, 36, 77});

    const nn::Conv2d wide(3, 7, {2, 5});
    CHECK(wide.weight().shape() == Shape{7, 3, 2, 5});
    CHECK(wide.parameters()[0].noise.rows == 7);
    CHECK(wide.parameters()[0].noise.cols == 30);
    float largest = 0;
    for (const float v : host(wide.weight())) largest = std::max(largest, std::fabs(v));
    CHECK(largest <= 1 / std::sqrt(30.0f));
    CHECK(largest > 0.9f / std::sqrt(30.0f));
}

TEST_CASE("windows: Conv2d is the sum over its windows, for the centre and every member") {
    for (const ConvCase& of : kConvCases) {
        CAPTURE(to_string(input_shape(of)));
        nn::Conv2d layer = here(layer_of(of));
        const Tensor x = random_tensor(input_shape(of), 3);
        const Tensor y = layer(x);
        CHECK(y.shape() == Shape{of.images, of.outputs, of.window.out(0, of.image.height),
                                 of.window.out(1, of.image.width)});
        CHECK(ref::excess(host(y), expected(of, host(x), ref::centre_parameters(layer))) <= 1);

        const Options options{.pop_size = 6, .sigma = 0.2f, .rank = 2, .seed = 5};
        Eggroll es(layer, options);
        const Population population = es.ask();
        Shape own_shape = input_shape(of);
        own_shape.insert(own_shape.begin(), options.pop_size);
        const Tensor xs = per_member(random_tensor(own_shape, 4));
        const Tensor shared = population.forward(x), own = population.forward(xs);
        for (int64_t p = 0; p < options.pop_size; ++p) {
            const auto weights = ref::member_parameters(layer, ref::law_of(options), p, 0);
            CHECK(ref::excess(part(shared, p), expected(of, host(x), weights)) <= 1);
            CHECK(ref::excess(part(own, p), expected(of, part(xs, p), weights)) <= 1);
        }
    }
}

TEST_CASE("windows: pools against direct loops") {
    for (const ConvCase& of : kConvCases) {
        const ref::Window& w = of.window;
        if (2 * w.padding[0] > w.kernel[0] || 2 * w.padding[1] > w.kernel[1]) continue;
        CAPTURE(to_string(input_shape(of)));
        const Tensor x = random_tensor(input_shape(of), 3);
        const std::vector<float> values = host(x);
        const auto size = static_cast<size_t>(x.size() / of.images);
        for (const bool largest : {true, false}) {
            const Size2 kernel(w.kernel[0], w.kernel[1]);
            const Sliding sliding{.stride = {w.stride[0], w.stride[1]},
                                  .padding = {w.padding[0], w.padding[1]}};
            const Tensor y =
                largest ? max_pool2d(x, kernel, sliding) : avg_pool2d(x, kernel, sliding);
            CHECK(y.shape() == Shape{of.images, of.image.channels, w.out(0, of.image.height),
                                     w.out(1, of.image.width)});
            const std::vector<float> got = host(y);
            size_t at = 0;
            for (size_t first = 0; first < values.size(); first += size) {
                for (const double want :
                     ref::pool2d(largest, std::span(values).subspan(first, size), of.image, w)) {
                    // A float at most; a mean in double is rounded once, then to float.
                    CHECK(std::fabs(static_cast<double>(got[at++]) - want) <=
                          (largest ? 0.0 : 2 * ref::kUnit * std::fabs(want) + 1e-12));
                }
            }
            CHECK(at == got.size());
        }
    }
    const Tensor x = tensor({1, 2, 4}, {1, kNan, 3, 4, 5, 6, 7, 8});
    CHECK(std::isnan(host(max_pool2d(x, 2, {.stride = 2}))[0]));
    CHECK(host(max_pool2d(x, 2, {.stride = 2}))[1] == 8);
    CHECK(host(max_pool2d(full({1, 2, 2}, -3), 2, {.padding = 1})) == std::vector<float>(9, -3));
    CHECK(host(avg_pool2d(full({1, 2, 2}, 4), 2, {.stride = 2, .padding = 1})) ==
          std::vector<float>(4, 1));
    CHECK(nn::MaxPool2d(2)(zeros({3, 5, 6})).shape() == Shape{3, 2, 3});
}

TEST_CASE("windows: images without a batch, of many axes, and none") {
    const nn::Conv2d layer = here(nn::Conv2d(2, 3, 3, {.padding = 1}));
    const Tensor x = random_tensor({2, 3, 2, 4, 5});
    const Tensor y = layer(x);
    CHECK(y.shape() == Shape{2, 3, 3, 4, 5});
    CHECK(host(layer(reshape(x, {6, 2, 4, 5}))) == host(y));
    const Tensor one = reshape(slice(slice(x, 0, 1, 2), 1, 2, 3), {2, 4, 5});
    const std::vector<float> alone = host(layer(one)), all = host(y);
    REQUIRE(layer(one).shape() == Shape{3, 4, 5});
    const std::vector<float> last(all.end() - 60, all.end());
    CHECK(layer_check::distance(alone, last) <= layer_check::bound({.terms = 18}, last));
    CHECK(layer(zeros({0, 2, 4, 5})).shape() == Shape{0, 3, 4, 5});
    CHECK(max_pool2d(zeros({0, 2, 4, 5}), 2, {}).shape() == Shape{0, 2, 3, 4});
}

TEST_CASE("windows: training a network of convolutions raises its fitness and captures alike") {
    const auto run = [](bool captured) {
        nn::Sequential model = small_cnn();
        model.init(4);
        model.to(test_device());
        const Tensor x = random_tensor({4, 2, 7, 8}), target = random_tensor({4, 3}, 1);
        const float before = mse(model(x), target).item();
        Eggroll es(model, {.pop_size = 32, .sigma = 0.1f, .lr = 0.05f});
        const int steps = is_slow() ? 3 : 12;
        if (captured) {
            CapturedStep step = es.capture(x, loss::mse(target));
            for (int t = 0; t < steps; ++t) step.enqueue();
            es.wait();
        } else {
            for (int t = 0; t < steps; ++t) es.step(x, loss::mse(target));
        }
        CHECK(mse(model(x), target).item() < before);
        return bits(model);
    };
    CHECK((run(true) == run(false)));
}

TEST_CASE("windows: lower precisions are near float32, and the same on the CPU") {
    nn::Sequential model(nn::Conv2d(2, 4, 3, {.stride = 2, .padding = 1}), nn::ReLU(),
                         nn::Residual(nn::Conv2d(4, 4, 3, {.padding = 1})), nn::MaxPool2d(2),
                         nn::Flatten(), nn::RMSNorm(16), nn::Linear(16, 6),
                         nn::Residual(nn::Linear(6, 6)));
    model.init(4);
    model.to(test_device());
    const Tensor x = random_tensor({3, 2, 7, 8}),
                 xs = per_member(random_tensor({6, 3, 2, 7, 8}, 1));
    const auto run = [&](Precision precision, const Tensor& input) {
        Options options{.pop_size = 6, .sigma = 0.1f};
        options.precision = precision;
        Eggroll es(model, options);
        const Tensor y = es.ask().forward(input);
        CHECK(y.dtype() == Dtype::f32);
        return host(y);
    };
    for (const Tensor& input : {x, xs}) {
        const std::vector<float> exact = run(Precision::f32, input);
        for (const Precision precision : {Precision::tf32, Precision::bf16}) {
            const double off = layer_check::distance(run(precision, input), exact);
            // Four products deep, each with three numbers rounded to 8 bits, of sums whose terms
            // are no larger than what comes out of the norm: 4 · 3 · 2^-9 · √16.
            CHECK(off <= 12 * 0x1p-9 * 4);
            if (!on_cuda()) CHECK(off == 0);
        }
    }
}

TEST_CASE("windows: what is refused") {
    const nn::Conv2d layer = here(nn::Conv2d(2, 3, 3));
    check_refused(
        [&] {
            layer(zeros({1, 4, 5, 5}));
        },
        {"[conv2d]", "\"weight\"", "(3,2,3,3)", "2 channels", "(1,4,5,5)", "has 4"});
    check_refused([&] { layer(zeros({5, 5})); }, {"[conv2d]", "(5,5)", "(...,C,H,W)"});
    check_refused([&] { layer(Tensor()); }, {"[conv2d]", "empty"});
    check_refused([&] { layer(int_tensor({1, 1, 1}, {1})); }, {"[conv2d]", "int32"});
    check_refused(
        [&] {
            layer(zeros({1, 2, 2, 5}));
        },
        {"[conv2d]", "\"weight\"", "(3,2,3,3)", "larger than x", "(1,2,2,5)", "(0,0)"});
    const View centre = View::centre();
    const Tensor x = zeros({1, 2, 5, 5}), w = zeros({3, 2, 3, 3});
    check_refused(
        [&] {
            conv2d(x, zeros({3, 18}), Tensor(), centre);
        },
        {"[conv2d]", "(3,18)", "(O,C,kh,kw)"});
    check_refused([&] { conv2d(x, per_member(w), Tensor(), centre); },
                  {"[conv2d]", "(3,2,3,3)", "per-member"});
    check_refused([&] { conv2d(x, w, zeros({2}), centre); }, {"[conv2d]", "bias", "(2)"});
    check_refused([&] { conv2d(x, w, Tensor(), centre, {.stride = 0}); },
                  {"[conv2d]", "stride", "(0,0)", "at least 1"});
    check_refused(
        [&] {
            conv2d(x, w, Tensor(), centre, {.padding = {0, -1}});
        },
        {"[conv2d]", "padding", "(0,-1)"});
    check_refused(
        [&] { conv2d(x, w, Tensor(), centre, {.stride = std::numeric_limits<int64_t>::max()}); },
        {"[conv2d]", "stride", "2^30"});
    check_refused([&] { max_pool2d(x, 6, {}); }, {"[max_pool2d]", "(6,6)", "(1,2,5,5)"});
    check_refused([&] { max_pool2d(x, 0, {}); }, {"[max_pool2d]", "kernel", "(0,0)"});
    check_refused([&] { avg_pool2d(x, 2, {.padding = 2}); },
                  {"[avg_pool2d]", "padding (2,2)", "half the kernel (2,2)"});
    check_refused(
        [&] {
            avg_pool2d(zeros({1, 0, 0}), 2, {.padding = 1});
        },
        {"[avg_pool2d]", "no pixels"});

    check_refused([] { nn::Conv2d(0, 3, 3); }, {"[nn::Conv2d]", "channels 0", "outputs 3"});
    check_refused([] { nn::Conv2d(1, 3, {3, 0}); }, {"[nn::Conv2d]", "(3,0)"});
    check_refused([] { nn::Conv2d(1, 3, 3, {.stride = 0}); }, {"[nn::Conv2d]", "stride", "(0,0)"});
    check_refused([] { nn::Conv2d(1, 3, 3, {.padding = -1}); },
                  {"[nn::Conv2d]", "padding", "(-1,-1)"});
    check_refused([] { nn::MaxPool2d(0); }, {"[nn::MaxPool2d]", "(0,0)"});
    check_refused([] { nn::AvgPool2d(3, {.padding = 2}); }, {"[nn::AvgPool2d]", "(2,2)"});

    // A kernel that was registered as a vector, inside a population.
    class Plain : public nn::Module {
    public:
        Plain() { w_ = register_parameter("w", {3, 2, 3, 3}, nn::init::zeros()); }
        Tensor forward(const Tensor& x, const View& v) const override {
            return conv2d(x, w_, Tensor(), v);
        }

    private:
        Tensor w_;
    };
    Plain plain = here(Plain());
    Eggroll es(plain);
    check_refused([&] { es.ask().forward(x); }, {"\"w\"", "(3,18)", "a vector"});
}
