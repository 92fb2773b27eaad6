// SPDX-License-Identifier: MIT
// Trains the README's model for some steps, multiplies with its own Eigen, and catches the
// library's errors. Exit status 0: all of it works.
#include "own_eigen.h"

#include <eggroll/eggroll.h>

#include <cmath>
#include <cstdio>
#include <string>
#include <string_view>

using namespace eggroll;

namespace {

bool check(bool holds, const char* what) {
    std::printf("%-8s %s\n", holds ? "ok" : "FAILED", what);
    return holds;
}

bool same_product(const Tensor& a, const Tensor& b) {
    const Tensor ours = matmul(a, b);
    const std::vector<float> theirs =
        eigen_product(a.data().data(), b.data().data(), static_cast<int>(a.dim(0)),
                      static_cast<int>(a.dim(1)), static_cast<int>(b.dim(1)));
    for (size_t i = 0; i < theirs.size(); ++i) {
        if (std::abs(ours.data()[i] - theirs[i]) > 1e-3f) return false;
    }
    return true;
}

bool learns(const Tensor& x, const Tensor& target) {
    nn::Sequential model(nn::Linear(10, 20), nn::ReLU(), nn::Linear(20, 5));
    Eggroll es(model, {.pop_size = 32, .sigma = 0.1f, .lr = 0.1f, .rank = 4});
    const float before = -mse(model(x), target).item();
    for (int step = 0; step < 30; ++step) {
        es.step(x, [&](const Tensor& y) { return -mse(y, target); });
    }
    const float after = -mse(model(x), target).item();
    std::printf("fitness %.3f before, %.3f after\n", before, after);
    return after > before;
}

bool catches_error() {
    try {
        nn::Linear layer(31, 4);
        layer(Tensor::zeros({2, 32}));
    } catch (const Error& error) {
        return std::string_view(error.what()).find("31") != std::string_view::npos;
    }
    return false;
}

/// A device, or the reason why there is none.
bool knows_device() {
    try {
        std::printf("a device: %s\n", Device::cuda().name().c_str());
        return true;
    } catch (const Error& error) {
        std::printf("no device: %s\n", error.what());
        return std::string_view(error.what()).starts_with("[Device::cuda] ");
    }
}

}  // namespace

int main() {
    Tensor x = Tensor::zeros({256, 10}), map = Tensor::zeros({10, 5});
    fill_normal({.seed = 1}, 0, x.data());
    fill_normal({.seed = 2}, 0, map.data());
    Tensor a = Tensor::zeros({65, 300}), b = Tensor::zeros({300, 129});
    fill_normal({.seed = 3}, 0, a.data());
    fill_normal({.seed = 4}, 0, b.data());

    bool good = check(same_product(a, b), "two Eigens agree");
    good &= check(learns(x, tanh(matmul(x, map))), "the model learns");
    good &= check(catches_error(), "an error crosses the boundary");
    good &= check(knows_device(), "a GPU is there or it is said why not");
    good &= check(std::string(EGGROLL_VERSION).starts_with("0.1."), "the version is 0.1");
    return good ? 0 : 1;
}
