// SPDX-License-Identifier: MIT

// Peak resident memory of whole generations of the MLP 256-1024-1024-1, one row a member, rank 1,
// against the limits the project holds itself to; status 1 above them.

#include "bench/cli.h"
#include "bench/workload.h"

using namespace eggroll;
using namespace eggroll::bench;

namespace {

/// x + sigmoid(x + gate) · silu(x Wᵀ + b): a layer of a user's own with several per-member
/// intermediates.  x (...,N) -> (...,N)
class GatedResidual : public nn::Module {
public:
    explicit GatedResidual(int64_t width) {
        weight_ = register_parameter("weight", {width, width}, nn::init::fan_in_uniform(width));
        bias_ = register_parameter("bias", {width}, nn::init::fan_in_uniform(width));
        gate_ = register_parameter("gate", {width}, nn::init::zeros());
    }
    Tensor forward(const Tensor& x, const View& v) const override {
        const Tensor gate = sigmoid(add(x, gate_, v));
        return x + gate * silu(linear(x, weight_, bias_, v));
    }

private:
    Tensor weight_, bias_, gate_;
};

constexpr int64_t kInputs = 256, kWidth = 1024;

nn::Sequential make_model(const std::string& name) {
    if (name == "sequential") return make_mlp({kInputs, kWidth, kWidth, 1});
    nn::Sequential model(nn::Linear(kInputs, kWidth), nn::ReLU(), GatedResidual(kWidth),
                         nn::Linear(kWidth, 1));
    model.init(0);
    return model;
}

/// MiB that a generation of P members may take.
double limit_of(int64_t pop_size) {
    return pop_size <= 65536 ? 256 : 512;
}

struct Case {
    std::string model, input;
    int64_t pop_size, generations;
    int threads;
};

void run(const Case& c) {
    if (c.threads > 0) set_num_threads(c.threads);
    reset_peak_memory();
    const double before = peak_memory_mib();
    nn::Sequential model = make_model(c.model);
    Eggroll es(model, {.pop_size = c.pop_size, .rank = 1});
    const Tensor x = make_input(kInputs, c.pop_size, 1, c.input == "shared");
    Report report;
    const Timing timing = measure({.warmup = 0, .count = static_cast<int>(c.generations)}, [&] {
        report = es.step(x, [](const Tensor& y) { return -square(y); });
    });
    const double peak = peak_memory_mib(), limit = limit_of(c.pop_size);
    JsonLine()
        .add("bench", "memory")
        .add("model", c.model)
        .add("input", c.input)
        .add("arch", "256-1024-1024-1")
        .add("pop", c.pop_size)
        .add("batch", 1)
        .add("rank", 1)
        .add("threads", num_threads())
        .add("generations", c.generations)
        .add(timing)
        .add("start_mb", before)
        .add("peak_mb", peak)
        .add("limit_mb", limit)
        .add("within", peak <= limit)
        .add("checksum", static_cast<double>(report.mean))
        .print();
    if (peak > limit) {
        fail("peak memory " + std::to_string(peak) + " MiB is above " + std::to_string(limit));
    }
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app("Peak resident memory of a generation of the MLP 256-1024-1024-1.",
                 "bench_memory");
    std::vector<std::string> models = {"sequential", "own"}, inputs = {"shared", "own"};
    std::vector<int64_t> pops = {65536, 1000000};
    int64_t generations = 1;
    int threads = 0;
    app.option_defaults()->always_capture_default();
    add_list(app, "--model", models, "Sequential, or one with a layer of a user's own")
        ->check(CLI::IsMember({"sequential", "own"}));
    add_list(app, "--input", inputs,
             "one for all members, or each its own (left out where the rows alone take more than "
             "half the limit)")
        ->check(CLI::IsMember({"shared", "own"}));
    add_populations(app, pops, "population");
    app.add_option("--generations", generations, "how many")->check(CLI::Range(1, 1000));
    app.add_option("--threads", threads, "0: the library's default")->check(CLI::Range(0, 1024));
    return run_main(app, argc, argv, [&] {
        bool well = true;
        for (const int64_t pop : pops) {
            for (const std::string& model : models) {
                for (const std::string& input : inputs) {
                    const double rows_mib = static_cast<double>(pop * kInputs) * 4 / (1 << 20);
                    if (input == "own" && rows_mib > limit_of(pop) / 2) continue;
                    const Case c{model, input, pop, generations, threads};
                    well &= run_isolated(model + " " + std::to_string(pop), [&] { run(c); });
                }
            }
        }
        return well;
    });
}
