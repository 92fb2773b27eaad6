// SPDX-License-Identifier: MIT
// The rows of the CUDA table against those of the CPU where both must give the same bits: noise,
// shaping, the update and the optimizers. Forward passes, which agree within a bound, are the
// business of the other tests, which run on the device when EGGROLL_DEVICE=cuda.
#include "core/backend.h"
#include "cuda/context.h"
#include "tests/backend_array.h"
#include "tests/cases.h"
#include "tests/errors.h"
#include "tests/model_bits.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdio>
#include <functional>
#include <limits>
#include <string>
#include <vector>

using namespace eggroll;
using namespace eggroll::test;
using detail::Backend;

namespace {

/// What f(backend) returns is the same on both.
template <class F>
void check_same(F f) {
    const auto want = f(detail::cpu_backend()), got = f(detail::cuda_backend(0));
    REQUIRE(got.size() == want.size());
    for (size_t i = 0; i < want.size(); ++i) {
        // By bits: NaN equals itself and -0 is not 0.
        if (std::bit_cast<uint32_t>(got[i]) == std::bit_cast<uint32_t>(want[i])) continue;
        CAPTURE(i);
        CAPTURE(got[i]);
        CAPTURE(want[i]);
        FAIL_CHECK("the backends differ");
        return;
    }
}

}  // namespace

TEST_CASE("cuda: noise has the CPU's bits" * doctest::skip(!on_cuda())) {
    for (const NoiseStream& stream :
         {NoiseStream{}, NoiseStream{0x123456789abcdef0u, 3, 5, 7},
          NoiseStream{~uint64_t{0}, 0xffffffffu, 0xffffffffu, 0xfffffffeu}}) {
        for (const uint64_t first : {0ull, 1ull, 2ull, 3ull, 4ull, 4095ull, (4ull << 32) - 1000}) {
            for (const int64_t n : {0, 1, 2, 3, 4, 5, 7, 64, 1000}) {
                CAPTURE(first);
                CAPTURE(n);
                check_same([&](const Backend& backend) {
                    BackendArray<float> out(backend, static_cast<size_t>(n));
                    backend.fill_normal(stream, first, out.data(), n);
                    return out.host();
                });
                check_same([&](const Backend& backend) {
                    BackendArray<uint32_t> out(backend, static_cast<size_t>(n));
                    backend.fill_words(stream, first, out.data(), n);
                    return out.host();
                });
            }
        }
    }
}

TEST_CASE("cuda: a hundred thousand normals have the CPU's bits" * doctest::skip(!on_cuda())) {
    for (const uint32_t pair : {0u, 1u, 77u, 1u << 31}) {
        check_same([&](const Backend& backend) {
            BackendArray<float> out(backend, 100000);
            backend.fill_normal({.seed = 42, .parameter = 2, .pair = pair, .generation = 9}, 3,
                                out.data(), 100000);
            return out.host();
        });
    }
}

namespace {

struct UpdateCase {
    int64_t rows, cols;
    int rank;
    int64_t streams;
    bool antithetic;
    detail::Law law = {};
    float sigma_scale = 1;
};

void check_update(const UpdateCase& of) {
    CAPTURE(of.rows);
    CAPTURE(of.cols);
    CAPTURE(of.rank);
    CAPTURE(of.streams);
    CAPTURE(static_cast<int>(of.law.kind));
    std::vector<float> weights(static_cast<size_t>(of.streams));
    fill_normal({.seed = 5}, 0, weights);
    check_same([&](const Backend& backend) {
        BackendArray<detail::GenerationBlock> block(
            backend,
            std::vector<detail::GenerationBlock>{
                {.seed = 3, .generation = 5, .sigma = 0.1f, .lr = 0.3f, .noise_generation = 5}});
        BackendArray<float> w(backend, weights), g(backend, static_cast<size_t>(of.rows * of.cols));
        backend.update({.block = block.data(),
                        .weights = w.data(),
                        .streams = of.streams,
                        .pop_size = of.antithetic ? 2 * of.streams : of.streams,
                        .parameter = 1,
                        .rank = of.rank,
                        .rows = of.rows,
                        .cols = of.cols,
                        .g = g.data(),
                        .law = of.law,
                        .sigma_scale = of.sigma_scale});
        return g.host();
    });
}

}  // namespace

TEST_CASE("cuda: the update has the CPU's bits" * doctest::skip(!on_cuda())) {
    std::vector<UpdateCase> cases;
    for (int rank = 1; rank <= 9; ++rank) cases.push_back({17, 33, rank, 70, true});
    for (const int rank : {1, 3, 40, 70}) {
        cases.push_back({70, 130, rank, 3, false});
        cases.push_back({129, 64, rank, 11, true});
    }
    cases.push_back({1, 1, 1, 1000, true});
    cases.push_back({5, 3, 3, 1500, true});     // several panels
    cases.push_back({64, 64, 1, 600, false});   // several chains
    cases.push_back({515, 520, 2, 3, true});    // the wide tiles
    cases.push_back({96, 130, 1, 2600, true});  // panels side by side
    cases.push_back({100, 96, 8, 300, true});
    cases.push_back({3, 2, 2, 5000, false});
    cases.push_back({1, 5, 0, 3, true});  // vectors
    cases.push_back({1, 131, 0, 1100, false});
    for (const UpdateCase& of : cases) check_update(of);
}

TEST_CASE("cuda: the update of a matrix so large that panels follow each other [once]" *
          doctest::skip(!on_cuda())) {
    check_update({2900, 2900, 1, 257, true});
}

TEST_CASE("cuda: the update has the CPU's bits under every law" * doctest::skip(!on_cuda())) {
    using detail::LawKind;
    const detail::Law signs{LawKind::sign}, full{LawKind::full_rank};
    for (const int rank : {1, 2, 3, 8, 33}) check_update({17, 33, rank, 70, true, signs, 0.5f});
    check_update({129, 64, 4, 300, false, signs});
    check_update({1, 1, 1, 3, true, signs});
    check_update({17, 33, 0, 70, true, full, 0.5f});
    check_update({9, 130, 0, 600, false, full});  // several chains
    check_update({1, 1, 0, 3, true, full});
    check_update({17, 33, 0, 70, true, {LawKind::sparse, 1}, 0.5f});
    check_update({17, 33, 0, 70, false, {LawKind::sparse, 6}});
    check_update({3, 2, 0, 500, false, {LawKind::sparse, 6}});  // many terms at each place
    check_update({1, 1, 0, 3, true, {LawKind::sparse, 1}});
}

TEST_CASE("cuda: shaping has the CPU's bits" * doctest::skip(!on_cuda())) {
    for (const int64_t n : {2, 3, 34, 255, 256, 257, 512, 5000}) {
        for (const int broken : {0, 1, 2}) {
            for (const bool antithetic : {true, false}) {
                for (const bool normalize : {true, false}) {
                    if (antithetic && n % 2 != 0) continue;
                    CAPTURE(n);
                    CAPTURE(broken);
                    std::vector<float> fitness(static_cast<size_t>(n));
                    fill_normal({.seed = 7}, 0, fitness);
                    if (broken > 0) fitness[0] = kNan;
                    if (broken > 0) fitness[static_cast<size_t>(n / 2)] = -kInf;
                    if (broken > 1) std::fill(fitness.begin(), fitness.end(), kInf);
                    if (n == 34) fitness[20] = fitness[30];
                    check_same([&](const Backend& backend) {
                        BackendArray<float> f(backend, fitness);
                        BackendArray<float> weights(backend,
                                                    static_cast<size_t>(antithetic ? n / 2 : n));
                        BackendArray<detail::FitnessStats> found(backend, 1);
                        backend.shape_fitness({.fitness = f.data(),
                                               .pop_size = n,
                                               .antithetic = antithetic,
                                               .kind = normalize ? detail::ShapingKind::z_score
                                                                 : detail::ShapingKind::centre,
                                               .weights = weights.data(),
                                               .stats = found.data()});
                        const detail::FitnessStats stats = found.host()[0];
                        std::vector<float> all = weights.host();
                        for (const double v : {stats.mean, stats.best, stats.worst, stats.std}) {
                            const auto bits = std::bit_cast<uint64_t>(std::isnan(v) ? 0.0 : v);
                            all.push_back(std::bit_cast<float>(static_cast<uint32_t>(bits)));
                            all.push_back(std::bit_cast<float>(static_cast<uint32_t>(bits >> 32)));
                        }
                        all.push_back(static_cast<float>(stats.best_member));
                        all.push_back(static_cast<float>(stats.non_finite));
                        return all;
                    });
                }
            }
        }
    }
}

TEST_CASE("cuda: the optimizers have the CPU's bits" * doctest::skip(!on_cuda())) {
    constexpr size_t kN = 1000;
    std::vector<float> value(kN), g(kN), m(kN), v(kN);
    fill_normal({.seed = 1}, 0, value);
    fill_normal({.seed = 2}, 0, g);
    fill_normal({.seed = 3}, 0, m);
    fill_normal({.seed = 4}, 0, v);
    for (float& x : v) x *= x;
    for (const detail::Rule rule :
         {detail::Rule::sgd, detail::Rule::momentum, detail::Rule::nesterov, detail::Rule::adam,
          detail::Rule::adamw}) {
        CAPTURE(static_cast<int>(rule));
        check_same([&](const Backend& backend) {
            BackendArray<detail::GenerationBlock> block(
                backend,
                std::vector<detail::GenerationBlock>{{.sigma = 0.1f, .lr = 0.3f, .updates = 6}});
            BackendArray<float> to(backend, value), by(backend, g), first(backend, m),
                second(backend, v);
            backend.optimize({.rule = rule,
                              .block = block.data(),
                              .value = to.data(),
                              .g = by.data(),
                              .first_moment = first.data(),
                              .second_moment = second.data(),
                              .n = kN,
                              .beta1 = 0.9f,
                              .beta2 = 0.999f,
                              .eps = 1e-8f,
                              .weight_decay = 0.01f});
            std::vector<float> all = to.host();
            for (const auto& more : {first.host(), second.host()}) {
                all.insert(all.end(), more.begin(), more.end());
            }
            return all;
        });
    }
}

TEST_CASE("cuda: fifty generations follow the CPU's [once]" * doctest::skip(!on_cuda())) {
    const auto run = [](Device device) {
        Tensor x = Tensor::zeros({64, 10}), map = Tensor::zeros({10, 5});
        fill_normal({.seed = 1}, 0, x.data());
        fill_normal({.seed = 2}, 0, map.data());
        const Tensor target = tanh(matmul(x, map) * 0.3f).to(device);
        x = x.to(device);
        nn::Sequential model(nn::Linear(10, 20), nn::ReLU(), nn::Linear(20, 5));
        model.init(0);
        model.to(device);
        Eggroll es(model, {.pop_size = 32, .sigma = 0.1f, .lr = 0.1f, .rank = 4});
        std::vector<float> means;
        for (int t = 0; t < 50; ++t) {
            means.push_back(es.step(x, [&](const Tensor& y) { return -mse(y, target); }).mean);
        }
        return means;
    };
    const std::vector<float> want = run(Device::cpu()), got = run(Device::cuda());
    for (size_t t = 0; t < want.size(); ++t) {
        CAPTURE(t);
        // Rounding of the forward passes, at most 1e-6 of the fitness, grows with the generations.
        CHECK(std::fabs(got[t] - want[t]) <= 1e-4f * std::fabs(want[t]));
    }
    CHECK(want.back() > 0.5f * want.front());
}

/// Prints what is computed, for same_in_every_order.sh to compare.
TEST_CASE("digest: passes, losses and training" * doctest::skip()) {
    REQUIRE(on_cuda());
    const auto print = [](const std::string& name, const std::string& bytes) {
        std::printf("digest %s %zx\n", name.c_str(), std::hash<std::string>()(bytes));
    };
    const auto bytes_of = [](const Tensor& x) {
        const std::vector<float> values = host(x);
        return std::string(reinterpret_cast<const char*>(values.data()),
                           values.size() * sizeof(float));
    };
    for (const NetworkCase& of : network_cases()) {
        nn::Sequential model = make_model(of);
        const Tensor x = random_tensor({of.batch, of.widths.front()});
        const Tensor xs = per_member(random_tensor({of.pop_size, of.batch, of.widths.front()}, 1));
        const std::vector<int32_t> zero(static_cast<size_t>(of.batch), 0);
        const Tensor labels = int_tensor({of.batch}, zero);
        const Tensor target = random_tensor({of.batch, of.widths.back()}, 2);
        Eggroll es(model, {.pop_size = of.pop_size,
                           .sigma = 0.1f,
                           .rank = of.rank,
                           .antithetic = of.antithetic,
                           .optimizer = optim::adam()});
        const Population population = es.ask();
        for (const Tensor& input : {x, xs}) {
            const Tensor y = population.forward(input);
            print(of.name + ", y", bytes_of(y));
            print(of.name + ", softmax", bytes_of(softmax(y)));
            print(of.name + ", mse", bytes_of(mse(y, target)));
            print(of.name + ", cross-entropy", bytes_of(cross_entropy(y, labels)));
        }
        es.tell(-mse(population.forward(x), target));
        for (int t = 0; t < 2; ++t) es.step(x, loss::cross_entropy(labels));
        print(of.name + ", trained", bits(model));
    }
}

TEST_CASE("cuda: a step waits once and takes no memory after the first" *
          doctest::skip(!on_cuda())) {
    const cuda::Use device(0);
    cuda::Context& context = cuda::current();
    for (const auto& optimizer : {optim::sgd(), optim::adam()}) {
        nn::Sequential model =
            here(nn::Sequential(nn::Linear(10, 20), nn::ReLU(), nn::Linear(20, 5)));
        Eggroll es(model, {.pop_size = 8, .optimizer = optimizer});
        const Tensor x = random_tensor({6, 10}), target = random_tensor({6, 5}, 1);
        const Objective objective = loss::mse(target);
        struct Way {
            const char* name;
            std::function<void()> run;
            int64_t waits;
        };
        CapturedStep captured = es.capture(x, objective);
        const Way ways[] = {
            {"step", [&] { es.step(x, objective); }, 1},
            {"step with the library's operations",
             [&] { es.step(x, [&](const Tensor& y) { return -mse(y, target); }); }, 1},
            {"enqueue", [&] { es.enqueue(x, objective); }, 0},
            {"ask and enqueue_tell",
             [&] {
                 const Tensor y = es.ask().forward(x);
                 es.enqueue_tell(-mse(y, target));
             },
             0},
            {"captured step", [&] { captured.step(); }, 1},
            {"captured step, enqueued", [&] { captured.enqueue(); }, 0},
        };
        for (const Way& way : ways) {
            CAPTURE(way.name);
            way.run();
            const int64_t waits = context.waits(), requests = context.memory().requests();
            for (int i = 0; i < 3; ++i) way.run();
            CHECK(context.waits() - waits == 3 * way.waits);
            CHECK(context.memory().requests() == requests);
        }
        es.wait();
    }
}

TEST_CASE("cuda: a NaN passes relu in every precision" * doctest::skip(!on_cuda())) {
    for (const Precision precision : {Precision::f32, Precision::tf32, Precision::bf16}) {
        CAPTURE(static_cast<int>(precision));
        nn::Sequential model =
            here(nn::Sequential(nn::Linear(64, 64), nn::ReLU(), nn::Linear(64, 64), nn::ReLU()));
        Tensor x = random_tensor({4, 64});
        set(x, 64, std::numeric_limits<float>::quiet_NaN());  // in the second row
        Eggroll es(model, {.pop_size = 8, .precision = precision});
        const std::vector<float> y = host(
            es.ask().forward(per_member(concat(std::vector<Tensor>(8, x.reshape({1, 4, 64})), 0))));
        for (size_t i = 0; i < y.size(); ++i) {
            CHECK(std::isnan(y[i]) == (i / 64 % 4 == 1));
        }
    }
}

TEST_CASE("cuda: a recording keeps what was let go while it was made, in any stream" *
          doctest::skip(!on_cuda())) {
    const Device device = test_device();
    cudaStream_t own = nullptr;
    REQUIRE(cudaStreamCreate(&own) == cudaSuccess);
    for (void* stream : {static_cast<void*>(nullptr), static_cast<void*>(own),
                         static_cast<void*>(cudaStreamLegacy)}) {
        const StreamScope scope(device, stream);
        nn::Linear model = here(nn::Linear(4, 3)), plain = here(nn::Linear(4, 3));
        Eggroll es(model, {.pop_size = 8, .sigma = 0.1f}),
            calm(plain, {.pop_size = 8, .sigma = 0.1f});
        const Tensor x = random_tensor({5, 4});
        // Each call reads what the one before has left, and lets go of it.
        const auto target = std::make_shared<Tensor>(random_tensor({5, 3}, 1));
        const Objective fickle(
            "fickle",
            [target](const Tensor& y, const Tensor&) {
                const Tensor last = *target;
                *target = last * 1.0f;
                return -mse(y, last);
            },
            Tensor());
        CapturedStep captured = es.capture(x, fickle);
        for (int t = 0; t < 3; ++t) {
            const Tensor other = full({5, 3}, 7.0f), another = full({5, 3}, 8.0f);
            const Report got = captured.step();
            const Report want = calm.step(x, loss::mse(random_tensor({5, 3}, 1)));
            CHECK(got.mean == want.mean);
        }
        CHECK((bits(model) == bits(plain)));
        // Memory that must be waited for before it is given back cannot be let go in a recording.
        std::vector<float> unused(15);
        const auto memory = std::make_shared<BackendArray<float>>(detail::cuda_backend(0), unused);
        const Objective careless(
            "careless",
            [memory](const Tensor& y, const Tensor&) {
                return -mse(y, Tensor::from_blob(memory->data(), {5, 3}, Device::cuda(), Dtype::f32,
                                                 [memory] {}));
            },
            Tensor());
        CHECK(error_of([&] { es.capture(x, careless); }).find("captured") != std::string::npos);
        captured.step();
        synchronize(device);
    }
    REQUIRE(cudaStreamDestroy(own) == cudaSuccess);
}

TEST_CASE("cuda: page-locked memory is of both sides" * doctest::skip(!on_cuda())) {
    float* memory = nullptr;
    REQUIRE(cudaMallocHost(reinterpret_cast<void**>(&memory), 64 * sizeof(float)) == cudaSuccess);
    for (int i = 0; i < 64; ++i) memory[i] = static_cast<float>(i);
    {
        const Tensor there = Tensor::from_blob(memory, {64}, Device::cuda());
        const Tensor here = Tensor::from_blob(memory, {64}, Device::cpu());
        const std::vector<float> want = host(here);
        CHECK(host(there) == want);
        CHECK(host(there.clone()) == want);
        CHECK(host(here.to(Device::cuda()) + there) == host(here + here));
        synchronize(Device::cuda());
    }
    REQUIRE(cudaFreeHost(memory) == cudaSuccess);
}
