// SPDX-License-Identifier: MIT
// System: several parts trained as one, called as models and read as values.
#include "tests/cases.h"
#include "tests/errors.h"
#include "tests/model_bits.h"

#include <eggroll/eggroll.h>

#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

using namespace eggroll;
using namespace eggroll::test;

namespace {

Options options_of(int64_t pop_size) {
    return {.pop_size = pop_size, .sigma = 0.3f, .lr = 0.1f, .rank = 1, .seed = 5};
}

TEST_CASE("system: parts are trained as one, called as models and read as values") {
    nn::Sequential encoder(nn::Linear(3, 4), nn::Tanh());
    nn::Linear decoder(4, 2);
    ParameterBundle gains;
    gains.scalar("k", 2.0f, {.min = 0.0f});
    gains.vector("offset", 2);
    System system;
    system.add("encoder", encoder);
    system.add("decoder", decoder);
    system.add("gains", gains);
    system.to(test_device());
    std::vector<std::string> names;
    for (const Parameter& parameter : system.parameters()) names.push_back(parameter.name);
    CHECK(names == std::vector<std::string>{"encoder.0.weight", "encoder.0.bias", "decoder.weight",
                                            "decoder.bias", "gains.k", "gains.offset"});

    const Tensor x = random_tensor({5, 3});
    Eggroll es(system, options_of(6));
    const Population population = es.ask();
    const Tensor hidden = population.call("encoder", x);
    const Tensor y =
        population.call("decoder", hidden) * reshape(population.value("gains.k"), {1}) +
        population.value("gains.offset");
    CHECK(y.part_shape() == Shape{5, 2});
    // A member of its own kind: plain models with its weights.
    const std::unique_ptr<nn::Module> copy = system.clone();
    auto& own = dynamic_cast<System&>(*copy);
    for (int64_t p = 0; p < 6; ++p) {
        const Member member = population.member(p);
        const Tensor one =
            member.call("decoder", member.call("encoder", x)) * member.number("gains.k") +
            member.value("gains.offset");
        member.copy_to(own);
        const Tensor plain = own.call("decoder", own.call("encoder", x)) * own.number("gains.k") +
                             own.value("gains.offset");
        const std::vector<float> a = host(one), b = part(y, p), c = host(plain);
        for (size_t e = 0; e < a.size(); ++e) {
            CHECK(std::fabs(a[e] - b[e]) <= 1e-5f);  // the same sums in other orders
            CHECK(std::fabs(a[e] - c[e]) <= 1e-5f);
        }
    }
    const std::string before = bits(encoder) + bits(decoder) + bits(gains);
    es.tell(random_fitness(6));
    CHECK(bits(encoder) + bits(decoder) + bits(gains) != before);
    CHECK(bits(encoder) + bits(decoder) + bits(gains) == bits(system));
}

TEST_CASE("system: with a Forward it takes all three ways in, to the same bits") {
    struct Parts {
        nn::Linear layer{3, 2};
        ParameterBundle gains;
        System system{[](const System& s, const Tensor& x, const View& v) {
            return s.call("layer", x, v) * s.value("gains.k", v);
        }};
        Parts() {
            gains.vector("k", Tensor::from({2}, {1, 2}));
            system.add("layer", layer);
            system.add("gains", gains);
            system.init(4);
            system.to(test_device());
        }
    };
    const Tensor x = random_tensor({4, 3}), target = random_tensor({4, 2}, 1);
    Parts a, b, c;
    Eggroll by_step(a.system, options_of(34)), by_tell(b.system, options_of(34)),
        by_objective(c.system, options_of(34));
    for (int t = 0; t < 3; ++t) {
        by_step.step(x, [&](const Tensor& y) { return -mse(y, target); });
        const Population population = by_tell.ask();
        by_tell.tell(-mse(population.forward(x), target));
        by_objective.step(x, loss::mse(target));
    }
    CHECK(bits(a.system) == bits(b.system));
    CHECK(bits(a.system) == bits(c.system));
    CHECK(bits(*a.system.clone()) == bits(a.system));
    CHECK(host((*a.system.clone())(x)) == host(a.system(x)));
}

TEST_CASE("capture: a system that reads a matrix by its name") {
    struct Parts {
        ParameterBundle maps;
        System system{[](const System& s, const Tensor& x, const View& v) {
            return matmul(x, s.value("maps.w", v));
        }};
        Parts() {
            maps.matrix("w", {3, 2});
            system.add("maps", maps);
            system.init(4);
            system.to(test_device());
        }
    };
    const Tensor x = random_tensor({4, 3}), target = random_tensor({4, 2}, 1);
    Parts a, b;
    Eggroll plain(a.system, options_of(6)), recorded(b.system, options_of(6));
    CapturedStep captured = recorded.capture(x, loss::mse(target));  // nothing was read before
    for (int t = 0; t < 3; ++t) {
        plain.step(x, loss::mse(target));
        captured.step();
    }
    CHECK(bits(a.system) == bits(b.system));
}

TEST_CASE("system: what was moved from, and a Forward that computes nothing, say so [host]") {
    ParameterBundle bundle, other;
    bundle.scalar("a", 1.0f);
    other.vector("v", 2);
    ParameterBundle taken = std::move(bundle);
    CHECK(taken.number("a") == 1.0f);
    const std::string gone = "[ParameterBundle] this one was moved from";
    CHECK(error_of([&] { (void)bundle.number("a"); }) == gone);
    CHECK(error_of([&] { (void)bundle.parameter("a"); }) == gone);
    CHECK(error_of([&] { bundle.scalar("b", 1.0f); }) == gone);
    CHECK(error_of([&] { (void)bundle.clone(); }) == gone);

    System system([](const System&, const Tensor&, const View&) { return Tensor(); });
    system.add("taken", taken);
    System kept = std::move(system);
    CHECK(error_of([&] { (void)system.value("taken.a"); }) == "[System] this one was moved from");
    for (const auto& use : std::vector<std::function<void()>>{[&] { system.add("other", other); },
                                                              [&] { (void)system.part("taken"); },
                                                              [&] {
                                                                  (void)system(zeros({1, 1}));
                                                              },
                                                              [&] { (void)system.clone(); }}) {
        CHECK(error_of(use) == "[System] this one was moved from");
    }
    Eggroll es(kept, {.pop_size = 4});
    CHECK(error_of([&] {
              es.step(zeros({1, 1}), loss::mse(zeros({1, 1})));
          }) == "[forward] the model returned a tensor without values");
}

TEST_CASE("system: a parameter that two parts share is one") {
    nn::Linear shared(2, 2);
    class Around : public nn::Module {
    public:
        explicit Around(nn::Linear& inner) : inner_(&inner) { register_module("inner", inner); }
        Tensor forward(const Tensor& x, const View& v) const override {
            return inner_->forward(x, v);
        }

    private:
        nn::Linear* inner_;
    } outer(shared);
    System system;
    system.add("shared", shared);
    system.add("outer", outer);
    CHECK(system.parameters().size() == 2);
    system.to(test_device());
    Eggroll es(system, options_of(4));
    const Population population = es.ask();
    const Tensor x = random_tensor({3, 2});
    CHECK(host(population.call("outer", x)) == host(population.call("shared", x)));
}

TEST_CASE("system: parts that make no sense are refused [host]") {
    nn::Linear a(2, 2), b(2, 2);
    System system;
    system.add("a", a);
    const auto refused = [&](const std::string& text, const std::function<void()>& f) {
        const std::string message = error_of(f);
        CAPTURE(message);
        CHECK(contains(message, text));
        CHECK(system.parameters().size() == 2);
    };
    refused("there already, as \"a\"", [&] { system.add("b", a); });
    refused("a part \"a\" already", [&] { system.add("a", b); });
    refused("not empty", [&] { system.add("", b); });
    refused("no dot", [&] { system.add("b.c", b); });
    refused("itself", [&] { system.add("self", system); });
    refused("no part \"aa\"; there is \"a\"", [&] { (void)system.part("aa"); });
    refused("no Forward", [&] { (void)system(Tensor::zeros({1, 2})); });
    refused("(2,2), not a number", [&] { (void)system.number("a.weight"); });
    Eggroll es(system, options_of(4));
    refused("no part \"z\"", [&] { (void)es.ask().call("z", Tensor::zeros({1, 2})); });
    refused("no part \"z\"", [&] { (void)es.ask().member(0).call("z", Tensor::zeros({1, 2})); });
}

}  // namespace
