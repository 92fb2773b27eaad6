// SPDX-License-Identifier: MIT
#pragma once

#include "core/named_tensors.h"
#include "core/named_values.h"
#include "core/noise_cache.h"

#include <eggroll/strategy.h>

#include <atomic>
#include <chrono>

namespace eggroll::detail {

/// One ask/evaluate/tell cycle, shared by the strategy and the handles it gave out.
struct Generation {
    explicit Generation(Strategy& of) : strategy(of) {}

    Strategy& strategy;
    GenerationBlock block;  // as the host sees it
    Tensor run;             // the RunState in the backend's memory
    NoiseCache noise;
    std::chrono::steady_clock::time_point begin = std::chrono::steady_clock::now();
    std::atomic<bool> open{true};

    // In the backend's memory.
    RunState* backend_run() const;
    const GenerationBlock* backend_block() const { return &backend_run()->block; }
    /// Throws Error when the generation has been told or abandoned.
    const Strategy& opened(const char* caller) const;
};

/// How far a run is, beside its tensors.
struct Milestone {
    int64_t generation = 0, updates = 0;  // completed
    float lr = 0, sigma = 0;              // base values
};

/// A step that was recorded, to be replayed; see core/capture.cpp.
struct Capture {
    Capture(Strategy& of, const Tensor& input, Objective fitness)
        : strategy(&of), x(input), objective(std::move(fitness)) {}
    ~Capture();
    Capture(const Capture&) = delete;
    Capture& operator=(const Capture&) = delete;

    Strategy* strategy;  // null once it is gone
    Tensor x;
    Objective objective;
    KeptMemory kept;  // of the recording
    const Backend* backend = nullptr;
    Recording* recording = nullptr;   // null: the backend has none, and steps as ever
    std::vector<const void*> places;  // of what the recording reads and writes
};

/// What Eggroll is inside; core/strategy.cpp read from top to bottom is the algorithm.
class Strategy {
public:
    Strategy(nn::Module& model, Options options);
    ~Strategy();

    // Evaluation (population.cpp).
    /// The outputs of all members chunk by chunk, in any order and from several threads:
    /// consume(first member, y (V,...) per-member).
    using Consume = std::function<void(int64_t, const Tensor&)>;
    void evaluate(const Generation& generation, const nn::Module& called, const Tensor& x,
                  const Consume& consume) const;
    Tensor forward(const Generation& generation, const Tensor& x,
                   const nn::Module* part = nullptr) const;  // null: the model
    /// Fitness (P) of all members, where the parameters are.
    Tensor fitness(const Generation& generation, const Tensor& x, const Objective& objective) const;
    Tensor forward_member(const Generation& generation, const Tensor& x, int64_t member,
                          const nn::Module* part = nullptr) const;
    /// A part of the model, which must be a System.
    const nn::Module& part(const char* caller, const std::string& name) const;
    void copy_member(const Generation& generation, int64_t member, nn::Module& model) const;

    // The cycle (strategy.cpp).
    std::shared_ptr<Generation> ask();
    /// As ask, for a step: throws while a generation is open, and nobody else may tell this one.
    std::shared_ptr<Generation> begin_step();
    void require_no_step() const;
    /// Closes the open generation with one fitness a member, from any device, and waits for what
    /// the backend makes of it.
    Report tell(const Tensor& fitness);
    /// The same without waiting, unless the optimizer needs the host.
    void enqueue_tell(const Tensor& fitness);
    /// How the last closed generation went; throws Error if it, or one before it, failed.
    Report wait();
    void abandon() noexcept;

    // Steps that are replayed (capture.cpp).
    std::shared_ptr<Capture> capture(const Tensor& x, const Objective& objective);
    /// Replays the step without waiting.
    void enqueue(Capture& capture);

    // Checkpoints (checkpoint_file.cpp).
    /// Waits for what was enqueued, so that the host knows how it ended.
    void catch_up();
    /// The same; throws Error while a generation is open.
    void settle(const char* caller);
    Milestone milestone() const;
    /// All tensors that a run is: parameters, and the optimizer's state.
    std::vector<NamedTensor> tensors() const;
    void go_on_from(const Milestone& milestone) noexcept;
    /// Where the parameters are; throws Error unless all are in one place.
    Device device() const;
    const Optimizer& optimizer() const { return *optimizer_; }

    void set_lr(float value);
    void set_sigma(float value);
    float scheduled(const char* name, float base, const Schedule& schedule,
                    bool zero_allowed) const;

    nn::Module& model;
    const Options options;
    const Shaping shaping;  // the one chosen, or the default
    float lr, sigma;        // base values, times their schedules
    int64_t completed = 0;  // generations
    /// Tells this strategy from every other, also once it is gone.
    const std::shared_ptr<const void> identity = std::make_shared<char>();
    ParameterTable table;
    NamedValues by_name;

private:
    /// Marks that a tell is under way.
    class Telling {
    public:
        explicit Telling(bool& flag) : flag_(flag) { flag_ = true; }
        ~Telling() { flag_ = false; }
        Telling(const Telling&) = delete;
        Telling& operator=(const Telling&) = delete;

    private:
        bool& flag_;
    };

    /// Memory goes to another than `own_` to the end of the scope.
    class Keeping {
    public:
        Keeping(Strategy& strategy, KeptMemory& kept) : strategy_(strategy) {
            strategy_.kept_ = &kept;
        }
        ~Keeping() { strategy_.kept_ = &strategy_.own_; }
        Keeping(const Keeping&) = delete;
        Keeping& operator=(const Keeping&) = delete;

    private:
        Strategy& strategy_;
    };

    /// The change an update makes to one parameter, before it is carried out.
    struct Change {
        Tensor value;
        std::vector<Tensor> state;
    };

    /// What may turn out not to be finite, as RunState::failure counts it.
    enum class Failure { none, direction, optimizer };
    static int64_t failure_code(const TableEntry& entry, Failure what);
    [[noreturn]] void fail(const RunState& run) const;

    /// The open generation, if it can be told this fitness.
    std::shared_ptr<Generation> require_told(const Tensor& fitness) const;
    std::shared_ptr<Generation> make_generation();
    /// What the next generation is like.
    GenerationBlock next_block() const;
    /// Evaluates once what is about to be recorded: models may make things on the host when they
    /// are first called.
    void warm_up(const Generation& generation, const Capture& capture);
    /// Shaping, ascent direction and optimizer; the parameters change if all of it is finite.
    void submit(const Generation& open, const Tensor& fitness);
    /// What a generation needs the host for, in words for a message; empty: nothing.
    std::string needs_host() const;
    /// Throws Error under NonFinite::error for a fitness (P,k) that is not finite.
    void require_finite(const Tensor& fitness) const;
    /// The weights of the update; its statistics go into the run.
    Tensor shape(RunState* run, const Tensor& fitness) const;
    Tensor shape_on_host(RunState* run, const Tensor& fitness) const;
    /// Options::clip_norm.
    void clip(std::vector<Tensor>& directions) const;
    std::vector<Tensor> ascent_direction(const Generation& open, const Tensor& weights) const;
    void require_kept(const TableEntry& entry, const Change& change) const;
    /// Asks the backend how the last generation ended. If one failed, goes back to it and throws
    /// Error.
    void learn();
    /// After a failure to tell: the generation is as it was asked for.
    void reopen(Generation& open);
    void close();
    std::vector<const void*> places() const;
    void require_closed(const char* caller) const;
    /// The whole population; `block` is in whatever memory its reader can read.
    Members members(const GenerationBlock* block) const;
    /// Largest extent of the activations the parameters suggest.
    int64_t widest() const;

    /// Of the device a generation was asked for on; throws Error unless x is there too.
    const Backend& backend_at(const char* caller, const Generation& generation,
                              const Tensor& x) const;

    KeptMemory own_;  // of outputs and of what chunks share
    KeptMemory* kept_ = &own_;
    Tensor run_;                                   // RunState in the backend's memory
    bool known_ = true;                            // the host knows how the last generation ended
    FitnessStats stats_;                           // of the last one it knows of
    int64_t updates_ = 0;                          // until then
    std::chrono::steady_clock::time_point begun_;  // the last one that was closed
    Report last_{.generation = -1};                // seconds < 0: not waited for yet
    std::vector<std::vector<Tensor>> state_;       // of the optimizer, per parameter
    std::shared_ptr<const Optimizer> optimizer_;
    Precision precision_ = Precision::f32;  // as asked for, or less coarse
    std::shared_ptr<Generation> open_;
    bool stepping_ = false;  // the open generation belongs to a step
    bool telling_ = false;
    std::vector<std::weak_ptr<Capture>> captures_;
};

/// Closes a step's generation when it is left by an exception.
class StepGuard {
public:
    explicit StepGuard(Strategy& strategy) : strategy_(strategy) {}
    ~StepGuard() { strategy_.abandon(); }
    StepGuard(const StepGuard&) = delete;
    StepGuard& operator=(const StepGuard&) = delete;

private:
    Strategy& strategy_;
};

}  // namespace eggroll::detail
