// SPDX-License-Identifier: MIT
#pragma once

#include <eggroll/module.h>
#include <eggroll/noise_law.h>
#include <eggroll/objective.h>
#include <eggroll/optimizer.h>
#include <eggroll/precision.h>
#include <eggroll/schedule.h>
#include <eggroll/shaping.h>

#include <concepts>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

namespace eggroll {

namespace detail {
class Strategy;
struct Capture;
struct CheckpointAccess;
struct Generation;
}  // namespace detail

/// Everything a strategy can be told; running never writes into it.
struct Options {
    int64_t pop_size = 32;          // P members a generation; even when antithetic, at least 2
    float sigma = 0.02f;            // σ, scale of the perturbation, > 0
    float lr = 0.05f;               // step along the ascent direction g (not divided by σ), >= 0
    int rank = 4;                   // R; a matrix (O,I) uses r = min(R, O, I)
    uint64_t seed = 0;              // names all noise of the run; 0 is a seed like any other
    bool antithetic = true;         // members 2j and 2j+1 are + and − of the same noise
    bool normalize_fitness = true;  // (f − mean)/std if std > 1e-8; else f − mean
    /// Which parameters are trained, by name and value; empty: all. Freezing one changes nobody
    /// else's noise.
    std::function<bool(const std::string&, const Tensor&)> param_filter = {};

    std::shared_ptr<const Optimizer> optimizer = {};  // empty: optim::sgd()
    Schedule lr_schedule = {};                        // factors for lr and sigma by generation
    Schedule sigma_schedule = {};
    /// step(fitness_of_one) may call the fitness from several threads at once.
    bool parallel_fitness = false;
    /// Memory for noise that is kept through a generation instead of drawn again for its update and
    /// for every further pass, of weights and biases used by `linear`; 0: none. The bits are the
    /// same. A Population or Member that is held on to holds that of its generation.
    int64_t factor_cache_bytes = int64_t{8} << 20;
    /// Of the members' products with weights; a model called by itself computes in float32.
    Precision precision = Precision::f32;

    NoiseLaw noise = {};  // of matrices; noise::low_rank()
    /// Generations in a row that see the same noise, >= 1; 0: all of them.
    int64_t noise_reuse = 1;
    /// Matrices only: vectors are neither perturbed nor changed, whatever the rules say.
    bool freeze_vectors = false;
    /// For parameters by name; of several rules that match, the later wins. param_filter has the
    /// last word. A rule that matches no parameter is refused, and one with a rank or noise that
    /// matches no matrix.
    std::vector<ParameterRule> rules = {};

    /// From fitness to weights; empty: z_score, or centre without normalize_fitness, which no other
    /// shaping may be given with.
    Shaping shaping = {};
    NonFinite non_finite = NonFinite::worst;
    /// Fitnesses told for each member, >= 1: fitness (P,k), member by member, whose mean is the
    /// member's. An evaluation without result is left out of it; one that is not finite makes the
    /// member so.
    int64_t evaluations = 1;
    /// Largest norm of g, that of all parameters as one vector, in front of the optimizer: longer
    /// ones are scaled down to it. 0: none.
    float clip_norm = 0.0f;
};

/// What a generation was like, in terms of the raw fitness; non-finite members are left out.
struct Report {
    int64_t generation = 0;                        // the one that was completed
    float mean = 0, best = 0, worst = 0, std = 0;  // unbiased std; NaN when no member is finite
    int64_t best_member = -1;                      // -1 when no member is finite
    /// Members whose fitness was NaN or infinite. If no member counts there was no update: none is
    /// finite, or all are dropped (Options::non_finite).
    int64_t non_finite = 0;
    double seconds = 0;     // wall time since the generation was asked for
    int64_t no_result = 0;  // members told as no_result(), which are not among the non_finite
    /// What went wrong beside the generation itself, such as a checkpoint that could not be
    /// written; empty when nothing did.
    std::string trouble = {};
};

/// One member of an open generation: a model that can be called.
class EGGROLL_API Member {
public:
    /// The member's output for an input of its own: x (B,I) -> (B,O).
    Tensor operator()(const Tensor& x) const;
    /// Of a System's part: x (B,I) -> (B,O).
    Tensor call(const std::string& part, const Tensor& x) const;
    /// A parameter as this member has it, W + s σ/√r A Bᵀ or b + s σ ε, within its bounds; its own
    /// tensor where the member has no perturbation of it. Throws Error naming the nearest names
    /// when there is none of this name.
    Tensor value(const std::string& name) const;
    /// A value of one element.
    float number(const std::string& name) const;
    int64_t index() const { return index_; }
    int64_t generation() const;
    /// Which of the member's evaluations this is in step(fitness_of_one), 0..evaluations−1: a
    /// number to draw an episode by. 0 elsewhere.
    int64_t evaluation() const { return evaluation_; }
    /// Writes the member's weights, W + s σ/√r A Bᵀ and b + s σ ε, into another model of the same
    /// shape; the model that is trained is refused.
    void copy_to(nn::Module& model) const;

private:
    friend class Population;
    friend class Eggroll;
    Member(std::shared_ptr<const detail::Generation> generation, int64_t index,
           int64_t evaluation = 0)
        : generation_(std::move(generation)), index_(index), evaluation_(evaluation) {}

    std::shared_ptr<const detail::Generation> generation_;
    int64_t index_, evaluation_;
};

/// The members of an open generation. Throws Error once the generation has been told.
class EGGROLL_API Population {
public:
    int64_t size() const;
    int64_t generation() const;
    /// All members at once: a shared x (B,I), or per_member(x) (P,B,I), to y (P,B,O) per-member.
    /// The strategy keeps the memory of the last y for the next one.
    Tensor forward(const Tensor& x) const;
    /// The same of a System's part.
    Tensor call(const std::string& part, const Tensor& x) const;
    /// A parameter (...) as all members have it, within its bounds: (P,...) per-member, to go on
    /// with by matmul and arithmetic. P times its size: for small parameters.
    Tensor value(const std::string& name) const;
    /// Their fitness under an objective, without storing their outputs.
    std::vector<float> evaluate(const Tensor& x, const Objective& objective) const;
    Member member(int64_t index) const;

private:
    friend class Eggroll;
    explicit Population(std::shared_ptr<const detail::Generation> generation)
        : generation_(std::move(generation)) {}

    std::shared_ptr<const detail::Generation> generation_;
};

/// A step of a strategy, recorded by `Eggroll::capture`; gives the bits of the step itself. Copies
/// share the recording. Throws Error once the strategy is gone, or when the parameters have moved
/// to another device or other memory since.
class EGGROLL_API CapturedStep {
public:
    Report step();
    /// Without waiting; see Eggroll::enqueue.
    void enqueue();

private:
    friend class Eggroll;
    explicit CapturedStep(std::shared_ptr<detail::Capture> capture)
        : capture_(std::move(capture)) {}

    std::shared_ptr<detail::Capture> capture_;
};

/// Trains the parameters of a model by EGGROLL evolution strategies (arXiv 2511.16652).
///
/// Three ways in, one engine: `step(x, fitness)` for all members at once, `step(fitness_of_one)`
/// for black boxes, `ask`/`tell` when the caller owns the loop. The model must outlive the strategy
/// and keep its place. An exception of a callback passes through and leaves everything as it was.
class EGGROLL_API Eggroll {
public:
    using Options = eggroll::Options;

    /// Throws Error naming the option and its value, or when no parameter is selected.
    Eggroll(nn::Module& model, Options options);
    explicit Eggroll(nn::Module& model);
    Eggroll(nn::Module&& model, Options options) = delete;
    explicit Eggroll(nn::Module&& model) = delete;
    ~Eggroll();
    Eggroll(Eggroll&&) noexcept;
    Eggroll& operator=(Eggroll&&) noexcept;

    /// One generation. `fitness` sees the outputs of all members, y (P,B,O), and returns one value
    /// a member (higher is better), or Options::evaluations of them: a Tensor (P) or (P,k),
    /// vector<float> or vector<double>.
    template <class Fitness>
    requires(!std::same_as<std::remove_cvref_t<Fitness>, Objective> &&
             std::invocable<Fitness&, const Tensor&>) Report
        step(const Tensor& x, Fitness&& fitness) {
        return step_batched(x, [&](const Tensor& y) { return to_fitness(fitness(y)); });
    }
    /// One generation with a fitness computed inside the chunks; y is never stored.
    Report step(const Tensor& x, const Objective& objective);
    /// One generation in which `fitness` sees one member at a time and returns float or double; it
    /// is called Options::evaluations times for each.
    template <class FitnessOfOne>
    requires std::invocable<FitnessOfOne&, const Member&> Report step(FitnessOfOne&& fitness) {
        using Value = std::invoke_result_t<FitnessOfOne&, const Member&>;
        static_assert(std::is_arithmetic_v<std::remove_cvref_t<Value>>,
                      "the fitness of one member is a number");
        return step_members(
            [&](const Member& member) { return static_cast<double>(fitness(member)); });
    }

    /// Opens a generation; asking again gives the same one until it is told.
    Population ask();
    /// Closes the generation with one fitness a member, or Options::evaluations (P,k), and updates
    /// the parameters. Fitness is kept in float32: differences beyond its 24 bits are lost. When it
    /// throws, the generation stays open and nothing has changed.
    Report tell(std::span<const float> fitness);
    Report tell(std::span<const double> fitness);
    Report tell(const Tensor& fitness);
    Report tell(std::initializer_list<float> fitness);

    /// As `step`, but without waiting for the device: nothing is read back until `wait`. Should a
    /// generation fail, those enqueued after it change nothing. An optimizer that is not
    /// `on_device()`, a shaping of one's own and NonFinite::error wait all the same.
    void enqueue(const Tensor& x, const Objective& objective);
    /// As `tell`, but without waiting.
    void enqueue_tell(const Tensor& fitness);
    /// Waits for all that was enqueued and returns the report of the last generation completed.
    /// Throws Error if one of them failed, and takes the strategy back to that one.
    Report wait();
    /// Records `step(x, objective)` to be replayed: on a GPU as a graph. Values written into x, the
    /// objective's target or the parameters in place are seen by the next replay; lr, sigma, seed
    /// and generation are those of the strategy then. Other tensors of the device that the model or
    /// the objective read must stay where they are, and no other thread may use the device
    /// meanwhile. Throws Error when model, objective, optimizer, shaping or NonFinite::error
    /// need the host, or while a generation is open.
    CapturedStep capture(const Tensor& x, const Objective& objective);

    /// As given; lr and sigma set later do not show here.
    const Options& options() const;
    /// Generations completed so far.
    int64_t generation() const;
    /// What the next generation will use: the value set, times its schedule.
    float lr() const;
    float sigma() const;
    /// Replace the base value the schedule multiplies; not while a generation is open.
    void set_lr(float lr);
    void set_sigma(float sigma);

private:
    friend struct detail::CheckpointAccess;
    using BatchedFitness = std::function<Tensor(const Tensor&)>;

    detail::Strategy& strategy() const;  // throws Error when moved from
    Report step_batched(const Tensor& x, const BatchedFitness& fitness);
    Report step_members(const std::function<double(const Member&)>& fitness);
    static Tensor to_fitness(const Tensor& values) { return values; }
    static Tensor to_fitness(const std::vector<float>& values);
    static Tensor to_fitness(const std::vector<double>& values);

    std::unique_ptr<detail::Strategy> strategy_;
};

}  // namespace eggroll
