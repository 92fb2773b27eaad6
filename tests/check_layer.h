// SPDX-License-Identifier: MIT
#pragma once

#include "core/scope.h"
#include "tests/backend_array.h"
#include "tests/cases.h"
#include "tests/model_bits.h"

#include <eggroll/eggroll.h>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

// What any layer must satisfy, whatever it computes: `check_layer`.

namespace eggroll::test {

/// How a layer is checked.
struct LayerCheck {
    Device device = test_device();
    /// Products in the sums behind one output element, those of inner layers added up.
    int64_t terms = 32;
    int64_t pop_size = 22;  // several chunks, the last one short; at least 9
    float sigma = 0.1f;
    int rank = 3;
    /// Makes an input of that shape; inputs of another `which` have other values.
    std::function<Tensor(const Shape& shape, uint32_t which)> input = random_tensor;
};

namespace layer_check {

/// A layer behind a perturbed scale of its input: gives a layer without parameters something to be
/// perturbed, and any layer an input of each member's own.
class Scaled : public nn::Module {
public:
    explicit Scaled(std::unique_ptr<nn::Module> inner) : inner_(std::move(inner)) {
        scale_ = register_parameter("scale", {1}, nn::init::ones());
        register_module("inner", *inner_);
    }
    Tensor forward(const Tensor& x, const View& v) const override {
        return inner_->forward(x * perturbed(scale_, v), v);
    }
    std::unique_ptr<nn::Module> clone() const override {
        auto copy = std::make_unique<Scaled>(inner_->clone());
        copy->copy_from(*this);
        return copy;
    }

private:
    std::unique_ptr<nn::Module> inner_;
    Tensor scale_;
};

/// Largest |a − b|; infinite for unlike counts and numbers that are not finite.
inline double distance(std::span<const float> a, std::span<const float> b) {
    if (a.size() != b.size()) return std::numeric_limits<double>::infinity();
    double worst = 0;
    for (size_t i = 0; i < a.size(); ++i) {
        const double off = std::fabs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
        if (!std::isfinite(off)) return std::numeric_limits<double>::infinity();
        worst = std::max(worst, off);
    }
    return worst;
}

/// A sum of n products is within n·u·Σ|products| in whatever order (Higham, Accuracy and Stability,
/// §3.1); the largest output, and at least 1, stands for that Σ, since the checked layers have
/// weights of a size of 1/√I and inputs of a size of 1. 16 roundings lie outside the sums; the
/// factor 2 is for the two computations compared.
inline double bound(const LayerCheck& check, std::span<const float> y) {
    double largest = 1;
    for (const float v : y) largest = std::max(largest, std::fabs(static_cast<double>(v)));
    return 2 * (static_cast<double>(check.terms) + 16) * 0x1p-24 * largest;
}

/// One member's part of a per-member input.
inline Tensor own_input(const Tensor& xs, int64_t member) {
    const Tensor plain = without_members(xs);
    Shape shape = plain.shape();
    shape.erase(shape.begin());
    return slice(plain, 0, member, member + 1).reshape(shape);
}

/// clone() has the same parameters and outputs, and memory of its own.
inline void check_clone(const nn::Module& layer, const Tensor& x) {
    const std::unique_ptr<nn::Module> copy = layer.clone();
    const std::vector<Parameter> own = layer.parameters(), copied = copy->parameters();
    REQUIRE(own.size() == copied.size());
    for (size_t i = 0; i < own.size(); ++i) {
        CHECK(own[i].name == copied[i].name);
        CHECK(own[i].value.shape() == copied[i].value.shape());
        CHECK(own[i].noise.rows == copied[i].noise.rows);
        CHECK(own[i].noise.cols == copied[i].noise.cols);
    }
    const std::string before = bits(layer);
    CHECK((bits(*copy) == before));
    const std::vector<float> y = host(layer(x));
    CHECK((host((*copy)(x)) == y));
    for (Parameter& parameter : copy->parameters()) {
        parameter.value.assign(Tensor::full(parameter.value.shape(), 7.0f));
    }
    CHECK((bits(layer) == before));
    CHECK((host(layer(x)) == y));
}

/// The unperturbed layer: the same for shared rows and for members', whole or in parts.
inline void check_centre(const nn::Module& layer, const Tensor& x, const Tensor& xs,
                         const LayerCheck& check) {
    const Tensor y = layer(x);
    CHECK_FALSE(y.is_per_member());
    const std::vector<float> all = host(y);
    const double limit = bound(check, all);
    CHECK((host(layer(x)) == all));

    const int64_t batch = x.dim(0), split = (batch + 1) / 2;
    if (batch > 1) {
        std::vector<float> joined = host(layer(slice(x, 0, 0, split)));
        const std::vector<float> rest = host(layer(slice(x, 0, split, batch)));
        joined.insert(joined.end(), rest.begin(), rest.end());
        CHECK(distance(joined, all) <= limit);
    }
    const Tensor ys = layer(xs);
    REQUIRE(ys.is_per_member());
    REQUIRE(ys.members() == xs.members());
    REQUIRE(ys.part_shape() == y.shape());
    for (int64_t p = 0; p < xs.members(); ++p) {
        const std::vector<float> own = host(layer(own_input(xs, p)));
        CHECK(distance(part(ys, p), own) <= bound(check, own));
    }
}

/// Each member in the population, alone, and as the plain forward of the weights copy_to writes.
inline void check_members(nn::Module& model, const Tensor& x, const Tensor& xs,
                          const Population& population, const LayerCheck& check) {
    const Tensor shared = population.forward(x), own = population.forward(xs);
    const Shape part_shape = model(x).shape();
    for (const Tensor& y : {shared, own}) {
        REQUIRE(y.is_per_member());
        REQUIRE(y.members() == population.size());
        REQUIRE(y.part_shape() == part_shape);
    }
    const std::vector<float> centre = host(model(x));
    const std::unique_ptr<nn::Module> written = model.clone();
    double moved = 0;
    for (int64_t p = 0; p < population.size(); p += is_slow() ? 3 : 1) {
        const Member member = population.member(p);
        member.copy_to(*written);
        const std::vector<float> y = host((*written)(x));
        const double limit = bound(check, y);
        CHECK(distance(part(shared, p), y) <= limit);
        const Tensor alone = member(x);
        CHECK_FALSE(alone.is_per_member());
        CHECK(alone.shape() == part_shape);
        CHECK(distance(host(alone), y) <= limit);
        moved = std::max(moved, distance(y, centre) / limit);

        const Tensor x_p = own_input(xs, p);
        const std::vector<float> y_p = host((*written)(x_p));
        CHECK(distance(part(own, p), y_p) <= bound(check, y_p));
        CHECK(distance(host(member(x_p)), y_p) <= bound(check, y_p));
    }
    CHECK(moved > 100);  // the perturbation is far above what the comparison overlooks
}

/// Part of the batch gives part of the outputs.
inline void check_batch_split(const Tensor& x, const Population& population,
                              const LayerCheck& check) {
    const int64_t batch = x.dim(0);
    const Tensor all = population.forward(x);
    for (const int64_t split : {int64_t{1}, batch / 2, batch - 1}) {
        if (split < 1 || split >= batch) continue;
        const Tensor head = population.forward(slice(x, 0, 0, split));
        const Tensor tail = population.forward(slice(x, 0, split, batch));
        for (int64_t p = 0; p < population.size(); ++p) {
            std::vector<float> joined = part(head, p);
            const std::vector<float> rest = part(tail, p), whole = part(all, p);
            joined.insert(joined.end(), rest.begin(), rest.end());
            CHECK(distance(joined, whole) <= bound(check, whole));
        }
    }
}

/// All parameters perturbed, as a strategy sees them.
inline detail::ParameterTable table_of(const nn::Module& model, int rank) {
    std::vector<detail::TableEntry> entries;
    for (const Parameter& parameter : model.parameters()) {
        const NoiseShape& noise = parameter.noise;
        const int64_t r = std::min({int64_t{rank}, noise.rows, noise.cols});
        entries.push_back({.parameter = parameter,
                           .index = static_cast<uint32_t>(entries.size()),
                           .perturbed = true,
                           .rank = noise.is_matrix() ? static_cast<int>(r) : 0});
    }
    return detail::ParameterTable(std::move(entries));
}

/// Any range of members gives their part of the population, and forward is re-entrant: several
/// threads with ranges of one scope get what each gets alone.
inline void check_ranges(const nn::Module& model, const Tensor& x, const Options& options,
                         const Population& population, const LayerCheck& check) {
    const int64_t size = population.size();
    const std::vector<std::pair<int64_t, int64_t>> ranges = {
        {0, size}, {0, 1}, {1, 1}, {1, 4}, {2, 7}, {size - 1, 1}, {size / 2, size - size / 2}};
    const detail::ParameterTable table = table_of(model, options.rank);
    const detail::GenerationBlock block{.seed = options.seed, .sigma = options.sigma};
    const BackendArray<detail::GenerationBlock> there(detail::backend_of(x.device()),
                                                      std::vector{block});
    detail::Scope scope(table, {.block = there.data(), .antithetic = options.antithetic});
    scope.input = x;
    const auto run = [&](size_t i) {
        const auto [first, count] = ranges[i];
        const Tensor own =
            x.is_per_member() ? detail::TensorAccess::member_range(x, first, count) : x;
        return model.forward(own, detail::ViewAccess::make(scope, first, count));
    };

    const Tensor all = population.forward(x);
    std::vector<std::vector<float>> alone;
    for (size_t i = 0; i < ranges.size(); ++i) {
        const int64_t first = ranges[i].first, count = ranges[i].second;
        CAPTURE(first);
        CAPTURE(count);
        const Tensor y = run(i);
        REQUIRE(y.is_per_member());
        REQUIRE(y.members() == count);
        for (int64_t m = 0; m < count; ++m) {
            const std::vector<float> want = part(all, first + m);
            CHECK(distance(part(y, m), want) <= bound(check, want));
        }
        alone.push_back(host(y));
    }
    std::vector<std::vector<float>> together(ranges.size());
    std::vector<std::thread> threads;
    for (size_t i = 0; i < ranges.size(); ++i) {
        threads.emplace_back([&, i] { together[i] = host(run(i)); });
    }
    for (std::thread& thread : threads) thread.join();
    for (size_t i = 0; i < ranges.size(); ++i) CHECK((together[i] == alone[i]));
}

/// The number of threads changes no bit.
inline void check_threads(const nn::Module& model, const Tensor& x, const Tensor& xs,
                          const Population& population) {
    std::vector<std::vector<float>> first;
    for (const int threads : {1, 2, 3}) {
        if (is_slow() && threads > 2) break;
        const ThreadScope scope(threads);
        std::vector<std::vector<float>> outputs = {host(model(x)), host(model(xs)),
                                                   host(population.forward(x)),
                                                   host(population.forward(xs))};
        if (threads == 1) first = outputs;
        CHECK((outputs == first));
    }
}

/// A perturbation too small to see is the plain forward.
inline void check_tiny_sigma(nn::Module& model, const Tensor& x, Options options,
                             const LayerCheck& check) {
    options.sigma = 1e-20f;
    Eggroll es(model, options);
    const Tensor y = es.ask().forward(x);
    const std::vector<float> centre = host(model(x));
    for (int64_t p = 0; p < options.pop_size; ++p) {
        CHECK(distance(part(y, p), centre) <= bound(check, centre));
    }
}

inline void check_model(nn::Module& model, const Tensor& x, const Tensor& xs, Options options,
                        const LayerCheck& check) {
    const std::string before = bits(model);
    Eggroll es(model, options);
    const Population population = es.ask();
    check_members(model, x, xs, population, check);
    check_batch_split(x, population, check);
    check_ranges(model, x, options, population, check);
    check_ranges(model, xs, options, population, check);
    check_threads(model, x, xs, population);
    check_tiny_sigma(model, x, options, check);
    CHECK((bits(model) == before));
}

}  // namespace layer_check

/// What any layer must satisfy, for inputs of that shape (B,...), shared and each member's own:
/// clone() equals it · the centre and a vanishing σ are the plain forward · a member alone, in the
/// population, in any range of members and in parts of the batch is the plain forward of a clone
/// that holds the weights `Member::copy_to` writes · threads change no bit · forward changes
/// nothing and is re-entrant · another device agrees with the CPU. The layer itself is left alone:
/// clones are checked.
inline void check_layer(const nn::Module& layer, const Shape& input, const LayerCheck& check = {}) {
    using namespace layer_check;
    for (const bool antithetic : {true, false}) {
        CAPTURE(antithetic);
        const Options options{.pop_size = antithetic ? check.pop_size : check.pop_size + 1,
                              .sigma = check.sigma,
                              .rank = check.rank,
                              .seed = 17,
                              .antithetic = antithetic};
        Shape own = input;
        own.insert(own.begin(), options.pop_size);
        const Tensor host_x = check.input(input, 1).to(Device::cpu());
        const Tensor x = host_x.to(check.device);
        const Tensor xs = per_member(check.input(own, 2).to(check.device));

        const std::unique_ptr<nn::Module> model = layer.clone();
        model->to(check.device);
        if (antithetic) check_clone(*model, x);
        if (antithetic) check_centre(*model, x, xs, check);
        if (!model->parameters().empty()) check_model(*model, x, xs, options, check);
        if (x.dtype() == Dtype::f32 && (antithetic || !is_slow())) {
            Scaled scaled(model->clone());
            scaled.to(check.device);
            check_model(scaled, x, xs, options, check);
        }
        if (check.device != Device::cpu()) {
            const std::unique_ptr<nn::Module> there = layer.clone();
            there->to(Device::cpu());
            const std::vector<float> want = host((*there)(host_x));
            CHECK(distance(host((*model)(x)), want) <= bound(check, want));
        }
    }
}

}  // namespace eggroll::test
