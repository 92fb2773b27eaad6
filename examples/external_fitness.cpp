// SPDX-License-Identifier: MIT

// A fitness that is computed by other processes: a controller balances a pole on a cart, and every
// candidate is simulated by one of several workers. A worker that is killed halfway loses nothing,
// and the result is that of a single process, bit for bit.

#include "common/json.h"
#include "common/options.h"
#include "common/text.h"
#include "common/worker_pool.h"

#include <eggroll/eggroll.h>

#include <cmath>
#include <filesystem>
#include <iostream>
#include <span>
#include <string>
#include <utility>
#include <vector>

using namespace eggroll;
using examples::fixed;

namespace {

constexpr int kSteps = 200;
constexpr double kStarts[] = {-0.15, -0.05, 0.05, 0.15};  // first angles of the pole

/// What is searched for: push = gains · (place, speed, angle, its speed), within ± limit.
ParameterBundle make_controller() {
    ParameterBundle controller;
    controller.vector("gains", 4);
    controller.scalar("limit", 5.0f, {.min = 1.0f, .max = 10.0f});
    return controller;
}

/// The simulator, which knows nothing of the library: four gains and a limit in, the mean share of
/// the steps that the pole stayed upright and the cart in its place out (Barto, Sutton & Anderson
/// 1983).
double balance(std::span<const float> candidate) {
    double reward = 0;
    for (const double start : kStarts) {
        double x = 0, v = 0, angle = start, spin = 0;
        for (int step = 0; step < kSteps; ++step) {
            const double wanted =
                candidate[0] * x + candidate[1] * v + candidate[2] * angle + candidate[3] * spin;
            const double limit = candidate[4];
            const double force = std::fmax(-limit, std::fmin(limit, wanted));
            const double s = std::sin(angle), c = std::cos(angle);
            const double push = (force + 0.05 * spin * spin * s) / 1.1;
            const double turn = (9.8 * s - c * push) / (0.5 * (4.0 / 3.0 - 0.1 * c * c / 1.1));
            v += 0.02 * (push - 0.05 * turn * c / 1.1);
            spin += 0.02 * turn;
            x += 0.02 * v;
            angle += 0.02 * spin;
            if (std::fabs(x) > 2.4 || std::fabs(angle) > 0.21) break;
            reward += 1.0 - 0.2 * std::fabs(x) / 2.4;
        }
    }
    return reward / (kSteps * std::size(kStarts));
}

/// The numbers a candidate consists of, one parameter after another.
template <class Values>
std::vector<float> numbers_of(const Values& values) {
    std::vector<float> numbers;
    for (const char* name : {"gains", "limit"}) {
        const Tensor value = values.value(name);
        numbers.insert(numbers.end(), value.data().begin(), value.data().end());
    }
    return numbers;
}

struct Flags : examples::CommonFlags {
    int workers = 2;
    double seconds = 0;
    bool in_process = false, kill_one = false, worker = false;
    std::string command;
};

void train_controller(const Flags& flags, const Options& options) {
    ParameterBundle controller = make_controller();
    Eggroll es(controller, options);
    std::unique_ptr<examples::WorkerPool> pool;
    if (!flags.in_process) {
        const std::string self = std::filesystem::read_symlink("/proc/self/exe");
        pool = std::make_unique<examples::WorkerPool>(
            flags.command.empty() ? std::vector<std::string>{self, "--worker"}
                                  : std::vector<std::string>{"/bin/sh", "-c", flags.command},
            flags.workers, flags.seconds);
    }
    const auto generation = [&]() -> Report {
        if (!pool) return es.step([](const Member& m) { return balance(numbers_of(m)); });
        const Population population = es.ask();
        const int64_t half = population.size() / 2;
        bool kill = flags.kill_one && population.generation() == flags.steps / 2;
        return es.tell(pool->evaluate(population.size(), [&](int64_t i) {
            if (i == half && std::exchange(kill, false)) pool->kill_next();
            return numbers_of(population.member(i));
        }));
    };
    train(es, flags.steps, generation, {ProgressBar(std::cout)});
    if (pool) std::cout << "workers lost: " << pool->lost() << std::endl;
    const std::vector<float> found = numbers_of(controller);
    const double upright = balance(found);
    std::cout << "fitness of the controller: " << fixed(upright, 4) << std::endl;
    if (flags.json) {
        examples::print_json({{"example", "external_fitness"},
                              {"fitness", upright},
                              {"controller", found},
                              {"steps", flags.steps},
                              {"seed", options.seed}});
    }
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app("Trains a controller whose fitness is computed by other processes.");
    Flags flags;
    flags.steps = 60;
    Options options{.pop_size = 32, .sigma = 0.5f, .lr = 0.5f};
    examples::add_common_flags(app, flags, options);
    app.add_option("--workers", flags.workers, "processes")->check(CLI::Range(1, 1024));
    app.add_option("--seconds", flags.seconds,
                   "a worker that takes longer for a candidate is killed; 0: none is")
        ->check(CLI::NonNegativeNumber);
    app.add_option("--command", flags.command,
                   "worker to run instead of this program's own, for the shell");
    app.add_flag("--in-process", flags.in_process, "no workers: the same in this process");
    app.add_flag("--kill-one", flags.kill_one, "kill a worker halfway");
    app.add_flag("--worker", flags.worker)->group("");  // what the workers are started with
    return examples::run_main(app, flags, argc, argv, [&] {
        if (flags.worker) return examples::serve(balance);
        train_controller(flags, options);
    });
}
