// SPDX-License-Identifier: MIT
// The laws of noise: every member against the naive references, what the update makes of them, and
// whether their numbers are distributed as they say.
#include "tests/cases.h"
#include "tests/compare_members.h"
#include "tests/model_bits.h"
#include "tests/reference.h"

#include "core/noise_law.h"
#include "core/noise_math.h"

#include <eggroll/eggroll.h>

#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <memory>
#include <string>
#include <vector>

using namespace eggroll;
using namespace eggroll::test;
namespace ref = eggroll::test::reference;

namespace {

const std::vector<NoiseLaw>& laws() {
    static const std::vector<NoiseLaw> all = {noise::low_rank(), noise::full_rank(), noise::sign(),
                                              noise::sparse(5)};
    return all;
}

nn::Sequential small_model() {
    return here(nn::Sequential(nn::Linear(6, 5), nn::Tanh(), nn::Linear(5, 3)));
}

/// Hands every ascent direction to somebody, and changes nothing.
class Watch : public Optimizer {
public:
    explicit Watch(std::function<void(const Tensor& g)> see) : see_(std::move(see)) {}
    std::string name() const override { return "watch"; }
    int state_count() const override { return 0; }
    void apply(Tensor&, const Tensor& g, std::span<Tensor>, const UpdateStep&) const override {
        see_(g);
    }

private:
    std::function<void(const Tensor&)> see_;
};

}  // namespace

TEST_CASE("noise laws: names, and what they refuse [host]") {
    CHECK(NoiseLaw().name() == "low_rank");
    CHECK(noise::full_rank().name() == "full_rank");
    CHECK(noise::sign().name() == "sign");
    CHECK(noise::sparse(64).name() == "sparse(64)");
    CHECK(noise::baseline().name() == "baseline(low_rank)");
    CHECK(noise::baseline(noise::sparse(3)).name() == "baseline(sparse(3))");
    CHECK_THROWS_WITH_AS(noise::sparse(0), "[noise::sparse] entries must be at least 1 but is 0",
                         Error);
    nn::Linear model(4, 3);
    CHECK_THROWS_WITH_AS(Eggroll(model, {.noise = noise::baseline()}),
                         "[Options] noise must be without a baseline with antithetic sampling, "
                         "where it cancels but is baseline(low_rank)",
                         Error);
    CHECK_THROWS_WITH_AS(Eggroll(model, {.noise_reuse = -1}),
                         "[Options] noise_reuse must be at least 0 but is -1", Error);
}

TEST_CASE("noise laws: patterns [host]") {
    using detail::matches;
    CHECK(matches("*", ""));
    CHECK(matches("*", "0.weight"));
    CHECK(matches("*.bias", "0.2.bias"));
    CHECK(matches("0.*", "0.weight"));
    CHECK(matches("?.weight", "0.weight"));
    CHECK(matches("*e*g*", "0.weight"));
    CHECK(matches("0.weight", "0.weight"));
    CHECK(matches("a*b*c", "abbcbc"));
    CHECK_FALSE(matches("", "x"));
    CHECK_FALSE(matches("?.weight", "10.weight"));
    CHECK_FALSE(matches("*.bias", "0.bias2"));
    CHECK_FALSE(matches("0.weigh", "0.weight"));
    CHECK_FALSE(matches("a*b*c", "acb"));
}

TEST_CASE("noise laws: every member of a network, and the update") {
    for (const NetworkCase& of : network_cases()) {
        for (const NoiseLaw& law : laws()) {
            for (const bool baseline : {false, true}) {
                if (baseline && of.antithetic) continue;
                if (is_slow() && of.pop_size > 100) continue;
                CAPTURE(of.name);
                CAPTURE(law.name());
                CAPTURE(baseline);
                nn::Sequential model = make_model(of, 3);
                const Options options{.pop_size = of.pop_size,
                                      .sigma = 0.1f,
                                      .rank = of.rank,
                                      .seed = 11,
                                      .antithetic = of.antithetic,
                                      .noise = baseline ? noise::baseline(law) : law};
                Eggroll es(model, options);
                const Worst worst = compare_members(of, model, options, es.ask());
                CHECK(worst.copied <= 1);
                CHECK(worst.alone <= 1);
                CHECK(worst.shared <= 1);
                CHECK(worst.own_input <= 1);
                if (baseline) continue;  // another shaping
                ref::Trainer trainer(model, options, ref::Rule::sgd);
                for (int generation = 0; generation < 2; ++generation) {
                    const auto fitness = random_fitness(of.pop_size, generation);
                    es.tell(fitness);
                    trainer.tell(fitness);
                    es.ask();
                }
                CHECK(trainer.excess_of(model) <= 1);
                CHECK(trainer.blindness() < 1e-2);
            }
        }
    }
}

TEST_CASE("noise laws: shapes that no tile divides, every rank of signs") {
    for (const LayerCase& layer : kLayerCases) {
        for (const NoiseLaw& law : laws()) {
            for (const int rank : {1, 3, 8, 11, 37}) {
                if (law.name() != "sign" && rank > 1) continue;
                if (is_slow() && (rank == 3 || layer.pop_size > 6)) continue;
                const NetworkCase of{.name = "layer",
                                     .widths = {layer.inputs, layer.outputs},
                                     .act = Act::none,
                                     .bias = rank != 3,
                                     .layer_norm = false,
                                     .rank = rank,
                                     .batch = layer.batch,
                                     .pop_size = layer.pop_size,
                                     .antithetic = true};
                CAPTURE(layer.outputs);
                CAPTURE(layer.inputs);
                CAPTURE(law.name());
                CAPTURE(rank);
                nn::Sequential model = make_model(of);
                const Options options{
                    .pop_size = of.pop_size, .sigma = 0.25f, .rank = rank, .noise = law};
                Eggroll es(model, options);
                CHECK(compare_members(of, model, options, es.ask()).all() <= 1);
                ref::Trainer trainer(model, options, ref::Rule::sgd);
                const auto fitness = random_fitness(of.pop_size);
                es.tell(fitness);
                trainer.tell(fitness);
                CHECK(trainer.excess_of(model) <= 1);
            }
        }
    }
}

TEST_CASE("noise laws: rows of a table") {
    for (const NoiseLaw& law : laws()) {
        CAPTURE(law.name());
        Table model = here(Table(13, 5));
        const Options options{.pop_size = 6, .sigma = 0.25f, .rank = 3, .noise = law};
        Eggroll es(model, options);
        std::vector<int32_t> ids;
        for (int32_t i = 0; i < 42; ++i) ids.push_back(i * 5 % 13);
        const Tensor y = es.ask().forward(per_member(int_tensor({6, 7}, ids)));
        for (int64_t p = 0; p < 6; ++p) {
            const ref::MemberParameter table =
                ref::member_parameters(model, ref::law_of(options), p, 0)[0];
            const std::vector<ref::Bounded> all = table.materialised();
            std::vector<ref::Bounded> want;
            for (size_t i = 0; i < 7; ++i) {
                const auto id = static_cast<size_t>(ids[static_cast<size_t>(p) * 7 + i]);
                want.insert(want.end(), all.begin() + id * 5, all.begin() + (id + 1) * 5);
            }
            CHECK(ref::excess(part(y, p), want) <= 1);
        }
    }
}

TEST_CASE("noise laws: one generation's bits for any number of threads") {
    for (const NoiseLaw& law : laws()) {
        CAPTURE(law.name());
        std::vector<std::vector<float>> first;
        for (const int threads : {1, 2, 3}) {
            const ThreadScope scope(threads);
            nn::Sequential model = small_model();
            Eggroll es(model, {.pop_size = 66, .sigma = 0.1f, .noise = law});
            const Tensor x = random_tensor({4, 6}), target = random_tensor({4, 3}, 1);
            for (int i = 0; i < 2; ++i) es.step(x, loss::mse(target));
            if (first.empty()) first = values_of(model);
            CHECK(values_of(model) == first);
        }
    }
}

TEST_CASE("noise laws: noise that several generations share") {
    for (const int64_t reuse : {0, 1, 3}) {
        CAPTURE(reuse);
        nn::Sequential model = small_model();
        const Options options{.pop_size = 4, .sigma = 0.25f, .lr = 0.0f, .noise_reuse = reuse};
        Eggroll es(model, options);
        const Tensor x = random_tensor({2, 6});
        std::vector<std::vector<float>> seen;
        for (int t = 0; t < 7; ++t) {
            seen.push_back(host(es.ask().forward(x)));
            es.tell(random_fitness(4));
        }
        for (int t = 1; t < 7; ++t) {
            const bool same = reuse == 0 || (reuse > 1 && t % reuse != 0);
            CHECK((seen[static_cast<size_t>(t)] == seen[static_cast<size_t>(t - 1)]) == same);
        }
    }
    // And the update means the same noise.
    nn::Sequential model = small_model();
    const Options options{.pop_size = 4, .sigma = 0.25f, .noise_reuse = 2};
    Eggroll es(model, options);
    ref::Trainer trainer(model, options, ref::Rule::sgd);
    for (uint32_t t = 0; t < 5; ++t) {
        es.ask();
        es.tell(random_fitness(4, t));
        trainer.tell(random_fitness(4, t));
    }
    CHECK(trainer.excess_of(model) <= 1);
}

TEST_CASE("noise laws: the baseline is the centre, and a captured step knows it") {
    nn::Sequential model = small_model();
    Eggroll es(model, {.pop_size = 5,
                       .sigma = 0.25f,
                       .antithetic = false,
                       .noise = noise::baseline(noise::low_rank())});
    const Population population = es.ask();
    const std::unique_ptr<nn::Module> copy = model.clone();
    population.member(0).copy_to(*copy);
    CHECK(bits(*copy) == bits(model));
    population.member(1).copy_to(*copy);
    CHECK(bits(*copy) != bits(model));
}

// --- Rules --------------------------------------------------------------------------------------

TEST_CASE("rules: rank, scale, freezing and law by name") {
    nn::Sequential model = small_model();
    const Options options{.pop_size = 6,
                          .sigma = 0.25f,
                          .rank = 4,
                          .noise = noise::sign(),
                          .rules = {{.pattern = "0.*", .sigma_scale = 0.5f},
                                    {.pattern = "0.weight", .rank = 1, .noise = noise::low_rank()},
                                    {.pattern = "*.bias", .frozen = true},
                                    {.pattern = "2.bias", .sigma_scale = 3.0f, .frozen = false},
                                    {.pattern = "2.weight", .noise = noise::full_rank()}}};
    Eggroll es(model, options);
    const Population population = es.ask();
    const std::unique_ptr<nn::Module> copy = model.clone();
    const auto before = values_of(model);
    // What each parameter is like by itself.
    const auto expected = [&](size_t i, int64_t p) {
        ref::Law law = ref::law_of(options);
        if (i == 0) law = {options.seed, 0.125, 1, true, "low_rank"};
        if (i == 2) law.law = "full_rank";
        if (i == 3) law.sigma *= 3;
        return ref::member_parameters(model, law, p, 0)[i];
    };
    for (int64_t p = 0; p < 6; ++p) {
        population.member(p).copy_to(*copy);
        const auto values = values_of(*copy);
        for (const size_t i : {0, 2, 3}) {
            CAPTURE(i);
            CHECK(ref::excess(values[i], expected(i, p).materialised()) <= 1);
        }
        CHECK(values[1] == before[1]);
    }
    // The batched pass and the update mean the same members.
    const Tensor x = random_tensor({3, 6});
    const Tensor all = population.forward(x);
    for (int64_t p = 0; p < 6; ++p) {
        population.member(p).copy_to(*copy);
        const std::vector<float> want = host((*copy)(x)), got = part(all, p);
        for (size_t i = 0; i < want.size(); ++i) {
            CHECK(got[i] == doctest::Approx(want[i]).epsilon(1e-4));
        }
    }
    es.tell(random_fitness(6));
    const auto after = values_of(model);
    CHECK(after[1] == before[1]);
    for (const size_t i : {0, 2, 3}) CHECK(after[i] != before[i]);
}

TEST_CASE("rules: a scale of sigma is as another sigma") {
    const auto train = [](float sigma, float scale) {
        nn::Sequential model = small_model();
        Eggroll es(
            model,
            {.pop_size = 8, .sigma = sigma, .rules = {{.pattern = "*", .sigma_scale = scale}}});
        const Tensor x = random_tensor({4, 6}), target = random_tensor({4, 3}, 1);
        for (int i = 0; i < 3; ++i) es.step(x, loss::mse(target));
        return values_of(model);
    };
    CHECK(train(0.25f, 0.5f) == train(0.125f, 1.0f));
    CHECK(train(0.25f, 1.0f) != train(0.125f, 1.0f));
}

TEST_CASE("rules: freeze_vectors and the filter have the last word") {
    nn::Sequential model = small_model();
    const auto before = values_of(model);
    Eggroll es(model, {.pop_size = 4,
                       .param_filter = [](const std::string& name,
                                          const Tensor&) { return name != "0.weight"; },
                       .freeze_vectors = true,
                       .rules = {{.pattern = "*", .frozen = false}}});
    es.ask();
    es.tell(random_fitness(4));
    const auto after = values_of(model);
    CHECK(after[0] == before[0]);
    CHECK(after[1] == before[1]);
    CHECK(after[2] != before[2]);
    CHECK(after[3] == before[3]);
}

TEST_CASE("rules: what they refuse [host]") {
    nn::Sequential model = small_model();
    const auto refused = [&](const ParameterRule& rule, const char* why) {
        CHECK_THROWS_WITH_AS(Eggroll(model, {.rules = {rule}}), why, Error);
    };
    refused({.pattern = "0.weigth", .rank = 2},
            "[Options] rules[\"0.weigth\"] matches none of the parameters \"0.weight\" "
            "\"0.bias\" \"2.weight\" \"2.bias\"");
    refused({.pattern = "*", .rank = 0}, "[Options] rules[\"*\"].rank must be at least 1 but is 0");
    refused({.pattern = "*", .sigma_scale = 0.0f},
            "[Options] rules[\"*\"].sigma_scale must be positive and finite but is 0");
    refused({.pattern = "*", .noise = noise::baseline()},
            "[Options] rules[\"*\"].noise must be a law of one parameter, without a baseline but "
            "is baseline(low_rank)");
    refused({.pattern = "*.bias", .rank = 2},
            "[Options] rules[\"*.bias\"].rank is 2 but none of the parameters it matches is a "
            "matrix");
    refused({.pattern = "0.bias", .noise = noise::sign()},
            "[Options] rules[\"0.bias\"].noise is sign but none of the parameters it matches is a "
            "matrix");
    CHECK_THROWS_WITH_AS(Eggroll(model, {.rules = {{.pattern = "*", .frozen = true}}}),
                         "[Eggroll] no parameter is selected: param_filter, rules, "
                         "freeze_vectors or frozen entries leave out all 4",
                         Error);
}

// --- Distributions ------------------------------------------------------------------------------

namespace {

/// One matrix's perturbation under a law at σ = 1, r = 2.
Tensor materialised(const NoiseLaw& law, const Shape& shape, const NoiseStream& stream) {
    const std::string name = law.name();
    if (name == "full_rank") return full_noise(shape, 1.0f, stream);
    if (name == "sign") return sign_noise(shape, 2, 1.0f, stream);
    if (name == "low_rank") return low_rank_noise(shape, 2, 1.0f, stream);
    return sparse_noise(shape, 5, 1.0f, stream);
}

/// E[e⁴] of an entry: 3 + 6/r; 3; 3 − 2/r; and of k terms v √(n/k), each at an entry with chance
/// 1/n, 3 n/k from single terms and 3 (k−1)/k from pairs of them.
double kurtosis_of(const NoiseLaw& law, double n) {
    const std::string name = law.name();
    if (name == "low_rank") return 6.0;
    if (name == "full_rank") return 3.0;
    if (name == "sign") return 2.0;
    return 3.0 * n / 5 + 3.0 * 4 / 5;
}

}  // namespace

TEST_CASE("noise laws: mean 0, variance 1, uncorrelated, and the kurtosis [host]") {
    constexpr int kDraws = 40000;
    const Shape shape{3, 4};
    for (const NoiseLaw& law : laws()) {
        CAPTURE(law.name());
        double sum = 0, squares = 0, fourth = 0, eighth = 0, rows = 0, columns = 0, far = 0;
        for (uint32_t i = 0; i < kDraws; ++i) {
            const Tensor e =
                materialised(law, shape, {.seed = 9, .parameter = 2, .pair = i, .generation = 1});
            const auto v = [&](size_t at) { return static_cast<double>(e.data()[at]); };
            for (size_t at = 0; at < 12; ++at) {
                const double square = v(at) * v(at);
                sum += v(at);
                squares += square;
                fourth += square * square;
                eighth += square * square * square * square;
            }
            rows += v(0) * v(1);
            columns += v(0) * v(4);
            far += v(0) * v(5);
        }
        // Five standard errors. The twelve entries of a draw depend on each other: at worst they
        // count as one.
        const double n = 12.0 * kDraws, kurtosis = kurtosis_of(law, 12);
        const double error = 5 / std::sqrt(static_cast<double>(kDraws));
        CHECK(std::fabs(sum / n) < error);
        CHECK(std::fabs(squares / n - 1) < error * std::sqrt(kurtosis - 1));
        CHECK(std::fabs(fourth / n - kurtosis) < error * std::sqrt(eighth / n));
        for (const double product : {rows, columns, far}) {
            CHECK(std::fabs(product / kDraws) < error * std::sqrt(kurtosis));
        }
    }
}

TEST_CASE("noise laws: the ascent direction on a quadratic has no bias [host]") {
    // f(W) = −½ Σ h (W − W*)². Pairs: f(W+δ) − f(W−δ) = 2 δ·∇f, so that with f̂ = f − mean
    // E[g] = √P σ² ∇f under any law whose entries are uncorrelated with variance 1. Without pairs
    // the mean takes 1/P of it away, and against the centre the centre's share is missing.
    constexpr int kReplicates = 10000;
    const Shape shape{3, 4};
    for (const NoiseLaw& law : laws()) {
        for (const bool antithetic : {true, false}) {
            CAPTURE(law.name());
            CAPTURE(antithetic);
            nn::Linear model(4, 3, false);
            const std::vector<float> w = host(model.parameters()[0].value);
            std::vector<double> gradient, sum(12), squares(12);
            for (size_t e = 0; e < 12; ++e) {
                const double target = 0.1 * static_cast<double>(e) - 0.5;
                gradient.push_back(-(1.0 + 0.25 * static_cast<double>(e % 3)) *
                                   (static_cast<double>(w[e]) - target));
            }
            const auto watch = std::make_shared<Watch>([&](const Tensor& g) {
                for (size_t e = 0; e < 12; ++e) {
                    const auto v = static_cast<double>(g.data()[e]);
                    sum[e] += v;
                    squares[e] += v * v;
                }
            });
            constexpr int64_t kPop = 4;
            constexpr float kSigma = 0.25f;
            Eggroll es(model, {.pop_size = kPop,
                               .sigma = kSigma,
                               .rank = 2,
                               .antithetic = antithetic,
                               .normalize_fitness = false,
                               .optimizer = watch,
                               .noise = law});
            nn::Linear member(4, 3, false);
            for (int t = 0; t < kReplicates; ++t) {
                const Population population = es.ask();
                std::vector<double> fitness;
                for (int64_t p = 0; p < kPop; ++p) {
                    population.member(p).copy_to(member);
                    const Tensor value = member.parameters()[0].value;
                    double f = 0;
                    for (size_t e = 0; e < 12; ++e) {
                        const double off = static_cast<double>(value.data()[e]) -
                                           (0.1 * static_cast<double>(e) - 0.5);
                        f -= 0.5 * (1.0 + 0.25 * static_cast<double>(e % 3)) * off * off;
                    }
                    fitness.push_back(f);
                }
                es.tell(fitness);
            }
            const double expected = std::sqrt(static_cast<double>(kPop)) *
                                    static_cast<double>(kSigma) * static_cast<double>(kSigma) *
                                    (antithetic ? 1.0 : 1.0 - 1.0 / kPop);
            double along = 0, size = 0;
            for (size_t e = 0; e < 12; ++e) {
                const double mean = sum[e] / kReplicates;
                const double variance = squares[e] / kReplicates - mean * mean;
                CHECK(std::fabs(mean - expected * gradient[e]) <
                      5 * std::sqrt(variance / kReplicates));
                along += mean * gradient[e];
                size += expected * gradient[e] * gradient[e];
            }
            CHECK(along / size == doctest::Approx(1.0).epsilon(0.1));
        }
    }
}

TEST_CASE("noise laws: against the baseline the direction is along the gradient [host]") {
    // f(W) = u W v, whose gradient is u vᵀ. The law of δ is the same under every rotation from the
    // left and from the right, and so is that of the z-scored fitness: what those that keep u and v
    // leave alone is a multiple of u vᵀ.
    constexpr int kReplicates = 10000;
    constexpr double kU[] = {0.5, -1.0, 0.25}, kV[] = {1.0, 0.5, -0.5, 0.75};
    for (const NoiseLaw& law : {noise::low_rank(), noise::full_rank()}) {
        CAPTURE(law.name());
        nn::Linear model(4, 3, false), member(4, 3, false);
        std::vector<double> sum(12), squares(12);
        const auto watch = std::make_shared<Watch>([&](const Tensor& g) {
            for (size_t e = 0; e < 12; ++e) {
                const auto v = static_cast<double>(g.data()[e]);
                sum[e] += v;
                squares[e] += v * v;
            }
        });
        Eggroll es(model, {.pop_size = 5,
                           .sigma = 0.25f,
                           .rank = 2,
                           .antithetic = false,
                           .optimizer = watch,
                           .noise = noise::baseline(law)});
        for (int t = 0; t < kReplicates; ++t) {
            const Population population = es.ask();
            std::vector<double> fitness;
            for (int64_t p = 0; p < 5; ++p) {
                population.member(p).copy_to(member);
                const Tensor value = member.parameters()[0].value;
                double f = 0;
                for (size_t e = 0; e < 12; ++e) {
                    f += kU[e / 4] * kV[e % 4] * static_cast<double>(value.data()[e]);
                }
                fitness.push_back(f);
            }
            es.tell(fitness);
        }
        double along = 0, size = 0;
        for (size_t e = 0; e < 12; ++e) {
            const double gradient = kU[e / 4] * kV[e % 4];
            along += sum[e] / kReplicates * gradient;
            size += gradient * gradient;
        }
        CHECK(along > 0);
        for (size_t e = 0; e < 12; ++e) {
            const double mean = sum[e] / kReplicates;
            const double variance = squares[e] / kReplicates - mean * mean;
            CHECK(std::fabs(mean - along / size * kU[e / 4] * kV[e % 4]) <
                  5 * std::sqrt(variance / kReplicates));
        }
    }
}

TEST_CASE("noise laws: signs are bits of the stream's words [host]") {
    const NoiseStream stream{.seed = 3, .parameter = 1, .pair = 2, .generation = 4};
    std::vector<uint32_t> words(200);
    fill_words(stream, 0, words);
    for (const size_t first : {0, 1, 31, 32, 127, 128, 1000}) {
        for (const size_t n : {0, 1, 5, 33, 400, 5000}) {
            std::vector<float> got(n);
            fill_signs(stream, first, got);
            bool right = true;
            for (size_t i = 0; i < n; ++i) {
                const size_t e = first + i;
                right = right && got[i] == ((words[e / 32] >> (e % 32) & 1) != 0 ? -1.0f : 1.0f);
            }
            CHECK(right);
        }
    }
    std::vector<float> out(2);
    fill_signs(stream, (uint64_t{1} << 39) - 2, out);
    CHECK_THROWS_AS(fill_signs(stream, (uint64_t{1} << 39) - 1, out), Error);
}

TEST_CASE("noise laws: places lie evenly [host]") {
    // floor(u n / 2^64) for the ends, and for n that do not fit into 32 bits.
    using detail::place_of;
    CHECK(place_of(0, 0, 12) == 0);
    CHECK(place_of(0xFFFFFFFFu, 0xFFFFFFFFu, 12) == 11);
    CHECK(place_of(0, 0x80000000u, 12) == 6);
    CHECK(place_of(0xFFFFFFFFu, 0xFFFFFFFFu, uint64_t{1} << 40) == (uint64_t{1} << 40) - 1);
    CHECK(place_of(0x01000000u, 0, uint64_t{1} << 40) == 1);
    CHECK(place_of(0x00FFFFFFu, 0, uint64_t{1} << 40) == 0);
    CHECK(place_of(0xFFFFFFFFu, 0x7FFFFFFFu, (uint64_t{3} << 33) + 1) == (uint64_t{3} << 32));
}
