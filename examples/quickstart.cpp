// SPDX-License-Identifier: MIT
#include <eggroll/eggroll.h>

#include <cstdio>
#include <string_view>

using namespace eggroll;

int main(int argc, char** argv) {
    if (argc > 1) {
        std::printf("%s: quickstart has no options; it trains a network for 100 steps\n", argv[1]);
        return std::string_view(argv[1]) != "--help";
    }
    // 256 rows of 10 inputs, and what a fixed map makes of them: 5 outputs to learn.
    Tensor x = Tensor::zeros({256, 10}), map = Tensor::zeros({10, 5});
    fill_normal({.seed = 1}, 0, x.data());
    fill_normal({.seed = 2}, 0, map.data());
    Tensor target = tanh(matmul(x, map) * 0.3f);

    nn::Sequential model(nn::Linear(10, 20), nn::ReLU(), nn::Linear(20, 5));
    Eggroll es(model, {.pop_size = 32, .sigma = 0.1f, .lr = 0.1f, .rank = 4});
    for (int step = 0; step < 100; ++step) {
        // y (P,B,O): the outputs of all members; their fitness (P)
        Report r = es.step(x, [&](const Tensor& y) { return -mse(y, target); });
        if (step % 20 == 0) std::printf("step %3d   mean fitness %.3f\n", step, r.mean);
    }
    std::printf("trained    fitness %.3f\n", -mse(model(x), target).item());
}
