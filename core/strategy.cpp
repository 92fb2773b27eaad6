// SPDX-License-Identifier: MIT
// The algorithm, from top to bottom: ask opens a generation, the caller (or step) evaluates its
// members, tell shapes their fitness, forms the ascent direction and hands it to the optimizer.
#include "core/strategy.h"

#include "core/fitness.h"
#include "core/noise_law.h"
#include "core/selection.h"
#include "core/shaping.h"
#include "core/text.h"

#include <algorithm>
#include <cmath>

namespace eggroll {

namespace detail {

namespace {

Report report_of(const FitnessStats& stats, int64_t generation, double seconds) {
    return {.generation = generation,
            .mean = static_cast<float>(stats.mean),
            .best = static_cast<float>(stats.best),
            .worst = static_cast<float>(stats.worst),
            .std = static_cast<float>(stats.std),
            .best_member = stats.best_member,
            .non_finite = stats.non_finite,
            .seconds = seconds,
            .no_result = stats.no_result};
}

}  // namespace

// --- Making a strategy --------------------------------------------------------------------------

Strategy::Strategy(nn::Module& trained, Options given)
    : model(trained),
      options(std::move(given)),
      shaping(ShapingAccess::chosen(options)),
      lr(options.lr),
      sigma(options.sigma),
      optimizer_(options.optimizer ? options.optimizer : optim::sgd()) {
    check_options(options);
    table = select_parameters(model, options);
    precision_ = precision_for(options, table);
    for (const TableEntry& entry : table.entries()) by_name.add(entry.parameter);
    for (const TableEntry& entry : table.entries()) {
        Tensor value = entry.parameter.value;
        TensorAccess::storage(value)->written = true;  // trained weights are not drawn anew
        state_.emplace_back();
        for (int i = 0; entry.perturbed && i < optimizer_->state_count(); ++i) {
            state_.back().push_back(Tensor::zeros(value.shape(), value.device()));
        }
    }
}

Strategy::~Strategy() {
    abandon();
    for (const std::weak_ptr<Capture>& weak : captures_) {
        if (const std::shared_ptr<Capture> capture = weak.lock()) capture->strategy = nullptr;
    }
}

void Strategy::set_lr(float value) {
    require_closed("set_lr");
    check_lr(value);
    lr = value;
}

void Strategy::set_sigma(float value) {
    require_closed("set_sigma");
    check_sigma(value);
    sigma = value;
}

void Strategy::require_closed(const char* caller) const {
    if (open_) {
        throw Error(std::string("[") + caller + "] generation " + std::to_string(completed) +
                    " is open: tell it first");
    }
}

Device Strategy::device() const {
    const Parameter& first = table.entries().front().parameter;
    for (const TableEntry& entry : table.entries()) {
        const Parameter& other = entry.parameter;
        if (other.value.device() != first.value.device()) {
            throw Error("[Eggroll] parameter \"" + first.name + "\" is on " +
                        first.value.device().name() + " but \"" + other.name + "\" on " +
                        other.value.device().name());
        }
    }
    return first.value.device();
}

// --- Asking -------------------------------------------------------------------------------------

float Strategy::scheduled(const char* name, float base, const Schedule& schedule,
                          bool zero_allowed) const {
    const auto value = static_cast<float>(static_cast<double>(base) * schedule(completed));
    if (!std::isfinite(value) || value < 0.0f || (value == 0.0f && !zero_allowed)) {
        throw Error(std::string("[") + name + "] schedule \"" + schedule.name() + "\" gives " +
                    number(value) + " in generation " + std::to_string(completed));
    }
    return value;
}

Members Strategy::members(const GenerationBlock* block) const {
    return {.block = block,
            .first = 0,
            .count = options.pop_size,
            .antithetic = options.antithetic,
            .centre_first = NoiseLawAccess::is_baseline(options.noise)};
}

std::shared_ptr<Generation> Strategy::make_generation() {
    const Device where = device();
    if (run_.size() == 0 || run_.device() != where) {
        if (!known_) learn();
        run_ = TensorAccess::make({sizeof(RunState) / 4}, where, Dtype::i32);
        static_assert(sizeof(RunState) % 4 == 0);
    }
    // The model may have moved since the last generation.
    for (std::vector<Tensor>& states : state_) {
        for (Tensor& state : states) state = state.to(where);
    }
    auto fresh = std::make_shared<Generation>(*this);
    fresh->run = run_;
    fresh->noise =
        NoiseCache(table, options.antithetic ? options.pop_size / 2 : options.pop_size,
                   backend_of(where).keeps_noise ? options.factor_cache_bytes : 0, where, *kept_);
    return fresh;
}

GenerationBlock Strategy::next_block() const {
    return {.seed = options.seed,
            .generation = static_cast<uint32_t>(completed),
            .sigma = scheduled("sigma", sigma, options.sigma_schedule, false),
            .lr = scheduled("lr", lr, options.lr_schedule, true),
            .noise_generation = static_cast<uint32_t>(
                options.noise_reuse == 0 ? 0 : completed / options.noise_reuse),
            .updates = updates_};
}

std::shared_ptr<Generation> Strategy::ask() {
    if (open_) return open_;
    if (completed >= static_cast<int64_t>(kInitGeneration)) {
        throw Error("[ask] generation " + std::to_string(completed) +
                    " is past the last one that has noise of its own");
    }
    const std::shared_ptr<Generation> fresh = make_generation();
    fresh->block = next_block();
    TensorAccess::backend(run_).begin(fresh->backend_run(), fresh->block, known_);
    return open_ = fresh;
}

std::shared_ptr<Generation> Strategy::begin_step() {
    require_closed("step");
    auto fresh = ask();
    stepping_ = true;
    return fresh;
}

void Strategy::abandon() noexcept {
    if (open_) open_->open = false;
    open_.reset();
    stepping_ = false;
}

void Strategy::require_no_step() const {
    if (stepping_) {
        throw Error("[tell] generation " + std::to_string(completed) +
                    " belongs to a step, which tells it itself");
    }
}

// --- Telling ------------------------------------------------------------------------------------

std::shared_ptr<Generation> Strategy::require_told(const Tensor& fitness) const {
    if (!open_) throw Error("[tell] no generation is open: ask first");
    if (telling_) throw Error("[tell] not from an optimizer that is being told");
    if (fitness.size() != options.pop_size * options.evaluations) {
        throw Error("[tell] " + std::to_string(fitness.size()) + " fitnesses for a population of " +
                    std::to_string(options.pop_size) +
                    (options.evaluations == 1
                         ? ""
                         : " evaluated " + std::to_string(options.evaluations) + " times each"));
    }
    if (fitness.shape().size() > 1 && fitness.shape()[0] != options.pop_size) {
        throw Error("[tell] the fitness " + to_string(fitness.shape()) +
                    " must have one row a member but the population has " +
                    std::to_string(options.pop_size) + " members");
    }
    if (fitness.dtype() != Dtype::f32) {
        throw Error("[tell] the fitness " + to_string(fitness.shape()) + " holds " +
                    name_of(fitness.dtype()) + ", not float32");
    }
    if (const Device where = device(); where != open_->run.device()) {
        throw Error("[tell] generation " + std::to_string(completed) + " was asked for on " +
                    open_->run.device().name() + " but the parameters are on " + where.name() +
                    " now");
    }
    return open_;
}

Report Strategy::tell(const Tensor& fitness) {
    const std::shared_ptr<Generation> open = require_told(fitness);
    if (!known_) wait();  // the statistics are about to be another generation's
    const Telling guard(telling_);
    try {
        submit(*open, fitness);
        learn();
    } catch (...) {
        reopen(*open);
        throw;
    }
    close();
    return wait();
}

void Strategy::enqueue_tell(const Tensor& fitness) {
    const std::shared_ptr<Generation> open = require_told(fitness);
    if (!known_ && !needs_host().empty()) wait();  // as it will have to
    const Telling guard(telling_);
    try {
        submit(*open, fitness);
    } catch (...) {
        reopen(*open);
        throw;
    }
    known_ = false;
    close();
}

void Strategy::reopen(Generation& open) {
    if (!known_) {
        last_.generation = -1;  // its statistics are overwritten
        try {
            learn();
        } catch (const Error&) {
            // Of an earlier generation, or of this one, which is taken back.
        }
    }
    if (!open_) return;  // an earlier one had failed
    open.block.updates = updates_;
    TensorAccess::backend(run_).begin(open.backend_run(), open.block, known_);
}

void Strategy::close() {
    begun_ = open_->begin;
    last_.generation = completed++;
    last_.seconds = -1.0;  // not waited for yet
    abandon();
}

Report Strategy::wait() {
    if (!known_) learn();
    if (last_.generation < 0) throw Error("[wait] there is no generation to wait for");
    if (last_.seconds < 0.0) {
        const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - begun_;
        last_ = report_of(stats_, last_.generation, spent.count());
    }
    return last_;
}

void Strategy::learn() {
    RunState run;
    TensorAccess::backend(run_).copy_to_host(&run, TensorAccess::raw(run_), sizeof(run));
    known_ = true;
    stats_ = run.stats;
    updates_ = run.block.updates;
    if (run.failure == 0) return;
    completed = run.failed.generation;
    if (open_ && open_->block.generation != run.failed.generation) abandon();
    if (last_.seconds < 0.0) last_.generation = -1;
    fail(run);
}

int64_t Strategy::failure_code(const TableEntry& entry, Failure what) {
    return 4 * static_cast<int64_t>(entry.index) + static_cast<int64_t>(what);
}

void Strategy::fail(const RunState& run) const {
    const std::string& name = table.entries()[static_cast<size_t>(run.failure / 4)].parameter.name;
    const std::string when = "\" not finite in generation " + std::to_string(run.failed.generation);
    const auto what = static_cast<Failure>(run.failure % 4);
    if (what == Failure::direction) {
        throw Error("[tell] the ascent direction of \"" + name + "\" is" + when.substr(1) +
                    ": the fitness is too large; nothing was changed");
    }
    throw Error("[tell] optimizer \"" + optimizer_->name() + "\" makes \"" + name + when + " (lr " +
                number(run.failed.lr) + "); nothing was changed");
}

std::string Strategy::needs_host() const {
    if (!optimizer_->on_device()) {
        return "optimizer \"" + optimizer_->name() + "\" needs the host (Optimizer::on_device)";
    }
    if (ShapingAccess::kind(shaping) == ShapingKind::own) {
        return "shaping \"" + shaping.name() + "\" needs the host, as every one of one's own";
    }
    return options.non_finite == NonFinite::error ? "non_finite = error needs the host" : "";
}

void Strategy::require_finite(const Tensor& fitness) const {
    if (options.non_finite != NonFinite::error) return;
    const Tensor here = fitness.to(Device::cpu());
    for (int64_t i = 0; i < here.size(); ++i) {
        const float f = TensorAccess::floats(here)[i];
        if (is_finite_fitness(f) || is_no_result_bits(f)) continue;
        throw Error("[tell] the fitness of member " + std::to_string(i / options.evaluations) +
                    " is " + number(f) + "; nothing was changed");
    }
}

Tensor Strategy::shape(RunState* run, const Tensor& fitness) const {
    require_finite(fitness);
    const ShapingKind kind = ShapingAccess::kind(shaping);
    const Device where = kind == ShapingKind::own ? Device::cpu() : run_.device();
    const Backend& backend = backend_of(where);
    Tensor of_members = fitness.to(where);
    if (options.evaluations > 1) {
        Tensor mean = TensorAccess::make({options.pop_size}, where);
        backend.mean_evaluations(TensorAccess::floats(of_members), TensorAccess::floats(mean),
                                 options.pop_size, options.evaluations);
        of_members = mean;
    }
    if (kind == ShapingKind::own) return shape_on_host(run, of_members);
    Tensor weights =
        TensorAccess::make({options.antithetic ? options.pop_size / 2 : options.pop_size}, where);
    ShapingArgs args = ShapingAccess::args(shaping, options);
    args.fitness = TensorAccess::floats(std::as_const(of_members));
    args.weights = TensorAccess::floats(weights);
    args.stats = &run->stats;
    backend.shape_fitness(args);
    return weights;
}

void Strategy::clip(std::vector<Tensor>& directions) const {
    if (options.clip_norm == 0.0f) return;
    const Backend& backend = TensorAccess::backend(run_);
    Tensor memory = TensorAccess::make({2}, run_.device());
    auto* squares = static_cast<double*>(TensorAccess::raw(memory));
    backend.fill(TensorAccess::floats(memory), 0.0f, 2);
    for (const Tensor& g : directions) {
        if (g.size() > 0) backend.add_squares(TensorAccess::floats(g), g.size(), squares);
    }
    for (Tensor& g : directions) {
        if (g.size() > 0) {
            backend.clip(squares, options.clip_norm, TensorAccess::floats(g), g.size());
        }
    }
}

void Strategy::submit(const Generation& open, const Tensor& fitness) {
    RunState* run = open.backend_run();
    const Backend& backend = TensorAccess::backend(run_);
    const Tensor weights = shape(run, fitness);
    std::vector<Tensor> directions = ascent_direction(open, weights);
    clip(directions);
    GenerationBlock block = open.block;
    if (!optimizer_->on_device()) {
        learn();
        if (stats_.used == 0) return;
        block.updates = updates_;
    }
    const UpdateStep step(block, run->block);
    std::vector<Change> changes(directions.size());
    for (size_t i = 0; i < directions.size(); ++i) {
        const TableEntry& entry = table.entries()[i];
        if (!entry.perturbed) continue;
        Change& change = changes[i];
        change.value = entry.parameter.value.clone();
        for (const Tensor& state : state_[i]) change.state.push_back(state.clone());
        optimizer_->apply(change.value, directions[i], change.state, step);
        require_kept(entry, change);
        const auto check = [&](const Tensor& x) {
            backend.check_finite(run, failure_code(entry, Failure::optimizer),
                                 TensorAccess::floats(x), x.size());
        };
        check(change.value);
        std::for_each(change.state.begin(), change.state.end(), check);
    }
    const auto commit = [&](Tensor to, const Tensor& from) {
        backend.commit(run, TensorAccess::raw(to), TensorAccess::raw(from), to.size());
    };
    for (size_t i = 0; i < changes.size(); ++i) {
        if (!table.entries()[i].perturbed) continue;
        commit(table.entries()[i].parameter.value, changes[i].value);
        for (size_t s = 0; s < state_[i].size(); ++s) commit(state_[i][s], changes[i].state[s]);
    }
    backend.finish(run);
}

std::vector<Tensor> Strategy::ascent_direction(const Generation& open,
                                               const Tensor& weights) const {
    std::vector<Tensor> directions;
    for (const TableEntry& entry : table.entries()) {
        directions.emplace_back();
        if (!entry.perturbed) continue;
        const Tensor& value = entry.parameter.value;
        const bool matrix = entry.parameter.noise.is_matrix();
        Tensor g = TensorAccess::make(value.shape(), value.device());
        const Backend& backend = TensorAccess::backend(g);
        backend.update({.block = open.backend_block(),
                        .weights = TensorAccess::floats(weights),
                        .streams = weights.size(),
                        .pop_size = options.pop_size,
                        .parameter = entry.index,
                        .rank = entry.rank,
                        .rows = matrix ? entry.parameter.noise.rows : 1,
                        .cols = matrix ? entry.parameter.noise.cols : value.size(),
                        .g = TensorAccess::floats(g),
                        .kept = open.noise.of(entry),
                        .law = entry.law,
                        .sigma_scale = entry.sigma_scale});
        backend.check_finite(open.backend_run(), failure_code(entry, Failure::direction),
                             TensorAccess::floats(g), g.size());
        directions.back() = std::move(g);
    }
    return directions;
}

/// An optimizer may give its tensors other storage, but not another shape, type or place.
void Strategy::require_kept(const TableEntry& entry, const Change& change) const {
    const Tensor& value = entry.parameter.value;
    const auto kept = [&](const Tensor& x) {
        return TensorAccess::storage(x) != nullptr && x.shape() == value.shape() &&
               x.dtype() == value.dtype() && x.device() == value.device();
    };
    if (!kept(change.value) || static_cast<int>(change.state.size()) != optimizer_->state_count() ||
        !std::all_of(change.state.begin(), change.state.end(), kept)) {
        throw Error("[tell] optimizer \"" + optimizer_->name() + "\" returned a tensor for \"" +
                    entry.parameter.name + "\" of another shape, type or device than " +
                    to_string(value.shape()) + "; nothing was changed");
    }
}

}  // namespace detail

}  // namespace eggroll
