// SPDX-License-Identifier: MIT
// docs/options.md says what the code does: every field is in its table, with its default, and what
// lies outside the ranges given there is refused.
#include "tests/cases.h"

#include "core/text.h"

#include <eggroll/eggroll.h>

#include <doctest/doctest.h>

#include <cmath>
#include <fstream>
#include <functional>
#include <limits>
#include <map>
#include <sstream>
#include <string>
#include <vector>

using namespace eggroll;
using namespace eggroll::test;

namespace {

using Defaults = std::map<std::string, std::string>;  // by option

/// The options of one section of the page, and the defaults it gives.
Defaults documented(const std::string& section) {
    std::ifstream page(EGGROLL_DOCS "/options.md");
    REQUIRE(page.is_open());
    Defaults found;
    bool inside = false;
    for (std::string line; std::getline(page, line);) {
        if (line.starts_with("#")) inside = line.ends_with("# " + section);
        if (!inside || !line.starts_with("| `")) continue;
        std::vector<std::string> cells;
        std::istringstream cut(line);
        for (std::string cell; std::getline(cut, cell, '|');) {
            const size_t first = cell.find_first_not_of(' ');
            const size_t last = cell.find_last_not_of(' ');
            cells.push_back(first == std::string::npos ? "" : cell.substr(first, last - first + 1));
        }
        REQUIRE(cells.size() >= 5);
        CHECK(found.emplace(cells[1].substr(1, cells[1].size() - 2), cells[2]).second);
    }
    return found;
}

std::string text(bool value) {
    return value ? "true" : "false";
}
template <class T>
requires std::is_arithmetic_v<T> std::string text(T value) {
    if constexpr (std::is_integral_v<T>) return std::to_string(value);
    return detail::number(static_cast<float>(value));
}
template <class T>
std::string empty(const T& value) {
    return value ? "something" : "empty";
}

/// Each of them changes one option of a strategy to something out of range.
using Spoil = std::function<void(Options&)>;

}  // namespace

TEST_CASE("options: the page has every field of Options, and its default [host]") {
    // A field that is added has to be named here, or this does not compile.
    const auto& [pop_size, sigma, lr, rank, seed, antithetic, normalize_fitness, param_filter,
                 optimizer, lr_schedule, sigma_schedule, parallel_fitness, factor_cache_bytes,
                 precision, noise, noise_reuse, freeze_vectors, rules, shaping, non_finite,
                 evaluations, clip_norm] = Options{};
    CHECK(documented("Options") ==
          Defaults{{"pop_size", text(pop_size)},
                   {"sigma", text(sigma)},
                   {"lr", text(lr)},
                   {"rank", text(rank)},
                   {"seed", text(seed)},
                   {"antithetic", text(antithetic)},
                   {"normalize_fitness", text(normalize_fitness)},
                   {"param_filter", empty(param_filter)},
                   {"optimizer", empty(optimizer)},
                   {"lr_schedule", lr_schedule.name()},
                   {"sigma_schedule", sigma_schedule.name()},
                   {"parallel_fitness", text(parallel_fitness)},
                   {"factor_cache_bytes", text(factor_cache_bytes)},
                   {"precision", precision == Precision::f32 ? "f32" : "another"},
                   {"noise", noise.name()},
                   {"noise_reuse", text(noise_reuse)},
                   {"freeze_vectors", text(freeze_vectors)},
                   {"rules", empty(!rules.empty())},
                   {"shaping", empty(!shaping.name().empty())},
                   {"non_finite", non_finite == NonFinite::worst ? "worst" : "another"},
                   {"evaluations", text(evaluations)},
                   {"clip_norm", text(clip_norm)}});
}

TEST_CASE("options: what lies outside the ranges is refused by name [host]") {
    const std::vector<std::pair<const char*, Spoil>> cases = {
        {"pop_size", [](Options& o) { o.pop_size = 1; }},
        {"pop_size", [](Options& o) { o.pop_size = 0; }},
        {"pop_size", [](Options& o) { o.pop_size = -2; }},
        {"pop_size", [](Options& o) { o.pop_size = 33; }},
        {"pop_size", [](Options& o) { o.pop_size = (int64_t{1} << 32) + 2; }},
        {"sigma", [](Options& o) { o.sigma = 0; }},
        {"sigma", [](Options& o) { o.sigma = -1; }},
        {"sigma", [](Options& o) { o.sigma = kNan; }},
        {"sigma", [](Options& o) { o.sigma = kInf; }},
        {"lr", [](Options& o) { o.lr = -1; }},
        {"lr", [](Options& o) { o.lr = kNan; }},
        {"lr", [](Options& o) { o.lr = kInf; }},
        {"rank", [](Options& o) { o.rank = 0; }},
        {"normalize_fitness",
         [](Options& o) {
             o.normalize_fitness = false;
             o.shaping = shaping::z_score();
         }},
        {"factor_cache_bytes", [](Options& o) { o.factor_cache_bytes = -1; }},
        {"precision", [](Options& o) { o.precision = static_cast<Precision>(3); }},
        {"precision", [](Options& o) { o.precision = static_cast<Precision>(-1); }},
        {"noise", [](Options& o) { o.noise = noise::baseline(); }},
        {"noise",
         [](Options& o) {
             o.antithetic = false;
             o.noise = noise::baseline();
             o.shaping = shaping::z_score();
         }},
        {"noise_reuse", [](Options& o) { o.noise_reuse = -1; }},
        {"rules", [](Options& o) { o.rules = {{.pattern = "nobody"}}; }},
        {"rules", [](Options& o) { o.rules = {{.pattern = "*", .rank = 0}}; }},
        {"rules", [](Options& o) { o.rules = {{.pattern = "*", .sigma_scale = -1.0f}}; }},
        {"rules", [](Options& o) { o.rules = {{.pattern = "*", .sigma_scale = kInf}}; }},
        {"shaping", [](Options& o) { o.shaping = shaping::groups(5); }},
        {"shaping", [](Options& o) { o.shaping = shaping::against_first(); }},
        {"shaping",
         [](Options& o) {
             o.antithetic = false;
             o.shaping = shaping::sign_of_pair();
         }},
        {"non_finite", [](Options& o) { o.non_finite = static_cast<NonFinite>(3); }},
        {"evaluations", [](Options& o) { o.evaluations = 0; }},
        {"evaluations", [](Options& o) { o.evaluations = (int64_t{1} << 20) + 1; }},
        {"clip_norm", [](Options& o) { o.clip_norm = -1; }},
        {"clip_norm", [](Options& o) { o.clip_norm = kNan; }},
        {"clip_norm", [](Options& o) { o.clip_norm = kInf; }},
    };
    const Defaults known = documented("Options");
    for (const auto& [option, spoil] : cases) {
        const std::string name = option;
        CAPTURE(name);
        CHECK(known.count(name) == 1);
        nn::Linear model(4, 3);
        const auto before = values_of(model);
        Options options;
        spoil(options);
        std::string message;
        try {
            Eggroll es(model, options);
        } catch (const Error& error) {
            message = error.what();
        }
        CHECK(message.find(name) != std::string::npos);
        CHECK(values_of(model) == before);
    }
    // Schedules are looked at when a generation begins.
    for (const double factor : {-1.0, static_cast<double>(kNan), static_cast<double>(kInf)}) {
        nn::Linear model(4, 3);
        Options of_lr, of_sigma;
        of_lr.lr_schedule = {"wild", [=](int64_t) { return factor; }};
        of_sigma.sigma_schedule = {"wild", [=](int64_t) { return factor; }};
        Eggroll lr(model, of_lr), sigma(model, of_sigma);
        CHECK_THROWS_AS(lr.ask(), Error);
        CHECK_THROWS_AS(sigma.ask(), Error);
        CHECK(lr.generation() == 0);
    }
}

TEST_CASE("options: the page has the options of optimizers [host]") {
    const auto& [beta, nesterov] = optim::MomentumOptions{};
    CHECK(documented("MomentumOptions") ==
          Defaults{{"beta", text(beta)}, {"nesterov", text(nesterov)}});
    const auto& [beta1, beta2, eps] = optim::AdamOptions{};
    CHECK(documented("AdamOptions") ==
          Defaults{{"beta1", text(beta1)}, {"beta2", text(beta2)}, {"eps", text(eps)}});
    const auto& [wbeta1, wbeta2, weps, weight_decay] = optim::AdamWOptions{};
    CHECK(documented("AdamWOptions") == Defaults{{"beta1", text(wbeta1)},
                                                 {"beta2", text(wbeta2)},
                                                 {"eps", text(weps)},
                                                 {"weight_decay", text(weight_decay)}});
    for (const float bad : {-0.1f, 1.0f, kNan}) {
        CHECK_THROWS_AS(optim::momentum({.beta = bad}), Error);
        CHECK_THROWS_AS(optim::adam({.beta1 = bad}), Error);
        CHECK_THROWS_AS(optim::adam({.beta2 = bad}), Error);
        CHECK_THROWS_AS(optim::adamw({.beta1 = bad}), Error);
        CHECK_THROWS_AS(optim::adamw({.beta2 = bad}), Error);
    }
    for (const float bad : {0.0f, -1.0f, kNan, kInf}) {
        CHECK_THROWS_AS(optim::adam({.eps = bad}), Error);
        CHECK_THROWS_AS(optim::adamw({.eps = bad}), Error);
    }
    for (const float bad : {-1.0f, kNan, kInf}) {
        CHECK_THROWS_AS(optim::adamw({.weight_decay = bad}), Error);
    }
}

TEST_CASE("options: the page has the options of runs and bundles [host]") {
    const auto& [every, keep] = CheckpointOptions{};
    CHECK(documented("CheckpointOptions") ==
          Defaults{{"every", text(every)}, {"keep", text(keep)}});
    const auto& [accept_changes] = ResumeOptions{};
    CHECK(documented("ResumeOptions") == Defaults{{"accept_changes", text(accept_changes)}});
    const auto& [value, patience, min_delta, target, name] = EarlyStopOptions{};
    Report report;
    report.mean = 3;
    CHECK(documented("EarlyStopOptions") == Defaults{{"value", value(report) == 3 ? "mean" : "?"},
                                                     {"patience", text(patience)},
                                                     {"min_delta", text(min_delta)},
                                                     {"target", text(target)},
                                                     {"name", name}});
    CHECK_THROWS_AS(EarlyStop({}), Error);
    CHECK_THROWS_AS(EarlyStop({.patience = -1}), Error);
    CHECK_THROWS_AS(EarlyStop({.patience = 2, .min_delta = -1.0}), Error);
    CHECK_THROWS_AS(EarlyStop({.patience = 2, .target = std::nan("")}), Error);
    CHECK_THROWS_AS(EarlyStop({.patience = 2, .name = ""}), Error);

    const auto& [pattern, rule_rank, rule_scale, rule_frozen, rule_noise] = ParameterRule{};
    CHECK(documented("ParameterRule") == Defaults{{"pattern", empty(!pattern.empty())},
                                                  {"rank", empty(rule_rank)},
                                                  {"sigma_scale", empty(rule_scale)},
                                                  {"frozen", empty(rule_frozen)},
                                                  {"noise", empty(rule_noise)}});
    const auto& [best_value, measure, path] = KeepBestOptions{};
    CHECK(documented("KeepBestOptions") ==
          Defaults{{"value", best_value(report) == 3 ? "mean" : "?"},
                   {"measure", empty(measure)},
                   {"path", empty(!path.empty())}});
    const auto& [status, line, terminal, line_seconds, clock] = ProgressBarOptions{};
    CHECK(documented("ProgressBarOptions") == Defaults{{"status", empty(status)},
                                                       {"line", empty(line)},
                                                       {"terminal", empty(terminal)},
                                                       {"line_seconds", text(line_seconds)},
                                                       {"clock", empty(clock)}});
    std::ostringstream out;
    CHECK_THROWS_AS(ProgressBar(out, {.line_seconds = 0}), Error);
    const auto& [stride, padding, bias] = nn::Conv2dOptions{};
    const auto both = [](const Size2& size) {
        return std::to_string(size.rows) + " x " + std::to_string(size.cols);
    };
    CHECK(documented("Conv2dOptions") ==
          Defaults{{"stride", both(stride)}, {"padding", both(padding)}, {"bias", text(bias)}});

    const auto& [min, max, rank, sigma_scale, frozen, init] = EntryOptions{};
    CHECK(documented("EntryOptions") == Defaults{{"min", text(min)},
                                                 {"max", text(max)},
                                                 {"rank", text(rank)},
                                                 {"sigma_scale", text(sigma_scale)},
                                                 {"frozen", text(frozen)},
                                                 {"init", empty(init)}});
    ParameterBundle bundle;
    CHECK_THROWS_AS(bundle.scalar("x", 0.0f, {.min = 1.0f, .max = -1.0f}), Error);
    CHECK_THROWS_AS(bundle.scalar("x", 0.0f, {.sigma_scale = 0.0f}), Error);
    CHECK_THROWS_AS(bundle.matrix("x", {2, 2}, {.rank = -1}), Error);
    CHECK_THROWS_AS(bundle.vector("x", 2, {.rank = 1}), Error);
    bundle.scalar("x", 0.0f);
}
