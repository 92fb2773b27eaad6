// SPDX-License-Identifier: MIT

// A layer of one's own: its parameters, its forward, and it trains inside Sequential. The task, to
// tell whether two numbers have the same sign, is one that no linear model can do.

#include "common/json.h"
#include "common/options.h"
#include "common/random.h"
#include "common/text.h"

#include <eggroll/eggroll.h>

#include <iostream>
#include <vector>

using namespace eggroll;
using examples::fixed;

namespace {

/// scale · value(x) · sigmoid(gate(x)).  x (B,I) -> (B,O)
class Gated : public nn::Module {
public:
    Gated(int64_t inputs, int64_t outputs) : value_(inputs, outputs), gate_(inputs, outputs) {
        register_module("value", value_);
        register_module("gate", gate_);
        scale_ = register_parameter("scale", {outputs}, nn::init::ones());
    }
    Tensor forward(const Tensor& x, const View& v) const override {
        return perturbed(scale_, v) * value_.forward(x, v) * sigmoid(gate_.forward(x, v));
    }

private:
    nn::Linear value_, gate_;
    Tensor scale_;
};

constexpr int64_t kRows = 512;

/// Trains a model and returns its accuracy.
float train_model(const char* name, nn::Module& model, const Options& options, int64_t steps,
                  const Tensor& x, const Tensor& labels) {
    model.init(options.seed);
    Eggroll es(model, options);
    train(es, steps, [&] { return es.step(x, loss::cross_entropy(labels)); },
          {ProgressBar(std::cout)});
    const float right = accuracy(model(x), labels).item();
    std::cout << name << ": accuracy " << fixed(right, 3) << std::endl;
    return right;
}

void compare(const examples::CommonFlags& flags, const Options& options) {
    examples::Random random(options.seed);
    Tensor x = Tensor::zeros({kRows, 2});
    std::vector<int32_t> same_sign(kRows);
    for (size_t row = 0; row < kRows; ++row) {
        const float a = random.uniform(-1, 1), b = random.uniform(-1, 1);
        x.data()[2 * row] = a;
        x.data()[2 * row + 1] = b;
        same_sign[row] = (a > 0) == (b > 0);
    }
    const Tensor labels = Tensor::from_ints({kRows}, same_sign);

    nn::Sequential linear(nn::Linear(2, 2));
    nn::Sequential gated(Gated(2, 8), nn::Linear(8, 2));
    const float by_linear = train_model("linear model", linear, options, flags.steps, x, labels);
    const float by_gated = train_model("gated model", gated, options, flags.steps, x, labels);
    if (flags.json) {
        examples::print_json({{"example", "own_layer"},
                              {"accuracy", by_gated},
                              {"linear_accuracy", by_linear},
                              {"steps", flags.steps},
                              {"seed", options.seed}});
    }
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app("Trains a layer of one's own on a task that no linear model can do.");
    examples::CommonFlags flags{.steps = 300};
    Options options{.pop_size = 64, .sigma = 0.1f, .lr = 0.1f, .rank = 2};
    examples::add_common_flags(app, flags, options);
    return examples::run_main(app, flags, argc, argv, [&] { compare(flags, options); });
}
