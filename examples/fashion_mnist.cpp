// SPDX-License-Identifier: MIT

// Trains a network on Fashion-MNIST by evolution strategies alone: every generation the whole
// population is scored on one mini-batch, and no gradient is ever computed.

#include "common/curve.h"
#include "common/idx.h"
#include "common/json.h"
#include "common/options.h"
#include "common/random.h"
#include "common/resumable.h"
#include "common/text.h"

#include <eggroll/eggroll.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <limits>
#include <memory>
#include <numeric>
#include <span>
#include <string>
#include <system_error>
#include <vector>

#include <unistd.h>

using namespace eggroll;
using examples::fixed;
using Clock = std::chrono::steady_clock;

namespace {

constexpr int kClasses = 10;
constexpr int64_t kQuickSteps = 1000;
// Of the training images, on a scale to 1. Taken off, because a network whose inputs are all
// positive feels most of a perturbation as a change of brightness.
constexpr float kMeanPixel = 0.286f;
constexpr const char* kSecondsNote = "train_seconds";  // in the checkpoints

struct Settings : examples::CommonFlags {
    std::filesystem::path data = "/usr/share/datasets/fashion-mnist";
    std::filesystem::path out = "fashion_mnist_out";
    double seconds = 0;
    int64_t batch = 128, validation = 0, eval_every = 250;
    std::string model = "mlp";
    std::vector<int64_t> hidden = {64};
    std::string fitness = "cross_entropy", optimizer = "sgd", lr_schedule = "cosine";
    double lr_decay = 0.9996, lr_final = 0, sigma_decay = 1;
    bool quick = false;
    examples::CheckpointFlags checkpoint;
};

/// Images as the network sees them: byte/255 - kMeanPixel.  x (N,...), labels (N)
struct Batch {
    Tensor x, labels;

    Batch(int64_t count, Shape image)
        : x(Tensor::zeros(with_count(count, std::move(image)))),
          labels(Tensor::from_ints({count}, std::vector<int32_t>(static_cast<size_t>(count)))) {}

    void fill(const examples::LabelledImages& images, std::span<const uint32_t> rows) {
        const size_t pixels = static_cast<size_t>(images.rows * images.cols);
        for (size_t i = 0; i < rows.size(); ++i) {
            const uint8_t* from = images.pixels.data() + rows[i] * pixels;
            std::transform(from, from + pixels, x.data().data() + i * pixels, [](uint8_t byte) {
                return static_cast<float>(byte) / 255.0f - kMeanPixel;
            });
            labels.ints()[i] = images.labels[rows[i]];
        }
    }

private:
    static Shape with_count(int64_t count, Shape image) {
        image.insert(image.begin(), count);
        return image;
    }
};

/// What a network takes of an image: a row of pixels, or (channels,rows,cols).
Shape input_shape(const Settings& settings, const examples::LabelledImages& images) {
    if (settings.model == "cnn") return {1, images.rows, images.cols};
    return {images.rows * images.cols};
}

Batch whole(const Settings& settings, const examples::LabelledImages& images,
            std::span<const uint32_t> rows) {
    Batch batch(static_cast<int64_t>(rows.size()), input_shape(settings, images));
    batch.fill(images, rows);
    return batch;
}

std::vector<uint32_t> numbers(int64_t count) {
    std::vector<uint32_t> result(static_cast<size_t>(count));
    std::iota(result.begin(), result.end(), 0u);
    return result;
}

/// Mini-batches of the given rows, shuffled anew every epoch.
class MiniBatches {
public:
    MiniBatches(std::vector<uint32_t> rows, int64_t batch, uint64_t seed)
        : rows_(std::move(rows)),
          batch_(static_cast<size_t>(batch)),
          next_(rows_.size()),
          random_(seed) {}

    std::span<const uint32_t> next() {
        if (next_ + batch_ > rows_.size()) {
            random_.shuffle(rows_);
            next_ = 0;
        }
        next_ += batch_;
        return std::span(rows_).subspan(next_ - batch_, batch_);
    }
    /// As if so many had been taken.
    void skip(int64_t count) {
        while (count-- > 0) next();
    }

private:
    std::vector<uint32_t> rows_;
    size_t batch_, next_;
    examples::Random random_;
};

nn::Sequential make_mlp(int64_t inputs, const std::vector<int64_t>& hidden) {
    std::vector<std::unique_ptr<nn::Module>> layers;
    for (const int64_t width : hidden) {
        layers.push_back(std::make_unique<nn::Linear>(inputs, width));
        layers.push_back(std::make_unique<nn::ReLU>());
        inputs = width;
    }
    layers.push_back(std::make_unique<nn::Linear>(inputs, kClasses));
    return nn::Sequential(std::move(layers));
}

/// Two convolutions that halve the image, and one linear layer.
nn::Sequential make_cnn(const Shape& image) {
    const auto halved = [](int64_t n) { return (n + 1) / 2; };
    const int64_t pixels = halved(halved(image[1])) * halved(halved(image[2]));
    const nn::Conv2dOptions options{.stride = 2, .padding = 1};
    return nn::Sequential(nn::Conv2d(image[0], 8, 3, options), nn::ReLU(),
                          nn::Conv2d(8, 16, 3, options), nn::ReLU(), nn::Flatten(),
                          nn::Linear(16 * pixels, kClasses));
}

nn::Sequential make_model(const Settings& settings, const Shape& image) {
    return settings.model == "cnn" ? make_cnn(image) : make_mlp(image[0], settings.hidden);
}

/// The unperturbed model's accuracy; NaN when there are no images.
double accuracy_on(const nn::Module& model, const Batch& batch) {
    if (batch.x.size() == 0) return std::numeric_limits<double>::quiet_NaN();
    const auto images = static_cast<double>(batch.labels.size());
    // A share of a whole number of images, without the rounding of a float.
    return std::round(accuracy(model(batch.x), batch.labels).item() * images) / images;
}

/// A number that reads back as the same.
std::string exact(double value) {
    char text[32];
    std::snprintf(text, sizeof text, "%.17g", value);
    return text;
}

std::string percent(double share) {
    return fixed(100 * share, 2) + " %";
}

void use_schedules(Options& options, const Settings& settings) {
    if (settings.optimizer == "momentum") options.optimizer = optim::momentum();
    if (settings.optimizer == "adam") options.optimizer = optim::adam();
    if (settings.lr_schedule == "exponential") {
        options.lr_schedule = schedule::exponential(settings.lr_decay);
    } else if (settings.lr_schedule == "cosine") {
        options.lr_schedule =
            schedule::cosine(std::max<int64_t>(settings.steps, 1), settings.lr_final);
    }
    options.sigma_schedule = schedule::exponential(settings.sigma_decay);
}

examples::LabelledImages read_set(const Settings& settings, const std::string& name) {
    if (!std::filesystem::is_directory(settings.data)) {
        throw Error("no folder \"" + settings.data.string() +
                    "\": install the Debian package dataset-fashion-mnist, or name the folder of "
                    "its four files with --data");
    }
    return examples::read_labelled_images(settings.data / (name + "-images-idx3-ubyte.gz"),
                                          settings.data / (name + "-labels-idx1-ubyte.gz"),
                                          kClasses);
}

/// The images of both sets, and which rows of the training set serve what.
struct Data {
    examples::LabelledImages images;  // for training
    std::vector<uint32_t> training;   // rows of `images`
    Batch validation, test;
};

Data read_data(const Settings& settings) {
    const examples::LabelledImages test = read_set(settings, "t10k");
    examples::LabelledImages images = read_set(settings, "train");
    if (test.rows != images.rows || test.cols != images.cols) {
        throw Error("the images for training and for testing differ in size");
    }
    const int64_t training = images.count - settings.validation;
    if (settings.batch > training) {
        throw Error("--batch is " + std::to_string(settings.batch) + " but there are " +
                    std::to_string(training) + " images to train on");
    }
    // The images come in random order: the last ones are as good a validation set as any.
    const std::vector<uint32_t> all = numbers(images.count);
    const auto split = all.begin() + training;
    Batch validation = whole(settings, images, {split, all.end()});
    return {std::move(images),
            {all.begin(), split},
            std::move(validation),
            whole(settings, test, numbers(test.count))};
}

constexpr double kNotTested = std::numeric_limits<double>::quiet_NaN();

/// Accuracies after a generation, and a line that tells of them.
struct Tested {
    double batch = kNotTested, validation = kNotTested, test = kNotTested;
    std::string line;
};

/// Returns how many generations there are then; adds up the `seconds` of batches and generations,
/// without reading and testing.
int64_t train_model(nn::Module& model, const Data& data, const Settings& settings,
                    const Options& options, examples::Resumable& run, double& seconds) {
    Eggroll es(model, options);
    MiniBatches batches(data.training, settings.batch, options.seed);
    Batch batch(settings.batch, input_shape(settings, data.images));
    if (const auto notes = run.resume(es, settings.steps)) {
        seconds = std::stod(notes->at(kSecondsNote));
        batches.skip(es.generation());
    }
    const auto out_of_time = [&] { return settings.seconds > 0 && seconds >= settings.seconds; };
    const auto step = [&] {
        const auto start = Clock::now();
        batch.fill(data.images, batches.next());
        Report report =
            es.step(batch.x, settings.fitness == "accuracy" ? score::accuracy(batch.labels)
                                                            : loss::cross_entropy(batch.labels));
        seconds += std::chrono::duration<double>(Clock::now() - start).count();
        return report;
    };
    Tested tested;
    const auto test = [&](Eggroll&, Report& report) {
        tested = {};
        const int64_t done = es.generation();
        const bool last = done >= settings.steps || out_of_time();
        if (!last && done % settings.eval_every != 0) return;
        tested.batch = accuracy_on(model, batch);
        tested.validation = accuracy_on(model, data.validation);
        tested.test = accuracy_on(model, data.test);
        tested.line = "generation " + std::to_string(done) + "  " + fixed(seconds, 1) +
                      " s  fitness " + fixed(report.mean, 4) + "  test " + percent(tested.test);
        if (settings.validation > 0) tested.line += "  validation " + percent(tested.validation);
    };
    const auto column = [](const std::string& name, const double& value) {
        return Column{name, [&value](const Report&) { return value; }};
    };
    CsvLog curve(
        settings.out / "curve.csv",
        {column("train_seconds", seconds), column("batch_accuracy", tested.batch),
         column("validation_accuracy", tested.validation), column("test_accuracy", tested.test)});
    const auto line = [&](const Report&) { return tested.line; };
    train(es, settings.steps, step, {test, curve, run, ProgressBar(std::cout, {.line = line})},
          out_of_time);
    return es.generation();
}

/// Makes the folder if there is none. Throws Error when files cannot be put there.
void make_out(const std::filesystem::path& out) {
    std::error_code error;
    std::filesystem::create_directories(out, error);
    if (!error && ::access(out.c_str(), W_OK | X_OK) != 0) {
        error = {errno, std::generic_category()};
    }
    if (error) {
        throw Error("--out \"" + out.string() + "\" cannot be written to: " + error.message());
    }
}

void run(const Settings& settings, Options options) {
    // The folders before the data, whose reading takes a while.
    make_out(settings.out);
    double seconds = 0;  // of training
    examples::Resumable resumable(settings.checkpoint,
                                  {{"batch", std::to_string(settings.batch)},
                                   {"validation", std::to_string(settings.validation)},
                                   {"fitness", settings.fitness}},
                                  [&] {
                                      return Notes{{kSecondsNote, exact(seconds)}};
                                  });
    const Data data = read_data(settings);
    const Shape image = input_shape(settings, data.images);
    nn::Sequential model = make_model(settings, image);
    model.init(options.seed);
    use_schedules(options, settings);
    const int64_t generations = train_model(model, data, settings, options, resumable, seconds);

    const auto weights = settings.out / "model.safetensors";
    save_safetensors(weights, model);
    nn::Sequential reread = make_model(settings, image);
    load_safetensors(weights, reread);
    const double test_accuracy = accuracy_on(reread, data.test);

    const bool drawn = examples::plot_curve(
        settings.out / "curve.csv", settings.out / "curve.png",
        {.title = "Fashion-MNIST by evolution strategies: " + percent(test_accuracy),
         .x = "train_seconds",
         .x_label = "seconds of training",
         .y = "test_accuracy",
         .y_label = "test accuracy"});
    if (!drawn) std::cout << "no curve.png: gnuplot is missing or failed\n";
    std::cout << "test accuracy of the weights read back from " << weights.string() << ": "
              << percent(test_accuracy) << " after " << generations << " generations, "
              << fixed(seconds, 1) << " s of training" << std::endl;
    if (settings.json) {
        examples::print_json({{"example", "fashion_mnist"},
                              {"test_accuracy", test_accuracy},
                              {"train_seconds", std::round(seconds * 100) / 100},
                              {"generations", generations},
                              {"seed", options.seed}});
    }
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app(
        "Trains a network on Fashion-MNIST by evolution strategies. Training time counts the "
        "gathering of batches and the generations, not the reading of files and testing.");
    Settings settings;
    settings.steps = 28000;
    Options options{.pop_size = 1024, .sigma = 0.02f, .lr = 0.15f, .rank = 1};
    examples::add_common_flags(app, settings, options);
    examples::add_checkpoint_flags(app, settings.checkpoint);
    app.add_option("--data", settings.data, "folder of the four gzipped IDX files");
    app.add_option("--out", settings.out, "folder for curve.csv, curve.png, model.safetensors");
    app.add_option("--seconds", settings.seconds, "end sooner, after so much training; 0: never")
        ->check(CLI::Range(0.0, 1e9));
    app.add_option("--batch", settings.batch, "images a generation")->check(examples::at_least(1));
    app.add_option("--model", settings.model,
                   "mlp, or cnn: two convolutions of 3x3, stride 2, 8 and 16 channels, and a "
                   "linear layer")
        ->check(CLI::IsMember({"mlp", "cnn"}));
    app.add_option("--hidden", settings.hidden, "mlp: widths of the hidden layers: 128 or 256,128")
        ->delimiter(',')
        ->check(examples::at_least(1));
    app.add_option("--fitness", settings.fitness, "what members are scored by")
        ->check(CLI::IsMember({"cross_entropy", "accuracy"}));
    app.add_option("--optimizer", settings.optimizer)
        ->check(CLI::IsMember({"sgd", "momentum", "adam"}));
    app.add_option("--lr-schedule", settings.lr_schedule)
        ->check(CLI::IsMember({"constant", "exponential", "cosine"}));
    app.add_option("--lr-decay", settings.lr_decay, "factor a generation (exponential)");
    app.add_option("--lr-final", settings.lr_final, "factor at the last generation (cosine)");
    app.add_option("--sigma-decay", settings.sigma_decay, "factor of sigma a generation");
    app.add_option("--validation", settings.validation, "images held out of the training set")
        ->check(examples::at_least(0));
    app.add_option("--eval-every", settings.eval_every, "generations between tests")
        ->check(examples::at_least(1));
    app.add_flag("--quick", settings.quick,
                 "seconds instead of minutes: --steps " + std::to_string(kQuickSteps));
    return examples::run_main(app, settings, argc, argv, [&] {
        if (settings.quick && app.count("--steps") == 0) settings.steps = kQuickSteps;
        if (settings.model != "mlp" && app.count("--hidden") > 0) {
            throw Error("--hidden is for --model mlp, but the model is " + settings.model);
        }
        run(settings, options);
    });
}
