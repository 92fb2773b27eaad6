// SPDX-License-Identifier: MIT
// What can go wrong with a device: tensors in the wrong place, memory that is exhausted, a driver
// that is too old. A kernel that fails is in test_stream.cpp; a machine without any of it in
// device_absent_test.sh.
#include "cuda/context.h"
#include "tests/cases.h"
#include "tests/errors.h"
#include "tests/model_bits.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace eggroll;
using namespace eggroll::test;

namespace {

/// An Error that names both devices.
template <class F>
void check_names_both(F f) {
    const std::string message = error_of(f);
    CAPTURE(message);
    CHECK(message.find("cuda:0") != std::string::npos);
    CHECK(message.find("cpu") != std::string::npos);
}

}  // namespace

TEST_CASE("cuda: operands of two devices are refused with both" * doctest::skip(!on_cuda())) {
    const Tensor here = random_tensor({3, 3}), there = host_random_tensor({3, 3});
    const Tensor bias = host_random_tensor({3}), ids = Tensor::from_ints({3}, {0, 1, 2});
    const View centre = View::centre();
    check_names_both([&] { here + there; });
    check_names_both([&] { there* here; });
    check_names_both([&] { matmul(here, there); });
    check_names_both([&] { where(here, there, there); });
    check_names_both([&] { concat({here, there}, 0); });
    check_names_both([&] { gather(here, ids); });
    check_names_both([&] { linear(there, here, Tensor(), centre); });
    check_names_both([&] { linear(here, here, bias, centre); });
    check_names_both([&] { add(here, bias, centre); });
    check_names_both([&] { layer_norm(here, bias, Tensor(), centre); });
    check_names_both([&] { embedding(ids, here, centre); });
    check_names_both([&] { mse(here, there); });
    check_names_both([&] { cross_entropy(here, ids); });
    check_names_both([&] { here.data(); });
}

TEST_CASE("cuda: a strategy takes inputs of its parameters' device only, and changes nothing" *
          doctest::skip(!on_cuda())) {
    nn::Sequential model = here(nn::Sequential(nn::Linear(4, 3), nn::ReLU(), nn::Linear(3, 2)));
    Eggroll es(model, {.pop_size = 4});
    const std::string before = bits(model);
    const Tensor x = random_tensor({5, 4}), host_x = x.to(Device::cpu());
    const Tensor target = zeros({5, 2}), host_target = Tensor::zeros({5, 2});
    check_names_both([&] { es.step(host_x, loss::mse(target)); });
    check_names_both([&] { es.step(x, loss::mse(host_target)); });
    check_names_both([&] { es.enqueue(host_x, loss::mse(target)); });
    check_names_both([&] { es.capture(host_x, loss::mse(target)); });
    check_names_both([&] { es.capture(x, loss::mse(host_target)); });
    check_names_both(
        [&] { es.step([&](const Member& m) { return mse(m(host_x), target).item(); }); });
    // A model of which a part has moved.
    model.parameters()[2].value.to(Device::cpu());  // a copy: the model stays
    CHECK((bits(model) == before));
    CHECK(es.generation() == 0);
    es.step(x, loss::mse(target));
    CHECK(es.generation() == 1);
}

TEST_CASE("cuda: the reason why there is no device") {
    using cuda::why_no_device;
    CHECK(why_no_device(cudaErrorInsufficientDriver, 0, 13000) == "driver not found");
    CHECK(why_no_device(cudaErrorInsufficientDriver, 12040, 13000) ==
          "the driver is for CUDA 12.4 but this library was built with 13.0");
    CHECK(why_no_device(cudaErrorNoDevice, 13000, 13000) == "the driver finds none");
    CHECK_FALSE(why_no_device(cudaErrorUnknown, 13000, 13000).empty());
}

/// With 96 MiB of device memory: see device_absent_test.sh.
TEST_CASE("exhausted: device memory that is not there is refused with numbers" * doctest::skip()) {
    REQUIRE(on_cuda());
    nn::Linear model = here(nn::Linear(16, 16));
    Eggroll es(model, {.pop_size = 8});
    const Tensor x = random_tensor({4, 16}), target = zeros({4, 16});
    es.step(x, loss::mse(target));
    const std::string before = bits(model);
    const auto check_exhausted = [](auto f, const std::string& asked) {
        const std::string message = error_of(f);
        CAPTURE(message);
        CHECK(message.find("out of device memory: " + asked + " MiB") != std::string::npos);
        CHECK(message.find("are free") != std::string::npos);
    };
    check_exhausted([] { Tensor::zeros({32 << 20}, Device::cuda()); }, "128");
    // A batch of which the outputs of all members do not fit; nothing has changed and all goes on.
    const Tensor many = zeros({1 << 18, 16});
    check_exhausted([&] { es.step(many, [](const Tensor& y) { return mean(mean(y, 1), 0); }); },
                    "128");
    CHECK((bits(model) == before));
    CHECK(es.generation() == 1);
    es.step(x, loss::mse(target));
    CHECK(es.generation() == 2);
}
