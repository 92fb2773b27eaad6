// SPDX-License-Identifier: MIT
// The mathematics of DESIGN §3 against naive references in double: every member is W + s σ/√r A Bᵀ
// rebuilt from the public noise, and the update is the literal sum over members.
//
// The bounds are those of reference.h, for any order of summation; the engine of the day stays
// within half of them.
#include "tests/cases.h"
#include "tests/compare_members.h"
#include "tests/model_bits.h"
#include "tests/reference.h"

#include <eggroll/eggroll.h>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <vector>

using namespace eggroll;
using namespace eggroll::test;
namespace ref = eggroll::test::reference;

namespace {

/// A layer whose parameters are no matrix and vector of the usual kind: a convolution's kernel
/// (O,C,kh,kw), perturbed as (O, C·kh·kw), and a gain of two axes perturbed as a vector.
class Unusual : public nn::Module {
public:
    Unusual() {
        kernel_ = register_parameter("kernel", {3, 2, 2, 2}, nn::init::uniform(1.0f), {3, 8});
        gain_ = register_parameter("gain", {2, 3, 1}, nn::init::ones());
    }
    /// x (B,8) -> (B,2,3)
    Tensor forward(const Tensor& x, const View& v) const override {
        const Tensor y = linear(x, kernel_.reshape({3, 8}), Tensor(), v);
        const Tensor gain = perturbed(gain_, v);
        return reshape(y, {-1, 1, 3}) * reshape(gain, {1, 2, 3});
    }
    std::unique_ptr<nn::Module> clone() const override {
        auto copy = std::make_unique<Unusual>();
        copy->copy_from(*this);
        return copy;
    }

private:
    Tensor kernel_, gain_;
};

}  // namespace

// --- Members ------------------------------------------------------------------------------------

TEST_CASE("contract: every member of a linear layer, every rank and shape") {
    for (const LayerCase& layer : kLayerCases) {
        for (int rank = 1; rank <= kMaxRank; ++rank) {
            for (const bool antithetic : {true, false}) {
                // Emulated, every rank and every shape is seen with one and the other.
                if (is_slow() && antithetic == ((rank + layer.inputs) % 2 == 0)) continue;
                const NetworkCase of{.name = "layer",
                                     .widths = {layer.inputs, layer.outputs},
                                     .act = Act::none,
                                     .bias = rank % 3 != 0,
                                     .layer_norm = false,
                                     .rank = rank,
                                     .batch = layer.batch,
                                     .pop_size = layer.pop_size,
                                     .antithetic = antithetic};
                CAPTURE(layer.outputs);
                CAPTURE(layer.inputs);
                CAPTURE(rank);
                CAPTURE(antithetic);
                nn::Sequential model = make_model(of);
                Eggroll es(model, {.pop_size = of.pop_size,
                                   .sigma = 0.25f,
                                   .rank = rank,
                                   .seed = 5,
                                   .antithetic = antithetic});
                for (int64_t generation = 0; generation < (is_slow() ? 1 : 2); ++generation) {
                    const Population population = es.ask();
                    REQUIRE(population.generation() == generation);
                    const Worst worst = compare_members(of, model, es.options(), population);
                    CHECK(worst.copied <= 1);
                    CHECK(worst.alone <= 1);
                    CHECK(worst.shared <= 1);
                    CHECK(worst.own_input <= 1);
                    es.tell(random_fitness(of.pop_size));
                }
            }
        }
    }
}

TEST_CASE("contract: every member of a network") {
    for (const NetworkCase& of : network_cases()) {
        CAPTURE(of.name);
        nn::Sequential model = make_model(of, 3);
        Eggroll es(model, {.pop_size = of.pop_size,
                           .sigma = 0.1f,
                           .rank = of.rank,
                           .seed = 0x123456789abcdefull,
                           .antithetic = of.antithetic});
        for (int64_t generation = 0; generation < 2; ++generation) {
            const Worst worst = compare_members(of, model, es.options(), es.ask());
            CHECK(worst.copied <= 1);
            CHECK(worst.alone <= 1);
            CHECK(worst.shared <= 1);
            CHECK(worst.own_input <= 1);
            es.tell(random_fitness(of.pop_size));
        }
        // The centre is the plain forward.
        const Tensor x = random_tensor({of.batch, of.widths[0]}, 1);
        const Tensor y = model(x);
        CHECK_FALSE(y.is_per_member());
        CHECK(ref::excess(host(y), ref::forward(of, ref::centre_parameters(model), host(x))) <= 1);
    }
}

TEST_CASE("contract: a member's rows depend on nobody else's") {
    for (const int64_t batch : {1, 5, 16}) {
        const NetworkCase of{"rows", {9, 21, 4}, Act::relu, true, true, 3, batch, 10, true};
        CAPTURE(batch);
        nn::Sequential model = make_model(of);
        Eggroll es(model, {.pop_size = 10, .sigma = 0.1f, .rank = 3});
        const Population population = es.ask();
        Tensor x = random_tensor({10, batch, 9});
        const Tensor clean = population.forward(per_member(x));
        const auto part_size = static_cast<size_t>(batch * 9);
        for (const size_t p : {0, 3, 9}) {
            set(x, p * part_size + part_size / 2, std::numeric_limits<float>::quiet_NaN());
        }
        const Tensor y = population.forward(per_member(x));
        for (int64_t p = 0; p < 10; ++p) {
            const bool touched = p == 0 || p == 3 || p == 9;
            const auto before = part(clean, p), now = part(y, p);
            CHECK(std::equal(before.begin(), before.end(), now.begin()) != touched);
        }
    }
}

TEST_CASE("contract: batches of every size") {
    for (const int64_t batch : {1, 2, 5, 16, 61, 300}) {
        const NetworkCase of{"batches", {9, 21, 4}, Act::relu, true, false, 3, batch, 6, true};
        CAPTURE(batch);
        nn::Sequential model = make_model(of);
        Eggroll es(model, {.pop_size = 6, .sigma = 0.1f, .rank = 3});
        CHECK(compare_members(of, model, es.options(), es.ask()).all() <= 1);
    }
}

TEST_CASE("contract: populations of every size") {
    for (const int64_t pop_size : {2, 4, 18, 34, 62, 258, 1026}) {
        for (const bool antithetic : {true, false}) {
            const NetworkCase of{
                "populations", {5, 7, 3}, Act::tanh, true,
                false,         2,         3,         antithetic ? pop_size : pop_size + 1,
                antithetic};
            CAPTURE(of.pop_size);
            nn::Sequential model = make_model(of);
            Eggroll es(
                model,
                {.pop_size = of.pop_size, .sigma = 0.1f, .rank = 2, .antithetic = antithetic});
            CHECK(compare_members(of, model, es.options(), es.ask()).all() <= 1);
        }
    }
}

TEST_CASE("contract: a filtered model, and freezing changes nobody's noise") {
    const NetworkCase of{"filtered", {11, 17, 5}, Act::relu, true, true, 4, 5, 10, true};
    const Options all{.pop_size = 10, .sigma = 0.1f, .seed = 7};
    nn::Sequential model = make_model(of);
    const size_t count = model.parameters().size();
    const std::unique_ptr<nn::Module> copy = model.clone(), free_copy = model.clone();

    for (size_t kept = 0; kept < count; ++kept) {
        for (const bool freeze_one : {true, false}) {
            const std::string name = model.parameters()[kept].name;
            CAPTURE(name);
            CAPTURE(freeze_one);
            Options some = all;
            some.param_filter = [=](const std::string& n, const Tensor&) {
                return (n == name) != freeze_one;
            };
            Eggroll filtered(model, some), free(model, all);
            const Population population = filtered.ask(), free_population = free.ask();
            CHECK(compare_members(of, model, some, population).all() <= 1);
            for (const int64_t p : {0, 9}) {
                population.member(p).copy_to(*copy);
                free_population.member(p).copy_to(*free_copy);
                const auto centre = values_of(model);
                const auto own = values_of(*copy), unfiltered = values_of(*free_copy);
                for (size_t i = 0; i < count; ++i) {
                    const bool frozen = (i == kept) == freeze_one;
                    CHECK(own[i] == (frozen ? centre[i] : unfiltered[i]));
                }
            }
        }
    }
}

TEST_CASE("contract: the filter sees every name and value once") {
    nn::Sequential model =
        here(nn::Sequential(nn::Linear(4, 3), nn::LayerNorm(3), nn::Linear(3, 2, false)));
    std::vector<std::string> names;
    Eggroll es(model, {.param_filter = [&](const std::string& name, const Tensor& value) {
                   names.push_back(name + " " + to_string(value.shape()));
                   return true;
               }});
    CHECK(names == std::vector<std::string>{"0.weight (3,4)", "0.bias (3)", "1.weight (3)",
                                            "1.bias (3)", "2.weight (2,3)"});
}

TEST_CASE("contract: several modules count on in the order they were given") {
    const auto inner = [] {
        return nn::Sequential(nn::Linear(6, 4), nn::Tanh(), nn::Linear(4, 3));
    };
    nn::Sequential nested = here(nn::Sequential(inner(), nn::Tanh(), nn::Linear(3, 2)));
    CHECK(nested.parameters()[2].name == "0.2.weight");
    const NetworkCase of{"flat", {6, 4, 3, 2}, Act::tanh, true, false, 2, 5, 6, true};
    Eggroll es(nested, {.pop_size = 6, .sigma = 0.1f, .rank = 2});
    CHECK(compare_members(of, nested, es.options(), es.ask()).all() <= 1);
}

TEST_CASE("contract: parameters with a noise shape of their own") {
    Unusual model = here(Unusual());
    const Options options{.pop_size = 6, .sigma = 0.25f, .rank = 2, .seed = 3};
    Eggroll es(model, options);
    const Population population = es.ask();
    const Tensor x = random_tensor({4, 8});
    const Tensor y = population.forward(x);
    REQUIRE(y.shape() == Shape{6, 4, 2, 3});
    const std::unique_ptr<nn::Module> copy = model.clone();
    for (int64_t p = 0; p < 6; ++p) {
        const auto weights = ref::member_parameters(model, ref::law_of(options), p, 0);
        population.member(p).copy_to(*copy);
        const auto copied = values_of(*copy);
        CHECK(ref::excess(copied[0], weights[0].materialised()) <= 1);
        CHECK(ref::excess(copied[1], weights[1].materialised()) <= 1);
        std::vector<ref::Bounded> want;
        for (size_t b = 0; b < 4; ++b) {
            std::vector<ref::Bounded> row;
            for (size_t i = 0; i < 8; ++i) row.push_back({static_cast<double>(host(x)[b * 8 + i])});
            const std::vector<ref::Bounded> kernel = ref::linear(row, weights[0], nullptr);
            for (size_t g = 0; g < 6; ++g) {
                const ref::Bounded& k = kernel[g % 3];
                const double gain = weights[1].value[g];
                want.push_back({k.value * gain, k.error * std::fabs(gain) +
                                                    ref::kFew * ref::kUnit * std::fabs(k.value) *
                                                        weights[1].magnitude[g]});
            }
        }
        CHECK(ref::excess(part(y, p), want) <= 1);
    }
    ref::Trainer trainer(model, options, ref::Rule::sgd);
    const std::vector<float> fitness = random_fitness(6);
    es.tell(fitness);
    trainer.tell(fitness);
    CHECK(trainer.excess_of(model) <= 1);
}

TEST_CASE("contract: rows of a table") {
    for (const int rank : {1, 3, 8}) {
        for (const bool own : {false, true}) {
            CAPTURE(rank);
            CAPTURE(own);
            Table model = here(Table(13, 5));
            const Options options{.pop_size = 10, .sigma = 0.25f, .rank = rank};
            Eggroll es(model, options);
            std::vector<int32_t> ids;
            for (int32_t i = 0; i < (own ? 70 : 7); ++i) ids.push_back(i * 5 % 13);
            const Tensor x = own ? per_member(int_tensor({10, 7}, ids)) : int_tensor({7}, ids);
            const Tensor y = es.ask().forward(x);
            REQUIRE(y.shape() == Shape{10, 7, 5});
            for (int64_t p = 0; p < 10; ++p) {
                const auto table =
                    ref::member_parameters(model, ref::law_of(options), p, 0)[0].materialised();
                std::vector<ref::Bounded> want;
                for (int64_t i = 0; i < 7; ++i) {
                    const int32_t id = ids[static_cast<size_t>(own ? p * 7 + i : i)];
                    want.insert(want.end(), table.begin() + id * 5, table.begin() + id * 5 + 5);
                }
                CHECK(ref::excess(part(y, p), want) <= 1);
            }
        }
    }
}

/// A layer may compute weights on the fly; they are no parameters, so nobody perturbs them, and
/// their memory is soon another tensor's.
TEST_CASE("contract: products with weights made inside the pass") {
    class Scaled : public nn::Module {
    public:
        Scaled() { weight_ = register_parameter("weight", {6, 5}, nn::init::normal(1.0f)); }
        Tensor forward(const Tensor& x, const View& v) const override {
            Tensor sum = linear(x, weight_, Tensor(), v);
            for (const float factor : {2.0f, 4.0f, 8.0f}) {
                sum = sum + linear(x, weight_ * factor, Tensor(), v);
            }
            return sum;
        }

    private:
        Tensor weight_;
    };
    Scaled model = here(Scaled());
    const Options options{.pop_size = 34, .sigma = 0.25f, .rank = 2};
    Eggroll es(model, options);
    const Population population = es.ask();
    const Tensor x = random_tensor({3, 5});
    std::vector<Tensor> passes;
    for (int i = 0; i < 8; ++i) passes.push_back(population.forward(x));
    for (int64_t p = 0; p < 34; ++p) {
        // W_p x + 14 W x
        ref::MemberParameter w = ref::member_parameters(model, ref::law_of(options), p, 0)[0];
        const ref::MemberParameter centre = ref::centre_parameters(model)[0];
        for (size_t e = 0; e < w.value.size(); ++e) {
            w.value[e] += 14 * centre.value[e];
            w.magnitude[e] += 14 * centre.magnitude[e];
        }
        std::vector<ref::Bounded> want;
        for (size_t b = 0; b < 3; ++b) {
            std::vector<ref::Bounded> row;
            for (size_t i = 0; i < 5; ++i) {
                row.push_back({static_cast<double>(host(x)[b * 5 + i])});
            }
            for (const ref::Bounded& v : ref::linear(row, w, nullptr)) want.push_back(v);
        }
        double worst = ref::excess(host(population.member(p)(x)), want);
        for (const Tensor& y : passes) worst = std::max(worst, ref::excess(part(y, p), want));
        CHECK(worst <= 1);
    }
}

TEST_CASE("contract: a tiny sigma is the centre, up to rounding") {
    const NetworkCase of{"tiny", {9, 21, 4}, Act::relu, true, false, 4, 5, 10, true};
    nn::Sequential model = make_model(of);
    const std::string before = bits(model);
    const Tensor x = random_tensor({5, 9});
    for (const float sigma : {1e-12f, 1e-30f, 1.2e-38f}) {
        CAPTURE(sigma);
        Eggroll es(model, {.pop_size = 10, .sigma = sigma});
        const Population population = es.ask();
        const auto centre = ref::forward(of, ref::centre_parameters(model), host(x));
        const Tensor y = population.forward(x);
        for (int64_t p = 0; p < 10; ++p) {
            // σ|x B Aᵀ| is below 1e-9 here, far under the bound of about 1e-6.
            CHECK(ref::excess(part(y, p), centre) <= 1);
        }
        es.tell(random_fitness(10));
        if (sigma < 1e-20f) CHECK((bits(model) == before));
    }
}

// --- Perturbations materialised -----------------------------------------------------------------

TEST_CASE("contract: low_rank_noise and full_noise") {
    for (const LayerCase& layer : kLayerCases) {
        for (int rank = 1; rank <= kMaxRank; ++rank) {
            CAPTURE(layer.outputs);
            CAPTURE(layer.inputs);
            CAPTURE(rank);
            const NoiseStream stream{
                .seed = 11, .parameter = 3, .pair = 17, .generation = static_cast<uint32_t>(rank)};
            const float sigma = 0.3f;
            const ref::Perturbation want = ref::matrix_noise(layer.outputs, layer.inputs, rank,
                                                             static_cast<double>(sigma), stream);
            std::vector<ref::Bounded> bounded;
            for (size_t e = 0; e < want.delta.size(); ++e) {
                bounded.push_back({want.delta[e], (static_cast<double>(want.terms) + 4) *
                                                      ref::kUnit * want.magnitude[e]});
            }
            const Tensor got = low_rank_noise({layer.outputs, layer.inputs}, rank, sigma, stream);
            REQUIRE(got.shape() == Shape{layer.outputs, layer.inputs});
            CHECK(ref::excess(host(got), bounded) <= 1);
        }
    }
    const NoiseStream stream{.seed = 1, .parameter = 2, .pair = 3, .generation = 4};
    const Tensor got = full_noise({3, 5, 7}, 0.3f, stream);
    CHECK(got.shape() == Shape{3, 5, 7});
    std::vector<float> want(105);
    fill_normal(stream, 0, want);
    for (float& v : want) v *= 0.3f;
    CHECK(host(got) == want);  // one product each: no room to differ
}

// --- The update ---------------------------------------------------------------------------------

TEST_CASE("contract: the update, every rank and shape") {
    for (const LayerCase& layer : kLayerCases) {
        for (int rank = 1; rank <= kMaxRank; ++rank) {
            for (const bool antithetic : {true, false}) {
                CAPTURE(layer.outputs);
                CAPTURE(layer.inputs);
                CAPTURE(rank);
                CAPTURE(antithetic);
                nn::Sequential model =
                    here(nn::Sequential(nn::Linear(layer.inputs, layer.outputs)));
                const Options options{.pop_size = layer.pop_size,
                                      .sigma = 0.25f,
                                      .lr = 0.5f,
                                      .rank = rank,
                                      .seed = 9,
                                      .antithetic = antithetic,
                                      .normalize_fitness = rank % 2 == 0};
                ref::Trainer trainer(model, options, ref::Rule::sgd);
                Eggroll es(model, options);
                for (uint32_t generation = 0; generation < 2; ++generation) {
                    const std::vector<float> fitness = random_fitness(layer.pop_size, generation);
                    es.ask();
                    es.tell(fitness);
                    trainer.tell(fitness);
                    CHECK(trainer.excess_of(model) <= 1);
                }
                CHECK(trainer.blindness() < 1e-3);
            }
        }
    }
}

TEST_CASE("contract: several updates, every optimizer and shaping") {
    for (const NetworkCase& of : network_cases()) {
        for (const ref::Rule rule : {ref::Rule::sgd, ref::Rule::momentum, ref::Rule::adam}) {
            for (const bool normalize : {true, false}) {
                CAPTURE(of.name);
                CAPTURE(static_cast<int>(rule));
                CAPTURE(normalize);
                nn::Sequential model = make_model(of);
                const Options options{.pop_size = of.pop_size,
                                      .sigma = 0.1f,
                                      .lr = 0.02f,
                                      .rank = of.rank,
                                      .seed = 2,
                                      .antithetic = of.antithetic,
                                      .normalize_fitness = normalize,
                                      .optimizer = ref::optimizer_of(rule)};
                ref::Trainer trainer(model, options, rule);
                Eggroll es(model, options);
                for (uint32_t generation = 0; generation < 5; ++generation) {
                    const std::vector<float> fitness = random_fitness(of.pop_size, generation);
                    es.ask();
                    es.tell(fitness);
                    trainer.tell(fitness);
                    CHECK(trainer.excess_of(model) <= 1);
                }
                CHECK(trainer.blindness() < 2e-2);
            }
        }
    }
}

TEST_CASE("contract: the update of large populations and wide layers") {
    struct Large {
        int64_t inputs, outputs, pop_size;
        int rank;
        bool antithetic;
    };
    for (const Large& of :
         {Large{5, 3, 2050, 8, true}, Large{5, 3, 1021, 4, false}, Large{2100, 3, 34, 1, true},
          Large{3, 1100, 34, 2, true}, Large{40, 30, 514, 4, true}}) {
        CAPTURE(of.inputs);
        CAPTURE(of.outputs);
        CAPTURE(of.pop_size);
        nn::Sequential model = here(nn::Sequential(nn::Linear(of.inputs, of.outputs)));
        const Options options{.pop_size = of.pop_size,
                              .sigma = 0.25f,
                              .lr = 0.5f,
                              .rank = of.rank,
                              .antithetic = of.antithetic};
        ref::Trainer trainer(model, options, ref::Rule::sgd);
        Eggroll es(model, options);
        const std::vector<float> fitness = random_fitness(of.pop_size);
        es.ask();
        es.tell(fitness);
        trainer.tell(fitness);
        CHECK(trainer.excess_of(model) <= 1);
        CHECK(trainer.blindness() < 5e-2);
    }
}

TEST_CASE("contract: the update of a filtered model under schedules") {
    const NetworkCase of{"filtered", {11, 17, 5}, Act::relu, true, true, 4, 5, 10, true};
    for (const std::string frozen : {"0.weight", "1.bias", "3.weight"}) {
        CAPTURE(frozen);
        nn::Sequential model = make_model(of);
        const Options options{
            .pop_size = 10,
            .sigma = 0.2f,
            .lr = 0.1f,
            .seed = 4,
            .param_filter = [=](const std::string& name, const Tensor&) { return name != frozen; },
            .optimizer = optim::momentum(),
            .lr_schedule = schedule::cosine(5, 0.25),
            .sigma_schedule = schedule::exponential(0.75)};
        ref::Trainer trainer(model, options, ref::Rule::momentum);
        Eggroll es(model, options);
        for (uint32_t generation = 0; generation < 7; ++generation) {
            const std::vector<float> fitness = random_fitness(10, generation);
            es.ask();
            es.tell(fitness);
            trainer.tell(fitness);
            CHECK(trainer.excess_of(model) <= 1);  // the frozen one's bound is 0
        }
        CHECK(trainer.blindness() < 1e-3);
    }
}

TEST_CASE("contract: equal fitness moves nothing, nearly equal fitness is not blown up") {
    for (const bool normalize : {true, false}) {
        CAPTURE(normalize);
        nn::Sequential model = here(nn::Sequential(nn::Linear(7, 3)));
        const std::string before = bits(model);
        Eggroll es(model, {.pop_size = 8, .normalize_fitness = normalize});
        es.ask();
        es.tell(std::vector<float>(8, 3.5f));
        CHECK((bits(model) == before));
        CHECK(es.generation() == 1);
        // A spread of no more than 1e-8 is centred but not blown up to a spread of 1.
        std::vector<float> flat(8, 0.0f);
        flat[3] = 1e-9f;
        const Options options = es.options();
        ref::Trainer trainer(model, options, ref::Rule::sgd);
        nn::Sequential other(nn::Linear(7, 3));
        Eggroll fresh(other, options);
        fresh.ask();
        fresh.tell(flat);
        trainer.tell(flat);
        CHECK(trainer.excess_of(other) <= 1);
    }
}
