// SPDX-License-Identifier: MIT
// The operations that see the weights of the view, at the centre; members are in test_contract.cpp
// and test_layers.cpp.
#include "tests/errors.h"
#include "tests/parts.h"
#include "tests/reference.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

using namespace eggroll;
using namespace eggroll::test;

TEST_CASE("ops: linear at the centre") {
    namespace ref = eggroll::test::reference;
    struct Case {
        Marked x;
        int64_t outputs;
        bool bias;
    };
    const std::vector<Case> cases = {{{{6}}, 3, true},           {{{5, 6}}, 3, true},
                                     {{{5, 6}}, 1, false},       {{{40, 6}}, 37, true},
                                     {{{2, 3, 6}}, 4, true},     {{{4, 5, 6}, true}, 3, true},
                                     {{{4, 6}, true}, 3, false}, {{{4, 2, 3, 6}, true}, 17, true}};
    for (const Case& of : cases) {
        for (const Act act :
             {Act::none, Act::relu, Act::tanh, Act::sigmoid, Act::gelu, Act::silu}) {
            CAPTURE(to_string(of.x.shape));
            CAPTURE(static_cast<int>(act));
            const Tensor x = marked(random_tensor(of.x.shape, 1), of.x.mark);
            const Tensor w = random_tensor({of.outputs, 6}, 2);
            const Tensor b = of.bias ? random_tensor({of.outputs}, 3) : Tensor();
            const auto weights = [](const Tensor& t) {
                ref::MemberParameter p;
                for (const float v : host(t)) {
                    p.value.push_back(wide(v));
                    p.magnitude.push_back(std::fabs(wide(v)));
                }
                return p;
            };
            const ref::MemberParameter pw = weights(w), pb = weights(b);
            std::vector<ref::Bounded> want;
            for (size_t row = 0; row < static_cast<size_t>(x.size()); row += 6) {
                std::vector<ref::Bounded> in;
                for (size_t i = 0; i < 6; ++i) in.push_back({wide(host(x)[row + i]), 0});
                for (const ref::Bounded& v : ref::linear(in, pw, of.bias ? &pb : nullptr)) {
                    want.push_back(ref::activation(act, v));
                }
            }
            const Tensor y = linear(x, w, b, View::centre(), act);
            Shape shape = of.x.shape;
            shape.back() = of.outputs;
            CHECK(y.shape() == shape);
            CHECK(y.is_per_member() == of.x.mark);
            CHECK(ref::excess(host(y), want) <= 1);
        }
    }
}

TEST_CASE("ops: perturbed, add and embedding at the centre") {
    const View centre = View::centre();
    const Tensor b = random_tensor({3}, 1);
    CHECK(host(perturbed(b, centre)) == host(b));
    CHECK_FALSE(perturbed(b, centre).is_per_member());
    for (const bool mark : {false, true}) {
        const Tensor x = marked(random_tensor({4, 2, 3}), mark);
        check_parts(add(x, b, centre), x.members(), [&](int64_t m) {
            return expect_binary(x, b, m, x.part_shape(), [](double u, double v) { return u + v; });
        });
    }
    const Tensor table = random_tensor({5, 3}, 2);
    const auto check = [&](const Tensor& ids) {
        check_parts(embedding(ids, table, centre), ids.members(), [&](int64_t m) {
            const Part pi = part_of(ids, m), pt = part_of(table, 0);
            Expected expected{pi.shape, {}};
            expected.shape.push_back(3);
            for (const double id : pi.at) {
                for (int64_t e = 0; e < 3; ++e) {
                    expected.at.push_back(at(pt, {static_cast<int64_t>(id), e}));
                }
            }
            return expected;
        });
    };
    check(int_tensor({}, {4}));
    check(int_tensor({4}, {4, 0, 4, 1}));
    check(int_tensor({2, 2}, {4, 0, 3, 1}));
    check(per_member(int_tensor({2, 3}, {4, 0, 3, 1, 2, 2})));
    check(int_tensor({0}, {}));
    check(int_tensor({2, 0}, {}));
}

TEST_CASE("ops: layer_norm with and without gain and bias") {
    namespace ref = eggroll::test::reference;
    const Tensor x = per_member(random_tensor({2, 3, 5})), gain = random_tensor({5}, 1),
                 bias = random_tensor({5}, 2);
    const auto weights = [](const Tensor& t, float missing) {
        ref::MemberParameter p;
        for (size_t i = 0; i < 5; ++i) {
            p.value.push_back(wide(t.size() > 0 ? host(t)[i] : missing));
            p.magnitude.push_back(std::fabs(p.value.back()));
        }
        return p;
    };
    for (const Tensor& g : {gain, Tensor()}) {
        for (const Tensor& b : {bias, Tensor()}) {
            std::vector<ref::Bounded> want;
            for (size_t row = 0; row < 30; row += 5) {
                std::vector<ref::Bounded> in;
                for (size_t i = 0; i < 5; ++i) in.push_back({wide(host(x)[row + i]), 0});
                for (const ref::Bounded& v : ref::layer_norm(in, weights(g, 1), weights(b, 0))) {
                    want.push_back(v);
                }
            }
            const Tensor y = layer_norm(x, g, b, View::centre());
            CHECK(y.is_per_member());
            CHECK(ref::excess(host(y), want) <= 1);
        }
    }
}

TEST_CASE("ops: linear with no outputs") {
    const Tensor y = linear(random_tensor({2, 3}), zeros({0, 3}), Tensor(), View::centre());
    CHECK(y.shape() == Shape{2, 0});
}

// --- Refusals -----------------------------------------------------------------------------------

/// What each member has of its own is no matrix or vector of all; the bias of a single member would
/// pass for one.
TEST_CASE("ops: a parameter marked as members' own is refused") {
    const Tensor x = random_tensor({2, 3}), w = random_tensor({4, 3}), b = random_tensor({1, 4});
    const Tensor ids = int_tensor({2}, {0, 1});
    const View centre = View::centre();
    check_refused([&] { linear(x, per_member(w), Tensor(), centre); }, {"[linear]", "(4,3)"});
    check_refused([&] { linear(x, w, per_member(b), centre); }, {"[linear]", "(1,4)"});
    check_refused([&] { embedding(ids, per_member(w), centre); }, {"[embedding]", "(4,3)"});
}

/// A vector parameter is (n): with further axes it would broadcast along another axis than n.
TEST_CASE("ops: a vector parameter with more axes is refused") {
    const Tensor x = random_tensor({3, 3}), column = random_tensor({3, 1});
    check_refused([&] { add(x, column, View::centre()); }, {"[add]", "(3,1)", "(3,3)"});
    check_refused([&] { layer_norm(x, column, Tensor(), View::centre()); },
                  {"[layer_norm]", "(3,1)", "(3,3)"});
}

TEST_CASE("ops: inside a population, inputs and parameters that do not fit are refused") {
    /// Calls an operation with a parameter in a way the operation or its noise does not allow.
    class Wrong : public nn::Module {
    public:
        explicit Wrong(std::function<Tensor(const Tensor&, const Tensor&, const View&)> f)
            : f_(std::move(f)) {
            w_ = register_parameter("w", {3, 3}, nn::init::ones());
        }
        Tensor forward(const Tensor& x, const View& v) const override { return f_(x, w_, v); }

    private:
        std::function<Tensor(const Tensor&, const Tensor&, const View&)> f_;
        Tensor w_;
    };
    const Tensor x = random_tensor({3, 3});  // 3 is no chunk's number of members
    const auto refused = [&](auto f, const std::vector<std::string>& parts) {
        Wrong model = here(Wrong(f));
        Eggroll es(model, {.pop_size = 4});
        check_refused([&] { es.ask().forward(x); }, parts);
    };
    // A matrix as a vector, under another shape than its noise, and for other members.
    refused([](const Tensor&, const Tensor& w, const View& v) { return perturbed(w, v); },
            {"[perturbed]", "\"w\"", "(3,3)"});
    refused(
        [](const Tensor& in, const Tensor& w, const View& v) {
            return linear(in, w.reshape({9, 1}), Tensor(), v);
        },
        {"[linear]", "(9,1)", "3 columns"});
    refused(
        [](const Tensor& in, const Tensor& w, const View& v) {
            return linear(reshape(in, {-1, 1}), w.reshape({9, 1}), Tensor(), v);
        },
        {"[linear]", "\"w\"", "(9,1)", "(3,3)"});
    refused([](const Tensor& in, const Tensor& w,
               const View& v) { return linear(per_member(in), w, Tensor(), v); },
            {"[linear]", "(3,3)", "members"});
}
