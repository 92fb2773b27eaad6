// SPDX-License-Identifier: MIT

// A factorised classifier, after the example of the Python package TorchEggroll: is it a circle or
// a square, and in which of five colours? Two small networks answer one question each; the outer
// product of their probabilities gives the ten classes.

#include "common/json.h"
#include "common/options.h"
#include "common/random.h"
#include "common/resumable.h"
#include "common/text.h"

#include <eggroll/eggroll.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <iostream>
#include <numbers>
#include <string>
#include <vector>

using namespace eggroll;
using examples::fixed;

namespace {

constexpr int kSide = 32, kColours = 5, kShapes = 2, kImagesPerClass = 20;
constexpr int kImages = kColours * kShapes * kImagesPerClass, kFeatures = 4;

using Colour = std::array<float, 3>;
constexpr std::array<Colour, kColours> kPalette = {{
    {0.9f, 0.1f, 0.1f},
    {0.1f, 0.9f, 0.1f},
    {0.1f, 0.1f, 0.9f},
    {0.9f, 0.9f, 0.1f},
    {0.9f, 0.1f, 0.9f},
}};

/// Probabilities of colour (5) and shape (2) from two networks, and of the ten classes by their
/// outer product. Returned as logarithms, so that the product is a sum and nothing underflows.
class NanoClassifier : public nn::Module {
public:
    NanoClassifier()
        : colour_(nn::Linear(3, 16), nn::Tanh(), nn::Linear(16, kColours)),
          shape_(nn::Linear(1, 16), nn::Tanh(), nn::Linear(16, kShapes)) {
        register_module("colour", colour_);
        register_module("shape", shape_);
    }

    /// x (B,4) -> log probabilities (B,10), class = colour * 2 + shape
    Tensor forward(const Tensor& x, const View& v) const override {
        const Tensor colour = log_softmax(colour_.forward(slice(x, -1, 0, 3), v));  // (B,5)
        const Tensor shape = log_softmax(shape_.forward(slice(x, -1, 3, 4), v));    // (B,2)
        const Tensor both =
            reshape(colour, {-1, kColours, 1}) + reshape(shape, {-1, 1, kShapes});  // (B,5,2)
        return reshape(both, {-1, kColours * kShapes});
    }

private:
    nn::Sequential colour_, shape_;
};

using Image = std::array<std::array<Colour, kSide>, kSide>;

/// A disc or a square of random place and size on grey; its colour and every pixel vary a little.
Image draw(const Colour& colour, bool circle, examples::Random& random) {
    const int size = 6 + static_cast<int>(random.below(6));  // radius, or half the edge
    const int room = kSide - 2 * size;
    const int row0 = size + static_cast<int>(random.below(room));
    const int col0 = size + static_cast<int>(random.below(room));
    Colour paint;
    for (int c = 0; c < 3; ++c) paint[c] = colour[c] + random.uniform(-0.1f, 0.1f);

    Image image;
    for (int row = 0; row < kSide; ++row) {
        for (int col = 0; col < kSide; ++col) {
            const int down = row - row0, right = col - col0;
            const bool inside = circle ? down * down + right * right <= size * size
                                       : std::max(std::abs(down), std::abs(right)) <= size;
            for (int c = 0; c < 3; ++c) {
                image[row][col][c] = (inside ? paint[c] : 0.5f) + random.uniform(-0.03f, 0.03f);
            }
        }
    }
    return image;
}

/// Mean red, green and blue of the whole image, and 4π·area/perimeter² of the coloured pixels,
/// counting pixels and their edges: about 0.79 for a square, 0.62 for a disc.
std::array<float, kFeatures> features(const Image& image) {
    const auto coloured = [&](int row, int col) {
        if (row < 0 || col < 0 || row >= kSide || col >= kSide) return false;
        const auto [low, high] = std::ranges::minmax(image[row][col]);
        return high - low > 0.3f;
    };
    std::array<float, kFeatures> result = {};
    int area = 0, perimeter = 0;
    for (int row = 0; row < kSide; ++row) {
        for (int col = 0; col < kSide; ++col) {
            for (int c = 0; c < 3; ++c) result[c] += image[row][col][c] / (kSide * kSide);
            if (!coloured(row, col)) continue;
            ++area;
            perimeter += !coloured(row - 1, col) + !coloured(row + 1, col) +
                         !coloured(row, col - 1) + !coloured(row, col + 1);
        }
    }
    result[3] = 4 * std::numbers::pi_v<float> * static_cast<float>(area) /
                static_cast<float>(std::max(perimeter * perimeter, 1));
    return result;
}

/// Gives every column of x mean 0 and standard deviation 1 over the rows.
void standardise(Tensor& x) {
    const Tensor centred = x - mean(x, 0);
    x.assign(centred / sqrt(mean(square(centred), 0)));
}

struct Data {
    Tensor x;       // (200,4)
    Tensor labels;  // (200)
};

Data draw_data(uint64_t seed) {
    examples::Random random(seed);
    Tensor x = Tensor::zeros({kImages, kFeatures});
    std::vector<int32_t> labels(kImages);
    for (int i = 0; i < kImages; ++i) {
        const int label = i / kImagesPerClass;
        const Image image = draw(kPalette[label / kShapes], label % kShapes == 0, random);
        std::ranges::copy(features(image), x.data().begin() + i * kFeatures);
        labels[i] = label;
    }
    standardise(x);
    return {x, Tensor::from_ints({kImages}, labels)};
}

/// Trains from one seed, which also draws the images; returns the accuracy on those images, the
/// training set, as TorchEggroll's example does.
float train_from_seed(int64_t steps, const Options& options, const std::string& fitness,
                      const examples::CheckpointFlags& checkpoint) {
    const Data data = draw_data(options.seed);
    NanoClassifier model;
    model.init(options.seed);
    Eggroll es(model, options);
    examples::Resumable run(checkpoint, {{"fitness", fitness}});
    run.resume(es, steps);
    const auto step = [&] {
        return es.step(data.x, [&](const Tensor& y) {  // y (P,200,10) -> (P)
            return fitness == "accuracy" ? accuracy(y, data.labels) : mean(gather(y, data.labels));
        });
    };
    train(es, steps, step, {run, ProgressBar(std::cout)});
    const float right = accuracy(model(data.x), data.labels).item();
    std::cout << "seed " << options.seed << "  accuracy " << fixed(right, 3) << std::endl;
    return right;
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app("Names the shape and colour of 200 drawn images with two small networks.");
    examples::CommonFlags flags{.steps = 50};
    Options options{.pop_size = 64, .sigma = 0.1f, .lr = 0.1f, .rank = 2};
    std::string fitness = "nll";
    int seeds = 1;
    examples::add_common_flags(app, flags, options);
    examples::CheckpointFlags checkpoint;
    examples::add_checkpoint_flags(app, checkpoint);
    app.add_option("--fitness", fitness, "accuracy, or nll: the mean log probability of the truth")
        ->check(CLI::IsMember({"accuracy", "nll"}));
    app.add_option("--seeds", seeds, "train from that many seeds, counted on from --seed")
        ->check(examples::at_least(1));

    return examples::run_main(app, flags, argc, argv, [&] {
        const uint64_t first = options.seed;
        double total = 0;
        for (int i = 0; i < seeds; ++i) {
            Options of_seed = options;
            of_seed.seed = first + i;
            examples::CheckpointFlags own = checkpoint;
            if (seeds > 1 && !own.directory.empty()) {
                own.directory /= "seed-" + std::to_string(of_seed.seed);
            }
            total += train_from_seed(flags.steps, of_seed, fitness, own);
        }
        const double accuracy = total / seeds;
        if (seeds > 1) {
            std::cout << "mean of " << seeds << " seeds  accuracy " << fixed(accuracy, 3) << "\n";
        }
        if (flags.json) {
            examples::print_json({{"example", "nano_classifier"},
                                  {"accuracy", accuracy},
                                  {"steps", flags.steps},
                                  {"seed", first},
                                  {"seeds", seeds}});
        }
    });
}
