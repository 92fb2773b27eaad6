// SPDX-License-Identifier: MIT
// Tensors of memory that is somebody else's: nothing is copied, it is let go once, and it may lie
// on any 4 bytes.
#include "core/storage.h"
#include "tests/backend_array.h"
#include "tests/cases.h"
#include "tests/errors.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

using namespace eggroll;
using namespace eggroll::test;
using detail::TensorAccess;

namespace {

/// Memory of the test's own on the tests' device, one element past what allocators align to.
class Unaligned {
public:
    explicit Unaligned(const std::vector<float>& values)
        : array_(detail::backend_of(test_device()), shifted(values)) {}

    float* data() const { return array_.data() + 1; }
    std::vector<float> host() const {
        const std::vector<float> all = array_.host();
        return {all.begin() + 1, all.end()};
    }
    Tensor tensor(const Shape& shape) const {
        return Tensor::from_blob(data(), shape, test_device());
    }

private:
    static std::vector<float> shifted(std::vector<float> values) {
        values.insert(values.begin(), 0.0f);
        return values;
    }

    BackendArray<float> array_;
};

/// Counts its calls.
struct Released {
    int times = 0;
    std::function<void()> function() {
        return [this] { ++times; };
    }
};

std::string message_of(const std::function<void()>& f) {
    try {
        f();
    } catch (const Error& error) {
        return error.what();
    }
    return "";
}

}  // namespace

TEST_CASE("cuda: a tensor of external memory is that memory") {
    const Unaligned memory({1, 2, 3, 4, 5, 6});
    Tensor x = memory.tensor({2, 3});
    CHECK(x.device() == test_device());
    CHECK(TensorAccess::raw(x) == memory.data());
    CHECK(host(x) == std::vector<float>{1, 2, 3, 4, 5, 6});
    x.assign(tensor({2, 3}, {6, 5, 4, 3, 2, 1}));
    CHECK(memory.host() == std::vector<float>{6, 5, 4, 3, 2, 1});
    CHECK(host(per_member(x).reshape({2, 3}) * 2.0f) == std::vector<float>{12, 10, 8, 6, 4, 2});

    const Tensor copy = x.clone();
    x.assign(zeros({2, 3}));
    CHECK(host(copy) == std::vector<float>{6, 5, 4, 3, 2, 1});
    if (!on_cuda()) CHECK(x.data().data() == memory.data());
}

TEST_CASE("int32 of external memory") {
    const BackendArray<int32_t> memory(detail::backend_of(test_device()),
                                       std::vector<int32_t>{2, 0, 1});
    const Tensor ids = Tensor::from_blob(memory.data(), {3}, test_device(), Dtype::i32);
    CHECK(host_ints(ids) == std::vector<int32_t>{2, 0, 1});
    const Tensor y = tensor({3, 3}, {0, 1, 2, 3, 4, 5, 6, 7, 8});
    CHECK(host(gather(y, ids)) == std::vector<float>{2, 3, 7});
}

TEST_CASE("cuda: external memory is let go once, with the last tensor of it") {
    const Unaligned memory({1, 2, 3, 4});
    Released released;
    {
        Tensor x =
            Tensor::from_blob(memory.data(), {4}, test_device(), Dtype::f32, released.function());
        Tensor copy = x, shaped = x.reshape({2, 2}), own = x.clone();
        x = Tensor();
        copy = Tensor();
        CHECK(released.times == 0);
        CHECK(host(shaped) == std::vector<float>{1, 2, 3, 4});
        shaped = Tensor();
        CHECK(released.times == 1);
    }
    CHECK(released.times == 1);
    { const Tensor kept = memory.tensor({4}); }
    CHECK(memory.host() == std::vector<float>{1, 2, 3, 4});
}

TEST_CASE("cuda: what moves to another device leaves external memory behind") {
    const Unaligned memory({1, 2, 3, 4});
    Released released;
    Tensor x =
        Tensor::from_blob(memory.data(), {4}, test_device(), Dtype::f32, released.function());
    const Tensor alias = x;
    TensorAccess::storage(x)->move_to(test_device());
    CHECK(released.times == 0);
    if (on_cuda()) {
        TensorAccess::storage(x)->move_to(Device::cpu());
        CHECK(released.times == 1);
        CHECK(alias.device() == Device::cpu());
        x.assign(Tensor::full({4}, 7));
        CHECK(host(alias) == std::vector<float>{7, 7, 7, 7});
        CHECK(memory.host() == std::vector<float>{1, 2, 3, 4});
        TensorAccess::storage(x)->move_to(test_device());
    }
    x = Tensor();
    CHECK(released.times == (on_cuda() ? 1 : 0));
}

TEST_CASE("an empty tensor takes any memory") {
    Released released;
    {
        const Tensor x =
            Tensor::from_blob(nullptr, {0, 3}, test_device(), Dtype::f32, released.function());
        CHECK(x.size() == 0);
    }
    CHECK(released.times == 1);
}

TEST_CASE("external memory that cannot be a tensor is refused and stays the caller's") {
    Released released;
    const Unaligned memory({1, 2, 3});
    const auto refusal = [&](void* at, const Shape& shape, Device device) {
        return message_of(
            [&] { Tensor::from_blob(at, shape, device, Dtype::f32, released.function()); });
    };
    CHECK(contains(refusal(nullptr, {2, 3}, test_device()), "(2,3)"));
    CHECK(contains(refusal(nullptr, {2, 3}, test_device()), "is null"));
    const std::string odd = refusal(reinterpret_cast<char*>(memory.data()) + 2, {2}, test_device());
    CHECK(contains(odd, "is not aligned to 4 bytes: its address is 2 past"));
    CHECK(contains(refusal(memory.data(), {-1}, test_device()), "negative extent"));
    if (on_cuda()) {
        std::vector<float> there(3);
        CHECK(contains(refusal(there.data(), {3}, test_device()), "on cuda:0 is the host's"));
        CHECK(contains(refusal(memory.data(), {3}, Device::cpu()), "on cpu is that of cuda:0"));
    }
    CHECK(released.times == 0);
}

TEST_CASE("device_data is for tensors of a GPU, data for those of the host") {
    Tensor x = zeros({3});
    const Tensor& constant = x;
    if (on_cuda()) {
        CHECK(x.device_data() == TensorAccess::raw(x));
        CHECK(constant.device_data() == TensorAccess::raw(x));
        CHECK_THROWS_AS(x.data(), Error);
    } else {
        CHECK(contains(message_of([&] { x.device_data(); }), "[Tensor::device_data]"));
        CHECK(contains(message_of([&] { constant.device_data(); }), "lives on cpu"));
    }
}

TEST_CASE("cuda: a step on external memory equals one on the library's own") {
    for (const LayerCase& of : kLayerCases) {
        CAPTURE(of.inputs);
        CAPTURE(of.outputs);
        CAPTURE(of.batch);
        const Tensor x = random_tensor({of.pop_size, of.batch, of.inputs}),
                     shared = random_tensor({of.batch, of.inputs}, 1),
                     target = random_tensor({of.batch, of.outputs}, 2);
        const Unaligned own_x(host(x)), own_shared(host(shared)), own_target(host(target));
        nn::Linear model = here(nn::Linear(of.inputs, of.outputs));
        Eggroll es(model, {.pop_size = of.pop_size, .sigma = 0.1f});
        const Population members = es.ask();

        // A product may take its sums in another order when rows lie elsewhere: of I + R + 2 terms,
        // each rounded once or twice, of normals of at most 6.76 and weights below it.
        const double bound = 4.0 * static_cast<double>(of.inputs + 6) * 0x1p-24 * 6.76 * 6.76 *
                             static_cast<double>(of.inputs + 6);
        const auto check_close = [&](const Tensor& got, const Tensor& want) {
            const std::vector<float> a = host(got), b = host(want);
            REQUIRE(a.size() == b.size());
            double worst = 0;
            for (size_t i = 0; i < a.size(); ++i) {
                worst = std::max(worst, std::fabs(static_cast<double>(a[i]) - b[i]));
            }
            CHECK(worst <= bound);
        };
        check_close(members.forward(per_member(own_x.tensor(x.shape()))),
                    members.forward(per_member(x)));
        check_close(members.forward(own_shared.tensor(shared.shape())), members.forward(shared));
        es.tell(random_fitness(of.pop_size));

        const Tensor y = random_tensor({of.batch, of.outputs}, 3);
        check_close(mse(y, own_target.tensor(target.shape())), mse(y, target));
    }
}

TEST_CASE("cuda: operations on external memory have the bits of those on the library's own") {
    const Tensor x = random_tensor({7, 12}), y = random_tensor({7, 12}, 1);
    const Unaligned own_x(host(x)), own_y(host(y));
    const auto check_same = [&](const auto& f) {
        CHECK(host(f(own_x.tensor(x.shape()), own_y.tensor(y.shape()))) == host(f(x, y)));
    };
    check_same([](const Tensor& a, const Tensor& b) { return tanh(a) * b + exp(b); });
    check_same([](const Tensor& a, const Tensor& b) { return where(greater(a, b), a, gelu(b)); });
    check_same([](const Tensor& a, const Tensor& b) { return concat({a, b}, 1); });
    check_same([](const Tensor& a, const Tensor&) { return transpose(slice(a, 1, 1, 6), 0, 1); });
    check_same([](const Tensor& a, const Tensor&) { return max(a, 0); });
    check_same([](const Tensor& a, const Tensor&) { return a.clone(); });
}
