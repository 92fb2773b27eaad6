// SPDX-License-Identifier: MIT
// A run is a function of its seed and its fitnesses: neither the thread count nor the way in
// changes a bit (DESIGN §5).
#include "tests/cases.h"
#include "tests/model_bits.h"
#include "tests/reference.h"

#include <eggroll/eggroll.h>

#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

using namespace eggroll;
using namespace eggroll::test;
namespace ref = eggroll::test::reference;

namespace {

enum class Way { objective, batched, members, told };

/// One run and all that it is a function of.
struct Run {
    NetworkCase network;
    Way way = Way::objective;
    ref::Rule rule = ref::Rule::sgd;
    bool own_input = false;
    uint64_t seed = 0;
    int generations = 50;
    int64_t factor_cache_bytes = Options().factor_cache_bytes;
};

/// The parameters after a run, bit for bit.
std::string parameters_after(const Run& run, int threads) {
    const ThreadScope scope(threads);
    const NetworkCase& of = run.network;
    nn::Sequential model = make_model(of);
    Eggroll es(model, {.pop_size = of.pop_size,
                       .sigma = 0.1f,
                       .lr = 0.1f,
                       .rank = of.rank,
                       .seed = run.seed,
                       .antithetic = of.antithetic,
                       .optimizer = ref::optimizer_of(run.rule),
                       .parallel_fitness = true,
                       .factor_cache_bytes = run.factor_cache_bytes});
    const int64_t inputs = of.widths[0], outputs = of.widths.back();
    const Tensor shared = random_tensor({of.batch, inputs}, 1);
    const Tensor own = per_member(random_tensor({of.pop_size, of.batch, inputs}, 2));
    const Tensor& x = run.own_input ? own : shared;
    const Tensor target = random_tensor({of.batch, outputs}, 3);
    for (int generation = 0; generation < run.generations; ++generation) {
        switch (run.way) {
            case Way::objective:
                es.step(x, loss::mse(target));
                break;
            case Way::batched:
                es.step(x, [&](const Tensor& y) { return -mse(y, target); });
                break;
            case Way::members:
                es.step([&](const Member& member) {
                    const int64_t rows = of.batch * inputs, first = member.index() * rows;
                    const Tensor part = run.own_input ? slice(without_members(own).reshape({-1}), 0,
                                                              first, first + rows)
                                                            .reshape({of.batch, inputs})
                                                      : shared;
                    return -mse(member(part), target).item();
                });
                break;
            case Way::told: {
                const Tensor y = es.ask().forward(x);
                es.tell(-mse(y, target));
                break;
            }
        }
    }
    return bits(model);
}

const NetworkCase kOdd{"odd", {7, 13, 5}, Act::tanh, true, true, 3, 5, 34, true};
const NetworkCase kOddAlone{
    "odd, independent", {7, 13, 5}, Act::tanh, true, false, 3, 5, 35, false};

}  // namespace

TEST_CASE("determinism: the thread count changes no bit of a run") {
    for (NetworkCase network : {kOdd, kOddAlone}) {
        if (is_slow()) network.pop_size -= 28;
        for (const ref::Rule rule : {ref::Rule::sgd, ref::Rule::momentum, ref::Rule::adam}) {
            if (is_slow() && rule != ref::Rule::adam) continue;
            for (const bool own_input : {false, true}) {
                CAPTURE(network.name);
                CAPTURE(static_cast<int>(rule));
                CAPTURE(own_input);
                Run run{.network = network,
                        .rule = rule,
                        .own_input = own_input,
                        .generations = is_slow() ? 6 : 50};
                const std::string one = parameters_after(run, 1);
                CHECK((parameters_after(run, 1) == one));
                CHECK((parameters_after(run, 2) == one));
                CHECK((parameters_after(run, 3) == one));
                // All ways that evaluate the members together do the same sums.
                run.way = Way::batched;
                CHECK((parameters_after(run, 3) == one));
                run.way = Way::told;
                CHECK((parameters_after(run, 2) == one));
                // One member alone may differ in its last bit from the same among others.
                run.way = Way::members;
                const std::string alone = parameters_after(run, 1);
                CHECK((parameters_after(run, 2) == alone));
                CHECK((parameters_after(run, 3) == alone));
            }
        }
    }
}

TEST_CASE("determinism: shapes large enough to be cut in many ways") {
    const NetworkCase cases[] = {
        {"many members", {5, 3}, Act::none, true, false, 8, 1, 2050, true},
        {"many columns", {2100, 3}, Act::none, true, false, 2, 3, 34, true},
        {"many rows", {3, 1100}, Act::none, true, false, 1, 2, 34, true},
        {"many of each", {65, 130, 67}, Act::relu, true, false, 4, 17, 514, true},
        {"large batch", {9, 31, 3}, Act::gelu, true, false, 4, 300, 6, true},
    };
    for (const NetworkCase& network : cases) {
        CAPTURE(network.name);
        const Run run{
            .network = network, .rule = ref::Rule::adam, .generations = is_slow() ? 1 : 3};
        const std::string one = parameters_after(run, 1);
        CHECK((parameters_after(run, 2) == one));
        CHECK((parameters_after(run, 3) == one));
        CHECK((parameters_after(run, 7) == one));
    }
}

// [host]: a device keeps none.
TEST_CASE("determinism: noise that is kept changes no bit [host]") {
    NetworkCase deeper = kOdd;
    deeper.widths = {33, 70, 70, 5};
    deeper.pop_size = 402;
    for (const NetworkCase& network : {kOdd, kOddAlone, deeper}) {
        for (const Way way : {Way::objective, Way::members, Way::told}) {
            CAPTURE(network.name);
            CAPTURE(static_cast<int>(way));
            Run run{.network = network, .way = way, .generations = 4, .factor_cache_bytes = 0};
            const std::string none = parameters_after(run, 2);
            for (const int64_t bytes : {1, 20000, 200000, 1 << 30}) {  // none, some, most, all
                CAPTURE(bytes);
                run.factor_cache_bytes = bytes;
                CHECK((parameters_after(run, 1) == none));
                CHECK((parameters_after(run, 3) == none));
            }
        }
    }
}

TEST_CASE("determinism: passes that share kept noise agree, one after another and at once") {
    const NetworkCase of = kOdd;
    nn::Sequential model = make_model(of);
    const Tensor x = random_tensor({of.batch, 7}), longer = random_tensor({3 * of.batch, 7}, 1);
    std::vector<std::vector<float>> first;
    for (const int64_t bytes : {0, 10000, 1 << 20}) {
        Eggroll es(model, {.pop_size = of.pop_size, .rank = 3, .factor_cache_bytes = bytes});
        const Population population = es.ask();
        std::vector<std::vector<float>> outputs(6);
        std::vector<std::thread> threads;
        for (size_t i = 0; i < 4; ++i) {
            threads.emplace_back(
                [&, i] { outputs[i] = host(population.forward(i % 2 == 0 ? x : longer)); });
        }
        for (std::thread& thread : threads) thread.join();
        outputs[4] = host(population.forward(longer));
        outputs[5] = host(population.member(3)(x));
        if (first.empty()) first = outputs;
        CHECK(outputs == first);
    }
}

TEST_CASE("determinism: outputs do not depend on the thread count") {
    for (const NetworkCase& of : network_cases()) {
        CAPTURE(of.name);
        nn::Sequential model = make_model(of);
        Eggroll es(model, {.pop_size = of.pop_size, .rank = of.rank, .antithetic = of.antithetic});
        const Population population = es.ask();
        const Tensor x = random_tensor({of.batch, of.widths[0]});
        const Tensor own = per_member(random_tensor({of.pop_size, of.batch, of.widths[0]}));
        const Tensor target = random_tensor({of.batch, of.widths.back()});
        const auto outputs = [&](int threads) {
            const ThreadScope scope(threads);
            return std::vector{host(population.forward(x)), host(population.forward(own)),
                               population.evaluate(x, loss::mse(target)), host(model(x))};
        };
        const auto one = outputs(1);
        CHECK((outputs(1) == one));
        CHECK((outputs(2) == one));
        CHECK((outputs(3) == one));
    }
}

TEST_CASE("determinism: fitnesses from elsewhere give the same update") {
    // What workers on several machines do: evaluate some members each, exchange the fitnesses,
    // and tell them all.
    const Tensor x = random_tensor({5, 7}, 1), target = random_tensor({5, 5}, 3);
    nn::Sequential together = make_model(kOdd), worker_a = make_model(kOdd),
                   worker_b = make_model(kOdd);
    const Options options{.pop_size = 34, .sigma = 0.1f, .lr = 0.1f, .optimizer = optim::adam()};
    Eggroll es(together, options), a(worker_a, options), b(worker_b, options);
    const auto fitness_of = [&](const Member& member) { return -mse(member(x), target).item(); };
    for (int generation = 0; generation < 10; ++generation) {
        es.step(fitness_of);
        const Population of_a = a.ask(), of_b = b.ask();
        std::vector<float> fitness;
        for (int64_t p = 0; p < 34; ++p) {
            fitness.push_back(fitness_of(p < 15 ? of_a.member(p) : of_b.member(p)));
        }
        a.tell(fitness);
        b.tell(fitness);
    }
    CHECK((bits(worker_a) == bits(together)));
    CHECK((bits(worker_b) == bits(together)));
}

TEST_CASE("determinism: evaluating again, or not at all, changes nothing") {
    nn::Sequential model = make_model(kOdd), other = make_model(kOdd);
    Eggroll es(model, {.pop_size = 34}), plain(other, {.pop_size = 34});
    const Tensor x = random_tensor({5, 7});
    const Population population = es.ask();
    const std::vector<float> first = host(population.forward(x));
    population.member(33)(x);
    CHECK((host(population.forward(x)) == first));
    es.tell(random_fitness(34));
    plain.ask();
    plain.tell(random_fitness(34));
    CHECK((bits(model) == bits(other)));
}

TEST_CASE("determinism: seeds and generations differ in every member") {
    nn::Sequential model = make_model(kOdd);
    const Tensor x = random_tensor({5, 7});
    const auto outputs = [&](uint64_t seed, int generations) {
        const auto copy = model.clone();
        // An lr of 0 keeps the centre where it is, so that only the noise can differ.
        Eggroll es(*copy, {.pop_size = 34, .lr = 0.0f, .seed = seed});
        for (int i = 0; i < generations; ++i) {
            es.ask();
            es.tell(random_fitness(34));
        }
        return host(es.ask().forward(x));
    };
    const std::vector<std::vector<float>> all = {outputs(0, 0),
                                                 outputs(1, 0),
                                                 outputs(0, 1),
                                                 outputs(0, 2),
                                                 outputs(uint64_t{1} << 32, 0),
                                                 outputs(0xffffffffffffffffull, 0)};
    for (size_t i = 0; i < all.size(); ++i) {
        for (size_t j = 0; j < i; ++j) {
            CAPTURE(i);
            CAPTURE(j);
            const size_t part = all[i].size() / 34;
            for (size_t p = 0; p < 34; ++p) {
                const auto begin = static_cast<std::ptrdiff_t>(p * part);
                const auto end = begin + static_cast<std::ptrdiff_t>(part);
                CHECK_FALSE(std::equal(all[i].begin() + begin, all[i].begin() + end,
                                       all[j].begin() + begin));
            }
        }
    }
    CHECK((outputs(0, 2) == all[3]));
    const Run zero{.network = kOdd, .generations = 3};
    Run one = zero;
    one.seed = 1;
    CHECK((parameters_after(zero, 1) != parameters_after(one, 1)));
}

TEST_CASE("determinism: freezing one parameter leaves the others' updates as they were") {
    // The fitnesses are given, so that what is frozen cannot change them.
    const auto run = [&](const std::string& frozen) {
        nn::Sequential model = make_model(kOdd);
        Eggroll es(model, {.pop_size = 34,
                           .param_filter = [=](const std::string& name,
                                               const Tensor&) { return name != frozen; },
                           .optimizer = optim::adam()});
        for (uint32_t i = 0; i < 5; ++i) {
            es.ask();
            es.tell(random_fitness(34, i));
        }
        return values_of(model);
    };
    const nn::Sequential model = make_model(kOdd);
    const auto initial = values_of(model), free = run("");
    const std::vector<Parameter> parameters = model.parameters();
    for (size_t frozen = 0; frozen < parameters.size(); ++frozen) {
        CAPTURE(parameters[frozen].name);
        const auto values = run(parameters[frozen].name);
        for (size_t i = 0; i < parameters.size(); ++i) {
            CHECK((values[i] == (i == frozen ? initial[i] : free[i])));
        }
        CHECK((free[frozen] != initial[frozen]));
    }
}
