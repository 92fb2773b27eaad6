// SPDX-License-Identifier: MIT
// Optimizers and clipping against their formulas in double and known answers.
#include "core/storage.h"
#include "tests/backend_array.h"
#include "tests/cases.h"
#include "tests/errors.h"

#include <eggroll/eggroll.h>

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <vector>

using namespace eggroll;
using namespace eggroll::test;

namespace {

/// Values after one update for each of the directions, from `value` on.
std::vector<float> updated(const Optimizer& rule, std::vector<float> value,
                           const std::vector<std::vector<float>>& directions, float lr) {
    const detail::Backend& backend = detail::backend_of(test_device());
    const auto n = static_cast<int64_t>(value.size());
    Tensor to = tensor({n}, value);
    std::vector<Tensor> state;
    for (int i = 0; i < rule.state_count(); ++i) state.push_back(zeros({n}));
    for (size_t t = 0; t < directions.size(); ++t) {
        const detail::GenerationBlock block{.lr = lr, .updates = static_cast<int64_t>(t)};
        const BackendArray<detail::GenerationBlock> there(
            backend, std::vector<detail::GenerationBlock>{block});
        rule.apply(to, tensor({n}, directions[t]), state, UpdateStep(block, *there.data()));
    }
    return host(to);
}

/// θ += lr g, and keeps every g.
class Recorder : public Optimizer {
public:
    std::string name() const override { return "recorder"; }
    int state_count() const override { return 0; }
    void apply(Tensor& value, const Tensor& g, std::span<Tensor>,
               const UpdateStep& step) const override {
        seen.push_back(host(g));
        value.assign(value + g * step.lr());
    }
    mutable std::vector<std::vector<float>> seen;
};

double norm_of(const std::vector<std::vector<float>>& parts) {
    double sum = 0;
    for (const auto& part : parts) {
        for (const float v : part) sum += static_cast<double>(v) * static_cast<double>(v);
    }
    return std::sqrt(sum);
}

/// What g an update is made of under a limit, per parameter; several runs of the sum of squares.
std::vector<std::vector<float>> directions_under(float clip_norm, float fitness_scale = 1.0f) {
    nn::Sequential model = here(nn::Sequential(nn::Linear(170, 100), nn::Linear(100, 3)));
    const auto recorder = std::make_shared<Recorder>();
    Eggroll es(model, {.pop_size = 8,
                       .normalize_fitness = false,
                       .param_filter = [](const std::string& name,
                                          const Tensor&) { return name != "1.weight"; },
                       .optimizer = recorder,
                       .clip_norm = clip_norm});
    std::vector<float> fitness = random_fitness(8);
    for (float& f : fitness) f *= fitness_scale;
    es.ask();
    es.tell(fitness);
    CHECK(recorder->seen.size() == 3);
    return recorder->seen;
}

}  // namespace

TEST_CASE("optimizer: Nesterov's momentum by hand") {
    // m = 1, then 1.5: θ = 1 + 1/2, and 1 + 3/4 more.
    const auto rule = optim::momentum({.beta = 0.5f, .nesterov = true});
    CHECK(updated(*rule, {0.0f}, {{1.0f}}, 1.0f) == std::vector<float>{1.5f});
    CHECK(updated(*rule, {0.0f}, {{1.0f}, {1.0f}}, 1.0f) == std::vector<float>{3.25f});
    CHECK(updated(*optim::momentum({.beta = 0.5f}), {0.0f}, {{1.0f}, {1.0f}}, 1.0f) ==
          std::vector<float>{2.5f});
    CHECK(rule->state_count() == 1);
    CHECK(rule->on_device());
}

TEST_CASE("optimizer: AdamW by its formula, and Adam without decay") {
    const int64_t n = 1003;
    std::vector<std::vector<float>> directions;
    for (uint32_t t = 0; t < 5; ++t) directions.push_back(random_fitness(n, t));
    const std::vector<float> start = random_fitness(n, 9);
    const auto rule =
        optim::adamw({.beta1 = 0.8f, .beta2 = 0.95f, .eps = 1e-6f, .weight_decay = 0.25f});
    const std::vector<float> got = updated(*rule, start, directions, 0.125f);
    double worst = 0;
    for (size_t i = 0; i < start.size(); ++i) {
        const auto b1 = static_cast<double>(0.8f), b2 = static_cast<double>(0.95f);
        double value = static_cast<double>(start[i]), m = 0, v = 0;
        for (size_t t = 0; t < directions.size(); ++t) {
            const auto g = static_cast<double>(directions[t][i]);
            value -= 0.125 * 0.25 * value;
            m = b1 * m + (1 - b1) * g;
            v = b2 * v + (1 - b2) * g * g;
            const auto count = static_cast<double>(t + 1);
            value += 0.125 * (m / (1 - std::pow(b1, count))) /
                     (std::sqrt(v / (1 - std::pow(b2, count))) + 1e-6);
        }
        worst = std::max(worst, std::fabs(static_cast<double>(got[i]) - value));
    }
    CHECK(worst < 5e-6);  // some ten roundings an update of numbers below 4
    CHECK(updated(*optim::adamw({.weight_decay = 0.0f}), start, directions, 0.125f) ==
          updated(*optim::adam(), start, directions, 0.125f));
    // Without a direction it only decays: 1 − 0.5·0.25 twice.
    CHECK(updated(*optim::adamw({.weight_decay = 0.25f}), {4.0f, -8.0f}, {{0, 0}, {0, 0}}, 0.5f) ==
          std::vector<float>{3.0625f, -6.125f});
}

TEST_CASE("optimizer: descriptions name every constant") {
    CHECK(optim::sgd()->describe() == "sgd");
    CHECK(optim::momentum()->describe() == "momentum(beta=0.9)");
    CHECK(optim::momentum({.beta = 0.5f, .nesterov = true})->describe() ==
          "momentum(beta=0.5,nesterov)");
    CHECK(optim::adam()->describe() == "adam(beta1=0.9,beta2=0.999,eps=1e-08)");
    CHECK(optim::adamw({.weight_decay = 0.1f})->describe() ==
          "adamw(beta1=0.9,beta2=0.999,eps=1e-08,weight_decay=0.1)");
    CHECK(Recorder().describe() == "recorder");
}

TEST_CASE("optimizer: constants out of range are refused") {
    check_refused([] { optim::momentum({.beta = 1.0f, .nesterov = true}); }, {"beta", "1"});
    check_refused([] { optim::adamw({.beta1 = 1.0f}); }, {"adamw", "beta1", "1"});
    check_refused([] { optim::adamw({.beta2 = -1.0f}); }, {"adamw", "beta2", "-1"});
    check_refused([] { optim::adamw({.eps = 0.0f}); }, {"adamw", "eps", "0"});
    check_refused([] { optim::adam({.eps = kInf}); }, {"adam", "eps", "inf"});
    check_refused([] { optim::adamw({.weight_decay = -0.5f}); }, {"weight_decay", "-0.5"});
    check_refused([] { optim::adamw({.weight_decay = kNan}); }, {"weight_decay", "nan"});
    nn::Sequential model = here(nn::Sequential(nn::Linear(4, 3)));
    for (const float bad : {-1.0f, kNan, kInf}) {
        check_refused([&] { Eggroll(model, {.clip_norm = bad}); }, {"clip_norm"});
    }
}

TEST_CASE("clipping: a longer direction is scaled to the limit, over all parameters") {
    const auto whole = directions_under(0.0f);
    const double norm = norm_of(whole);
    CHECK(norm > 0.05);
    const auto limit = static_cast<float>(norm / 3);
    const auto clipped = directions_under(limit);
    const double scale = static_cast<double>(limit) / norm;
    double worst = 0;
    for (size_t i = 0; i < whole.size(); ++i) {
        for (size_t e = 0; e < whole[i].size(); ++e) {
            const double want = static_cast<double>(whole[i][e]) * scale;
            // One rounding, and the norm's order of addition.
            const double off = std::fabs(static_cast<double>(clipped[i][e]) - want);
            worst = std::max(worst, off - 0x1.01p-24 * std::fabs(want));
        }
    }
    CHECK(worst <= 0);
    CHECK(norm_of(clipped) == doctest::Approx(static_cast<double>(limit)).epsilon(1e-7));
    // A shorter one keeps its bits; none at all stays none.
    CHECK(directions_under(static_cast<float>(norm * 1.001)) == whole);
    CHECK(norm_of(directions_under(1.0f, 0.0f)) == 0);
    // Neither a huge direction nor a tiny limit are lost.
    CHECK(norm_of(directions_under(1.0f, 1e36f)) == doctest::Approx(1.0).epsilon(1e-6));
    CHECK(norm_of(directions_under(1e-30f, 1e30f)) == doctest::Approx(1e-30).epsilon(1e-5));
}

TEST_CASE("clipping: SGD moves by lr times the limit at most") {
    nn::Sequential model = here(nn::Sequential(nn::Linear(10, 7)));
    Eggroll es(model, {.pop_size = 8, .lr = 2.0f, .clip_norm = 0.015625f});
    const auto before = values_of(model);
    es.ask();
    es.tell(random_fitness(8));
    auto change = values_of(model);
    for (size_t i = 0; i < change.size(); ++i) {
        for (size_t e = 0; e < change[i].size(); ++e) change[i][e] -= before[i][e];
    }
    CHECK(norm_of(change) == doctest::Approx(0.03125).epsilon(1e-4));
}
