// SPDX-License-Identifier: MIT

// A population's forward pass, or its whole generation (forward, shaping, update), beside plain
// inference of the same rows in the same run.

#include "bench/cli.h"
#include "bench/verify.h"
#include "bench/workload.h"

#include <limits>

using namespace eggroll;
using namespace eggroll::bench;

namespace {

struct Case {
    std::string work, arch;
    int64_t pop_size, batch;
    int rank, threads;
};

struct Settings {
    bool shared = false, plain = true;
    std::string objective = "none", device = "cpu", precision = "f32";
    float sigma = 0.02f, lr = 0.05f;
    Repeats repeats{.at_least_ms = 50};
};

std::string name_of(const Case& c) {
    return c.work + " " + c.arch + " pop " + std::to_string(c.pop_size) + " batch " +
           std::to_string(c.batch) + " rank " + std::to_string(c.rank);
}

Precision precision_of(const Settings& settings) {
    return settings.precision == "bf16"   ? Precision::bf16
           : settings.precision == "tf32" ? Precision::tf32
                                          : Precision::f32;
}

/// A fitness that costs next to nothing: the mean of each member's first outputs.
std::vector<float> first_outputs(const Tensor& there) {
    const Tensor y = there.to(Device::cpu());
    const std::span<const float> values = y.data();
    const int64_t batch = y.dim(1), outputs = y.dim(2);
    std::vector<float> fitness(static_cast<size_t>(y.members()));
    for (size_t p = 0; p < fitness.size(); ++p) {
        float sum = 0;
        for (int64_t b = 0; b < batch; ++b) {
            sum +=
                values[p * static_cast<size_t>(batch * outputs) + static_cast<size_t>(b * outputs)];
        }
        fitness[p] = sum / static_cast<float>(batch);
    }
    return fitness;
}

/// One repeat of our side, by the public interface alone.
class Ours {
public:
    Ours(const Case& c, const Settings& settings, nn::Module& model, const Tensor& x,
         int64_t outputs)
        : forward_(c.work == "forward"),
          cross_entropy_(settings.objective == "cross_entropy"),
          x_(x),
          es_(model, {.pop_size = c.pop_size,
                      .sigma = settings.sigma,
                      .lr = settings.lr,
                      .rank = c.rank,
                      .precision = precision_of(settings)}),
          no_update_(static_cast<size_t>(c.pop_size), std::numeric_limits<float>::quiet_NaN()),
          objective_(loss::cross_entropy(
              make_labels(outputs, c.pop_size, c.batch, settings.shared).to(x.device()))) {}

    Side side() {
        const auto finish = [this] { finish_work(x_.device()); };
        if (!forward_) return {.timed = [this] { step(); }, .finish = finish};
        // A GPU is given one call after another, as what it does between is a large part of a short
        // one. It keeps no noise, so that a generation's costs as much every time.
        if (x_.device().kind() == Device::Kind::cuda) {
            return {.timed = [this] { forward(); },
                    .before = [this] { next_generation(); },
                    .finish = finish};
        }
        // All members NaN: the generation advances, so that the next repeat draws other noise, and
        // no update is made.
        return {.timed = [this] { forward(); }, .untimed = [this] { next_generation(); }};
    }

    /// Of the last repeat.
    double checksum() const {
        return forward_ ? bench::checksum(y_.to(Device::cpu()).data()) : report_.mean;
    }

private:
    void forward() {
        const Population population = es_.ask();
        y_ = Tensor();  // its memory serves again, as where a user's y goes out of scope
        y_ = population.forward(x_);
        asked_ = true;
    }
    void next_generation() {
        if (asked_) es_.tell(no_update_);
        asked_ = false;
    }
    void step() {
        report_ = cross_entropy_ ? es_.step(x_, objective_) : es_.step(x_, first_outputs);
    }

    bool forward_, cross_entropy_, asked_ = false;
    Tensor x_, y_;
    Eggroll es_;
    std::vector<float> no_update_;
    Objective objective_;
    Report report_;
};

void run(const Case& c, const Settings& settings) {
    if (c.threads > 0) set_num_threads(c.threads);
    const std::vector<int64_t> widths = parse_arch(c.arch);
    const Device device = settings.device == "cuda" ? Device::cuda() : Device::cpu();
    nn::Sequential model = make_mlp(widths, device);
    const Tensor x = make_input(widths.front(), c.pop_size, c.batch, settings.shared).to(device);
    Ours ours(c, settings, model, x, widths.back());

    // The memory of a generation alone, before the plain side takes its own.
    reset_peak_memory();
    measure({.warmup = 0, .count = 1}, std::vector{ours.side()});
    const double peak = peak_memory_mib();

    std::vector<Side> sides = {ours.side()};
    std::unique_ptr<nn::Module> plain_model;  // our updates would drag its weights along
    std::unique_ptr<PlainForward> plain;
    if (settings.plain) {
        plain_model = model.clone();
        plain = std::make_unique<PlainForward>(*plain_model, x, c.pop_size, widths.back(),
                                               precision_of(settings));
        plain->choose(widths);
        sides.push_back({.timed = [&] { plain->run(); }, .finish = [&] { finish_work(device); }});
    }
    const std::vector<Timing> timings = measure(settings.repeats, sides);
    const double seconds = timings[0].median() / 1000;
    const double rows = static_cast<double>(c.pop_size * c.batch);
    const double none = std::numeric_limits<double>::quiet_NaN();
    const double sum = ours.checksum();
    JsonLine line;
    line.add("bench", "generation")
        .add("work", c.work)
        .add("arch", c.arch)
        .add("pop", c.pop_size)
        .add("batch", c.batch)
        .add("rank", c.rank)
        .add("shared", settings.shared)
        .add("objective", c.work == "step" ? settings.objective : "none")
        .add("device", settings.device)
        .add("compute", settings.precision == "f32" ? "fp32" : settings.precision)
        .add("threads", num_threads())
        .add("repeat", settings.repeats.count)
        .add(timings[0])
        .add("members_per_s", static_cast<double>(c.pop_size) / seconds)
        .add("rows_per_s", rows / seconds)
        .add("gflops", 2 * rows * static_cast<double>(weight_count(widths)) / seconds / 1e9)
        .add("ratio_to_plain", plain ? timings[1].median() / timings[0].median() : none)
        .add("cpu_ratio_to_plain", plain ? timings[1].cpu_median() / timings[0].cpu_median() : none)
        .add("plain_ms", plain ? timings[1].median() : none)
        .add("plain_block", plain ? static_cast<double>(plain->block()) : none)
        .add("peak_mb", peak)
        .add("checksum", sum);
    if (plain) line.add("plain_checksum", checksum(plain->y().to(Device::cpu()).data()));
    line.print();
    if (!std::isfinite(sum)) fail("the checksum is not finite");
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app("A population's forward pass or whole generation, beside plain inference.",
                 "bench_generation");
    std::vector<std::string> works = {"forward"}, archs = {"256x3"};
    std::vector<int64_t> pops = {1024}, batches = {1};
    std::vector<int> ranks = {1}, threads = {0};
    Settings settings;
    app.option_defaults()->always_capture_default();
    add_list(app, "--work", works, "forward, or step: forward, shaping and update")
        ->check(CLI::IsMember({"forward", "step"}));
    add_list(app, "--arch", archs, "MLP: 256x3 (three layers) or 64-128-128-128-10")
        ->check(readable_by(parse_arch));
    add_populations(app, pops, "population");
    add_list(app, "--batch", batches, "rows a member")->check(CLI::Range(1, 1 << 24));
    add_list(app, "--rank", ranks, "rank of the perturbations")->check(CLI::Range(1, 1 << 16));
    add_list(app, "--threads", threads, "0: the library's default")->check(CLI::Range(0, 1024));
    app.add_flag("--shared", settings.shared, "one input for all members");
    app.add_option("--device", settings.device, "where model and inputs are")
        ->check(CLI::IsMember({"cpu", "cuda"}));
    app.add_option("--precision", settings.precision, "of the products, ours and plain")
        ->check(CLI::IsMember({"f32", "tf32", "bf16"}));
    bool only_verify = false;
    CLI::Option* verifies = app.add_flag(
        "--verify", only_verify,
        "check this machine instead: noise, forward passes and updates on every instruction set");
    app.add_flag_callback(
           "--same-process", [] { isolate_cases(false); },
           "no process of its own for a case: for tools that watch one")
        ->excludes(verifies);
    app.add_option("--objective", settings.objective, "fitness of a step")
        ->check(CLI::IsMember({"none", "cross_entropy"}));
    app.add_flag("!--no-plain", settings.plain, "leave the plain side out");
    app.add_option("--sigma", settings.sigma, "scale of the perturbations")
        ->check(CLI::Range(1e-6f, 1000.0f));
    app.add_option("--lr", settings.lr, "learning rate")->check(CLI::Range(0.0f, 1000.0f));
    add_repeats(app, settings.repeats);
    app.add_option("--at-least-ms", settings.repeats.at_least_ms,
                   "a repeat is as many generations as take so long")
        ->check(CLI::Range(0.0, 1e6));
    app.add_flag("--on-demand", settings.repeats.on_demand,
                 "each repeat waits for a line on stdin, for bench/peers/run");
    return run_main(app, argc, argv, [&] {
        if (only_verify) return verify(settings.device == "cuda");
        bool well = true;
        for (const std::string& work : works) {
            for (const std::string& arch : archs) {
                for (const int64_t pop : pops) {
                    for (const int64_t batch : batches) {
                        for (const int rank : ranks) {
                            for (const int n : threads) {
                                const Case c{work, arch, pop, batch, rank, n};
                                well &= run_isolated(name_of(c), [&] { run(c, settings); });
                            }
                        }
                    }
                }
            }
        }
        return well;
    });
}
