// SPDX-License-Identifier: MIT
// The public face of the strategy: Eggroll's three ways in.
#include "core/strategy.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace eggroll {

namespace {

/// A finite double stays finite: a fitness beyond the range of float is as good as its largest.
float to_float(double value) {
    constexpr double kLargest = std::numeric_limits<float>::max();
    return static_cast<float>(std::isfinite(value) ? std::clamp(value, -kLargest, kLargest)
                                                   : value);
}

Tensor from_values(std::span<const float> values) {
    return Tensor::from({static_cast<int64_t>(values.size())}, values);
}

Tensor from_values(std::span<const double> values) {
    std::vector<float> floats(values.size());
    std::transform(values.begin(), values.end(), floats.begin(), to_float);
    return from_values(floats);
}

}  // namespace

Eggroll::Eggroll(nn::Module& model, Options options)
    : strategy_(std::make_unique<detail::Strategy>(model, std::move(options))) {}
Eggroll::Eggroll(nn::Module& model) : Eggroll(model, Options{}) {}
Eggroll::~Eggroll() = default;
Eggroll::Eggroll(Eggroll&&) noexcept = default;
Eggroll& Eggroll::operator=(Eggroll&&) noexcept = default;

detail::Strategy& Eggroll::strategy() const {
    if (!strategy_) throw Error("[Eggroll] this strategy was moved from");
    return *strategy_;
}

Report Eggroll::step(const Tensor& x, const Objective& objective) {
    const auto open = strategy().begin_step();
    const detail::StepGuard guard(*strategy_);
    return strategy_->tell(strategy_->fitness(*open, x, objective));
}

Report Eggroll::step_batched(const Tensor& x, const BatchedFitness& fitness) {
    const auto open = strategy().begin_step();
    const detail::StepGuard guard(*strategy_);
    return strategy_->tell(fitness(strategy_->forward(*open, x)));
}

Report Eggroll::step_members(const std::function<double(const Member&)>& fitness) {
    const auto open = strategy().begin_step();
    const detail::StepGuard guard(*strategy_);
    const int64_t times = options().evaluations, count = options().pop_size * times;
    std::vector<float> values(static_cast<size_t>(count));
    const auto evaluate = [&](int64_t i) {
        values[static_cast<size_t>(i)] = to_float(fitness(Member(open, i / times, i % times)));
    };
    if (options().parallel_fitness) {
        detail::cpu_backend().run_chunks(
            count,
            [](void* context, int64_t i) {
                (*static_cast<std::remove_reference_t<decltype(evaluate)>*>(context))(i);
            },
            const_cast<void*>(static_cast<const void*>(&evaluate)));
    } else {
        for (int64_t i = 0; i < count; ++i) evaluate(i);
    }
    return strategy_->tell(from_values(values));
}

Tensor Eggroll::to_fitness(const std::vector<float>& values) {
    return from_values(std::span<const float>(values));
}
Tensor Eggroll::to_fitness(const std::vector<double>& values) {
    return from_values(std::span<const double>(values));
}

// --- Without waiting ----------------------------------------------------------------------------

void Eggroll::enqueue(const Tensor& x, const Objective& objective) {
    const auto open = strategy().begin_step();
    const detail::StepGuard guard(*strategy_);
    strategy_->enqueue_tell(strategy_->fitness(*open, x, objective));
}

void Eggroll::enqueue_tell(const Tensor& fitness) {
    strategy().require_no_step();
    strategy_->enqueue_tell(fitness);
}

Report Eggroll::wait() {
    return strategy().wait();
}

CapturedStep Eggroll::capture(const Tensor& x, const Objective& objective) {
    return CapturedStep(strategy().capture(x, objective));
}

// --- Asking and telling -------------------------------------------------------------------------

Population Eggroll::ask() {
    return Population(strategy().ask());
}

Report Eggroll::tell(std::span<const float> fitness) {
    return tell(from_values(fitness));
}

Report Eggroll::tell(std::span<const double> fitness) {
    return tell(from_values(fitness));
}

Report Eggroll::tell(const Tensor& fitness) {
    strategy().require_no_step();
    return strategy_->tell(fitness);
}

Report Eggroll::tell(std::initializer_list<float> fitness) {
    return tell(std::span<const float>(fitness.begin(), fitness.size()));
}

const Options& Eggroll::options() const {
    return strategy().options;
}
int64_t Eggroll::generation() const {
    return strategy().completed;
}

float Eggroll::lr() const {
    return strategy().scheduled("lr", strategy_->lr, options().lr_schedule, true);
}

float Eggroll::sigma() const {
    return strategy().scheduled("sigma", strategy_->sigma, options().sigma_schedule, false);
}

void Eggroll::set_lr(float lr) {
    strategy().set_lr(lr);
}
void Eggroll::set_sigma(float sigma) {
    strategy().set_sigma(sigma);
}

}  // namespace eggroll
