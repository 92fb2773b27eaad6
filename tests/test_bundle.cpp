// SPDX-License-Identifier: MIT
// ParameterBundle against the naive reference: what is read of it by name, how it is a module, and
// what can be trained with it.
#include "tests/cases.h"
#include "tests/errors.h"
#include "tests/model_bits.h"
#include "tests/reference.h"
#include "tests/temp_directory.h"

#include <eggroll/eggroll.h>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

using namespace eggroll;
using namespace eggroll::test;

namespace {

/// One entry of each kind, with ranks and bounds of their own.
ParameterBundle make_bundle() {
    ParameterBundle bundle;
    bundle.matrix("wide", {3, 7}, {.rank = 2});
    bundle.vector("offset", Tensor::from({3}, {0.5f, -1.0f, 2.0f}));
    bundle.scalar("gain", 0.25f, {.min = 0.2f, .max = 0.3f});
    bundle.matrix("square", Tensor::from({2, 2}, {1, 2, 3, 4}), {.min = 0.9f, .max = 4.1f});
    bundle.scalar("still", 7.0f, {.frozen = true});
    bundle.to(test_device());
    return bundle;
}

Options options_of(int64_t pop_size, bool antithetic = true) {
    return {.pop_size = pop_size,
            .sigma = 0.3f,
            .lr = 0.1f,
            .rank = 1,
            .seed = 5,
            .antithetic = antithetic};
}

/// A member's value of a parameter by the naive reference, within its bounds.
std::vector<reference::Bounded> expected_value(const nn::Module& model, const Options& options,
                                               size_t index, int64_t member, int64_t generation) {
    const Parameter parameter = model.parameters()[index];
    reference::Law law = reference::law_of(options);
    law.sigma *= static_cast<double>(parameter.sigma_scale);
    if (parameter.rank > 0) law.rank = parameter.rank;
    reference::MemberParameter own;
    for (const float v : host(parameter.value)) {
        own.value.push_back(static_cast<double>(v));
        own.magnitude.push_back(std::fabs(static_cast<double>(v)));
    }
    if (!parameter.frozen) {
        const reference::Perturbation noise =
            reference::perturbation(law, parameter, index, member, generation);
        for (size_t e = 0; e < own.value.size(); ++e) {
            own.value[e] += noise.delta[e];
            own.magnitude[e] += noise.magnitude[e];
        }
        own.terms = noise.terms;
    }
    std::vector<reference::Bounded> values = own.materialised();
    for (reference::Bounded& v : values) {
        v.value = std::clamp(v.value, static_cast<double>(parameter.min),
                             static_cast<double>(parameter.max));
        v.error += 0x1p-24 * std::fabs(v.value);  // the bound itself is a float
    }
    return values;
}

// --- Values -------------------------------------------------------------------------------------

TEST_CASE("bundle: values of centre, member and population are the materialised reference's") {
    for (const bool antithetic : {true, false}) {
        ParameterBundle bundle = make_bundle();
        const Options options = options_of(10, antithetic);
        Eggroll es(bundle, options);
        for (int64_t generation = 0; generation < 2; ++generation) {
            const Population population = es.ask();
            const std::vector<Parameter> parameters = bundle.parameters();
            for (size_t i = 0; i < parameters.size(); ++i) {
                const std::string& name = parameters[i].name;
                CAPTURE(name);
                Shape shape = parameters[i].value.shape();
                const Tensor all = population.value(name);
                CHECK(all.is_per_member());
                CHECK(all.members() == 10);
                CHECK(all.part_shape() == shape);
                for (int64_t p = 0; p < population.size(); ++p) {
                    const Tensor own = population.member(p).value(name);
                    CHECK(own.shape() == shape);
                    CHECK_FALSE(own.is_per_member());
                    const auto want = expected_value(bundle, options, i, p, generation);
                    CHECK(reference::excess(host(own), want) <= 1.0);
                    CHECK(host(own) == part(all, p));
                }
            }
            CHECK(population.member(3).number("still") == 7.0f);
            CHECK(population.member(3).number("gain") == host(population.value("gain"))[3]);
            es.tell(random_fitness(10));
        }
    }
}

TEST_CASE("bundle: bounds hold where a value is read, and the parameter behind it is free") {
    ParameterBundle bundle;
    bundle.scalar("x", 0.0f, {.min = -0.01f, .max = 0.02f});
    bundle.scalar("low", 1.0f, {.min = 1.0f});
    bundle.to(test_device());
    Eggroll es(bundle, {.pop_size = 64, .sigma = 1.0f, .lr = 1.0f});
    bool below = false, above = false, inside = false;
    for (int generation = 0; generation < 3; ++generation) {
        const Population population = es.ask();
        const std::vector<float> x = host(population.value("x"));
        const std::vector<float> low = host(population.value("low"));
        for (size_t p = 0; p < x.size(); ++p) {
            below = below || x[p] == -0.01f;
            above = above || x[p] == 0.02f;
            inside = inside || (x[p] > -0.01f && x[p] < 0.02f);
            CHECK(x[p] >= -0.01f);
            CHECK(x[p] <= 0.02f);
            CHECK(low[p] >= 1.0f);
        }
        es.tell(low);
    }
    CHECK(below);
    CHECK(above);
    CHECK(inside);
    CHECK(bundle.parameter("low").item() > 1.5f);
    bundle.parameter("low").assign(full({}, -3.0f));
    CHECK(bundle.parameter("low").item() == -3.0f);
    CHECK(bundle.number("low") == 1.0f);
    bundle.parameter("x").assign(full({}, 5.0f));
    CHECK(bundle.number("x") == 0.02f);
}

TEST_CASE("bundle: what is read is a copy, so nobody writes to a parameter by accident") {
    ParameterBundle bundle = make_bundle();
    Tensor value = bundle.value("offset");
    set(value, 0, 100.0f);
    CHECK(host(bundle.value("offset"))[0] == 0.5f);
    Eggroll es(bundle, options_of(4));
    Tensor still = es.ask().member(0).value("still");
    set(still, 0, 100.0f);
    CHECK(bundle.number("still") == 7.0f);
}

TEST_CASE("bundle: frozen and filtered entries keep their bits and leave the others' noise") {
    const auto train = [](bool freeze, bool filter) {
        ParameterBundle bundle;
        bundle.matrix("a", {4, 3});
        bundle.vector("b", 5, {.frozen = freeze, .init = nn::init::uniform(1.0f)});
        bundle.matrix("c", {2, 6});
        bundle.to(test_device());
        Options options = options_of(8);
        if (filter) {
            options.param_filter = [](const std::string& name, const Tensor&) {
                return name != "b";
            };
        }
        const std::vector<std::vector<float>> before = values_of(bundle);
        Eggroll es(bundle, options);
        for (uint32_t t = 0; t < 5; ++t) {
            const Population population = es.ask();
            if (freeze || filter) CHECK(part(population.value("b"), 3) == before[1]);
            es.tell(random_fitness(8, t));
        }
        const std::vector<std::vector<float>> after = values_of(bundle);
        CHECK((after[1] == before[1]) == (freeze || filter));
        CHECK(after[0] != before[0]);
        return after;
    };
    const auto free = train(false, false), frozen = train(true, false), out = train(false, true);
    CHECK(frozen == out);
    CHECK(frozen[0] == free[0]);
    CHECK(frozen[2] == free[2]);
}

TEST_CASE("bundle: an update with ranks of the entries' own is the materialised reference's") {
    for (const int rank : {1, 2, 3}) {
        CAPTURE(rank);
        ParameterBundle bundle;
        bundle.matrix("a", {5, 4}, {.rank = rank});
        bundle.matrix("b", {3, 3});
        bundle.to(test_device());
        const Options options = options_of(12);
        const std::vector<std::vector<float>> before = values_of(bundle);
        const std::vector<float> fitness = random_fitness(12);
        Eggroll es(bundle, options);
        es.ask();
        es.tell(fitness);
        const reference::Values shaped = reference::shaped(fitness, true);
        for (size_t i = 0; i < 2; ++i) {
            reference::Law law = reference::law_of(options);
            if (i == 0) law.rank = rank;
            const Parameter parameter = bundle.parameters()[i];
            auto want = reference::ascent(law, parameter, i, 0, shaped);
            for (size_t e = 0; e < want.size(); ++e) {
                const double lr = static_cast<double>(options.lr);
                const auto start = static_cast<double>(before[i][e]);
                want[e] = {start + lr * want[e].value,
                           lr * want[e].error + 8 * 0x1p-24 * (std::fabs(start) + 1)};
            }
            CHECK(reference::excess(host(parameter.value), want) <= 1.0);
        }
    }
}

TEST_CASE("bundle: an entry's sigma_scale times sigma") {
    ParameterBundle bundle;
    bundle.matrix("a", {5, 4}, {.sigma_scale = 0.5f});
    bundle.scalar("b", 1.0f, {.sigma_scale = 3.0f});
    bundle.vector("c", 3);
    bundle.to(test_device());
    const Options options = options_of(6);
    Eggroll es(bundle, options);
    const Population population = es.ask();
    for (size_t i = 0; i < 3; ++i) {
        const std::string name = bundle.parameters()[i].name;
        for (int64_t p = 0; p < 6; ++p) {
            CHECK(reference::excess(host(population.member(p).value(name)),
                                    expected_value(bundle, options, i, p, 0)) <= 1.0);
        }
    }
}

TEST_CASE("bundle: a model's own parameters are read by name as well") {
    nn::Sequential model = here(nn::Sequential(nn::Linear(3, 4), nn::Tanh(), nn::Linear(4, 2)));
    const Options options = options_of(6);
    Eggroll es(model, options);
    const Population population = es.ask();
    for (int64_t p = 0; p < 6; ++p) {
        for (size_t i = 0; i < 4; ++i) {
            const std::string name = model.parameters()[i].name;
            CHECK(reference::excess(host(population.member(p).value(name)),
                                    expected_value(model, options, i, p, 0)) <= 1.0);
        }
    }
}

TEST_CASE("bundle: a matrix that is a convolution's in shape is read in that shape") {
    class Kernel : public nn::Module {
    public:
        Kernel() {
            register_parameter("kernel", {4, 3, 2}, nn::init::normal(1.0f), NoiseShape{4, 6});
        }
        Tensor forward(const Tensor& x, const View&) const override { return x; }
    };
    Kernel model;
    model.to(test_device());
    const Options options = options_of(4);
    Eggroll es(model, options);
    const Population population = es.ask();
    CHECK(population.value("kernel").part_shape() == Shape{4, 3, 2});
    CHECK(reference::excess(host(population.member(1).value("kernel")),
                            expected_value(model, options, 0, 1, 0)) <= 1.0);
}

// --- As a module --------------------------------------------------------------------------------

TEST_CASE("bundle: first values are given or drawn, and init draws them anew") {
    ParameterBundle a = make_bundle(), b = make_bundle();
    CHECK(bits(a) == bits(b));
    a.init(1);
    b.init(2);
    CHECK(host(a.value("wide")) != host(b.value("wide")));
    b.init(1);
    CHECK(bits(a) == bits(b));
    CHECK(host(a.value("offset")) == std::vector<float>{0.5f, -1.0f, 2.0f});
    CHECK(host(a.parameter("square")) == std::vector<float>{1, 2, 3, 4});
    CHECK(a.number("still") == 7.0f);

    // Drawn outside their bounds they would be stuck there.
    ParameterBundle drawn;
    drawn.vector("x", 1000, {.min = -0.5f, .max = 0.25f, .init = nn::init::normal(1.0f)});
    const std::vector<float> x = host(drawn.parameter("x"));
    CHECK(*std::min_element(x.begin(), x.end()) == -0.5f);
    CHECK(*std::max_element(x.begin(), x.end()) == 0.25f);
    ParameterBundle scaled;
    scaled.matrix("w", {64, 100});
    double squares = 0;
    for (const float w : host(scaled.value("w"))) squares += static_cast<double>(w) * w / 6400;
    CHECK(std::fabs(squares - 0.01) < 0.001);  // five standard deviations of a sum of 6400 squares
}

TEST_CASE("bundle: cloned, copied, moved, saved and loaded as any model") {
    ParameterBundle bundle = make_bundle();
    bundle.init(3);
    Eggroll es(bundle, options_of(8));
    const Population population = es.ask();

    const std::unique_ptr<nn::Module> clone = bundle.clone();
    CHECK(bits(*clone) == bits(bundle));
    const Parameter copied = clone->parameters()[2];
    CHECK(copied.min == 0.2f);
    CHECK(copied.max == 0.3f);
    CHECK(clone->parameters()[0].rank == 2);
    CHECK(clone->parameters()[4].frozen);
    population.member(2).copy_to(*clone);
    CHECK(bits(*clone) != bits(bundle));

    const TempDirectory folder("bundle");
    save_safetensors(folder / "bundle.safetensors", bundle);
    ParameterBundle loaded = make_bundle();
    load_safetensors(folder / "bundle.safetensors", loaded);
    CHECK(bits(loaded) == bits(bundle));
    es.tell(random_fitness(8));

    ParameterBundle moved = std::move(loaded);
    CHECK(moved.number("still") == 7.0f);
    moved.scalar("late", 1.0f);
    CHECK(moved.parameters().size() == 6);
}

// --- Refusals -----------------------------------------------------------------------------------

TEST_CASE("bundle: entries that make no sense are refused and nothing is added [host]") {
    ParameterBundle bundle;
    bundle.scalar("gain", 1.0f);
    const auto refused = [&](const std::string& text, const std::function<void()>& add) {
        const std::string message = error_of(add);
        CAPTURE(message);
        CHECK(contains(message, text));
        CHECK(bundle.parameters().size() == 1);
    };
    refused("\"gain\" is there already", [&] { bundle.scalar("gain", 2.0f); });
    refused("\"gain\" is there already", [&] { bundle.matrix("gain", {2, 2}); });
    refused("needs a name", [&] { bundle.scalar("", 2.0f); });
    refused("3..2", [&] { bundle.scalar("x", 2.5f, {.min = 3, .max = 2}); });
    refused("5..-5", [&] { bundle.scalar("x", 0, {.min = 5, .max = -5}); });
    refused("int32", [&] { bundle.vector("x", Tensor::from_ints({2}, {1, 2})); });
    refused("nan..2", [&] { bundle.scalar("x", 0, {.min = std::nanf(""), .max = 2}); });
    refused("nan", [&] { bundle.scalar("x", std::nanf("")); });
    refused("inf", [&] { bundle.scalar("x", kInf); });
    refused("5", [&] { bundle.scalar("x", 5.0f, {.min = 0, .max = 1}); });
    refused("-1", [&] { bundle.vector("x", Tensor::from({2}, {0.5f, -1.0f}), {.min = 0}); });
    refused("rank of 2", [&] { bundle.scalar("x", 1.0f, {.rank = 2}); });
    refused("rank of -1", [&] { bundle.matrix("x", {2, 2}, {.rank = -1}); });
    refused("sigma_scale of 0", [&] { bundle.scalar("x", 1.0f, {.sigma_scale = 0}); });
    refused("sigma_scale of inf", [&] { bundle.scalar("x", 1.0f, {.sigma_scale = kInf}); });
    refused("(2,2,2)", [&] { bundle.matrix("x", {2, 2, 2}); });
    refused("(3)", [&] { bundle.matrix("x", Tensor::zeros({3})); });
    refused("(2,2)", [&] { bundle.vector("x", Tensor::zeros({2, 2})); });
    refused("no elements", [&] { bundle.vector("x", 0); });
    refused("negative", [&] { bundle.vector("x", -1); });
    refused("drawn as nan",
            [&] { bundle.vector("x", 2, {.init = nn::init::constant(std::nanf(""))}); });
    CHECK(contains(error_of([&] { bundle.number("gian"); }), "\"gian\"; there is \"gain\""));
    CHECK(contains(error_of([&] { (void)bundle(Tensor::zeros({1})); }), "no model to call"));
}

TEST_CASE("bundle: a name that is not there is told with those nearest to it") {
    ParameterBundle bundle = make_bundle();
    Eggroll es(bundle, options_of(4));
    const Population population = es.ask();
    CHECK(contains(error_of([&] { (void)population.value("gainn"); }),
                   "\"gainn\"; there is \"gain\","));
    CHECK(contains(error_of([&] { (void)population.member(0).value("sqare"); }),
                   "[Member::value] there is no \"sqare\"; there is \"square\","));
    CHECK(contains(error_of([&] { (void)population.member(0).number("offset"); }), "(3)"));
    CHECK(contains(error_of([&] { (void)population.call("gain", zeros({1})); }), "no System"));
    es.tell(random_fitness(4));
    CHECK(contains(error_of([&] { (void)population.value("gain"); }), "is over"));
    CHECK(error_of([&] { (void)ParameterBundle().number("x"); }).find("there is none") !=
          std::string::npos);
}

TEST_CASE("bundle: an entry that the strategy does not know is no constant for it") {
    class Reads : public ParameterBundle {
    public:
        Tensor forward(const Tensor& x, const View& v) const override {
            return x * value("late", v);
        }
    };
    Reads bundle;
    bundle.scalar("early", 1.0f);
    bundle.to(test_device());
    Eggroll es(bundle, options_of(4));
    bundle.scalar("late", 1.0f);
    bundle.to(test_device());
    const std::string message = error_of([&] { (void)es.ask().forward(zeros({1})); });
    CHECK(contains(message, "\"late\" is not among the parameters"));
    CHECK(contains(error_of([&] { (void)bundle.clone(); }), "does not override clone()"));

    ParameterBundle frozen;
    frozen.scalar("x", 1.0f, {.frozen = true});
    CHECK(contains(error_of([&] { Eggroll none(frozen, options_of(4)); }), "frozen"));
}

// --- What can be trained ------------------------------------------------------------------------

Tensor xor_inputs() {
    return tensor({2, 4}, {0, 0, 1, 1, 0, 1, 0, 1});  // (2,B)
}
Tensor xor_target() {
    return tensor({1, 4}, {0, 1, 1, 0});
}

/// Two matrices around a tanh, or one; the fitness of all members from their values.
struct Xor {
    explicit Xor(bool two_layers, uint64_t seed) : two(two_layers) {
        const EntryOptions drawn{.init = nn::init::normal(1.0f)};
        if (two) bundle.matrix("w1", {4, 2}, drawn);
        bundle.matrix("w2", {1, two ? 4 : 2}, drawn);
        bundle.init(seed);
        bundle.to(test_device());
    }
    /// w1 and w2 of the centre or of all members -> y (...,1,4)
    Tensor output(const std::function<Tensor(const std::string&)>& value) const {
        const Tensor x = xor_inputs();
        return matmul(value("w2"), two ? tanh(matmul(value("w1"), x)) : x);
    }
    double right() const {
        const std::vector<float> y =
            host(output([&](const std::string& name) { return bundle.value(name); }));
        const std::vector<float> target = host(xor_target());
        double count = 0;
        for (size_t i = 0; i < 4; ++i) count += (y[i] > 0.5f) == (target[i] > 0.5f);
        return count / 4;
    }

    bool two;
    ParameterBundle bundle;
};

TEST_CASE("bundle: XOR by two composed matrices, which one alone cannot") {
    for (uint64_t seed = 0; seed < (is_slow() ? 1 : 10); ++seed) {
        CAPTURE(seed);
        double right[2] = {};
        for (const bool two : {false, true}) {
            Xor task(two, seed);
            Eggroll es(task.bundle, {.pop_size = 64, .sigma = 0.3f, .lr = 0.2f, .seed = seed});
            for (int step = 0; step < 200; ++step) {
                const Population population = es.ask();
                const Tensor y =
                    task.output([&](const std::string& name) { return population.value(name); });
                es.tell(-mse(y, xor_target()));
            }
            right[two] = task.right();
        }
        CHECK(right[true] == 1.0);
        CHECK(right[false] <= 0.75);
    }
}

TEST_CASE("bundle: an affine map by two composed matrices") {
    // t -> 2t − 1 in homogeneous coordinates (t,1).
    const Tensor x = tensor({2, 5}, {-1, -0.5f, 0, 0.5f, 1, 1, 1, 1, 1, 1});
    const Tensor target = tensor({2, 5}, {-3, -2, -1, 0, 1, 1, 1, 1, 1, 1});
    for (uint64_t seed = 0; seed < (is_slow() ? 1 : 5); ++seed) {
        CAPTURE(seed);
        ParameterBundle bundle;
        bundle.matrix("first", {2, 2});
        bundle.matrix("second", {2, 2});
        bundle.init(seed);
        bundle.to(test_device());
        Eggroll es(bundle, {.pop_size = 32, .sigma = 0.1f, .lr = 0.1f, .seed = seed});
        const auto error = [&](const auto& of) {
            return mse(matmul(of.value("second"), matmul(of.value("first"), x)), target);
        };
        CHECK(error(bundle).item() > 0.1f);
        for (int step = 0; step < 100; ++step) es.tell(-error(es.ask()));
        CHECK(error(bundle).item() < 0.1f);
    }
}

TEST_CASE("bundle: a scalar finds its target in 20 steps, by its number alone") {
    for (const float target : {-1.0f, 0.3f, 2.0f}) {
        for (uint64_t seed = 0; seed < (is_slow() ? 1 : 5); ++seed) {
            CAPTURE(target);
            CAPTURE(seed);
            ParameterBundle bundle;
            bundle.scalar("x", 0.5f);
            bundle.to(test_device());
            Eggroll es(bundle, {.pop_size = 20,
                                .sigma = 0.1f,
                                .lr = 1.0f,
                                .seed = seed,
                                .lr_schedule = schedule::exponential(0.85)});
            for (int step = 0; step < 20; ++step) {
                es.step([&](const Member& m) { return -std::fabs(m.number("x") - target); });
            }
            CHECK(std::fabs(bundle.number("x") - target) < 0.1f);
        }
    }
}

TEST_CASE("bundle: in chunks, one by one, in threads and all at once: the same bits") {
    /// y = w2 relu(w1 x) within a forward, so that it is evaluated chunk by chunk.
    class Network : public ParameterBundle {
    public:
        Network() {
            matrix("w1", {4, 2});
            matrix("w2", {1, 4}, {.min = -1.0f, .max = 1.0f});
            init(7);
        }
        Tensor forward(const Tensor& x, const View& v) const override {
            return matmul(value("w2", v), relu(matmul(value("w1", v), x)));
        }
    };
    const Tensor x = xor_inputs(), target = xor_target();
    const int64_t pop_size = is_slow() ? 34 : 514;  // several chunks
    Options options = options_of(pop_size);
    std::vector<std::string> results;
    std::vector<float> first;
    const auto run = [&](const std::function<void(Eggroll&)>& step) {
        Network model;
        model.to(test_device());
        Eggroll es(model, options);
        for (int t = 0; t < 3; ++t) step(es);
        results.push_back(bits(model));
    };
    run([&](Eggroll& es) { es.step(x, loss::mse(target)); });
    run([&](Eggroll& es) {
        const Population p = es.ask();
        const Tensor y = matmul(p.value("w2"), relu(matmul(p.value("w1"), x)));
        CHECK(host(p.forward(x)) == host(y));
        es.tell(-mse(y, target));
    });
    const auto of_one = [&](const Member& m) {
        return -mse(matmul(m.value("w2"), relu(matmul(m.value("w1"), x))), target).item();
    };
    run([&](Eggroll& es) { es.step(of_one); });
    options.parallel_fitness = true;
    for (const int threads : {1, 3}) {
        const ThreadScope scope(threads);
        run([&](Eggroll& es) { es.step(of_one); });
        run([&](Eggroll& es) { es.step(x, loss::mse(target)); });
    }
    for (const std::string& result : results) CHECK(result == results[0]);
}

}  // namespace
