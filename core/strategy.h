// SPDX-License-Identifier: MIT
#pragma once

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
    Tensor block_memory;    // the same in the backend's memory
    NoiseCache noise;
    std::chrono::steady_clock::time_point begin = std::chrono::steady_clock::now();
    std::atomic<bool> open{true};

    /// In the backend's memory.
    const GenerationBlock* backend_block() const;
    /// Throws Error when the generation has been told or abandoned.
    const Strategy& opened(const char* caller) const;
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
    void evaluate(const Generation& generation, const Tensor& x, const Consume& consume) const;
    Tensor forward(const Generation& generation, const Tensor& x) const;
    std::vector<float> fitness(const Generation& generation, const Tensor& x,
                               const Objective& objective) const;
    Tensor forward_member(const Generation& generation, const Tensor& x, int64_t member) const;
    void copy_member(const Generation& generation, int64_t member, nn::Module& model) const;

    // The cycle (strategy.cpp).
    std::shared_ptr<Generation> ask();
    /// As ask, for a step: throws while a generation is open, and nobody else may tell this one.
    std::shared_ptr<Generation> begin_step();
    void require_no_step() const;
    Report tell(std::span<const float> fitness);
    void abandon() noexcept;
    void set_lr(float value);
    void set_sigma(float value);
    float scheduled(const char* name, float base, const Schedule& schedule,
                    bool zero_allowed) const;

    nn::Module& model;
    const Options options;
    float lr, sigma;        // base values, times their schedules
    int64_t completed = 0;  // generations
    ParameterTable table;

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

    /// The change an update makes to one parameter, before it is carried out.
    struct Change {
        Tensor value;
        std::vector<Tensor> state;
    };

    std::vector<Tensor> ascent_direction(const Generation& open, const Tensor& weights) const;
    void require_kept(const TableEntry& entry, const Change& change) const;
    void update(const Generation& open, const Tensor& weights);
    void require_closed(const char* caller) const;
    /// Largest extent of the activations the parameters suggest.
    int64_t widest() const;

    /// Where the parameters are; throws Error unless all are in one place.
    Device device() const;
    /// Of the device a generation was asked for on; throws Error unless x is there too.
    const Backend& backend_at(const char* caller, const Generation& generation,
                              const Tensor& x) const;

    mutable KeptMemory kept_;  // of outputs and of what chunks share
    int64_t updates_ = 0;
    std::vector<std::vector<Tensor>> state_;  // of the optimizer, per parameter
    std::shared_ptr<const Optimizer> optimizer_;
    std::shared_ptr<Generation> open_;
    bool stepping_ = false;  // the open generation belongs to a step
    bool telling_ = false;
};

}  // namespace eggroll::detail
