// SPDX-License-Identifier: MIT
// Evaluating the members of an open generation: all at once in chunks, or one alone.
#include "core/checks.h"
#include "core/perturbation.h"
#include "core/strategy.h"
#include "core/text.h"

#include <eggroll/system.h>

#include <algorithm>
#include <mutex>

namespace eggroll {

namespace detail {

namespace {

/// Runs body(first, count) over the population in the backend's chunks.
template <class F>
void for_chunks(const Backend& backend, int64_t pop_size, int64_t chunk, const F& body) {
    struct Context {
        const F& body;
        int64_t pop_size, chunk;
    } context{body, pop_size, chunk};
    backend.run_chunks((pop_size + chunk - 1) / chunk,
                       [](void* opaque, int64_t index) {
                           const auto& c = *static_cast<const Context*>(opaque);
                           const int64_t first = index * c.chunk;
                           c.body(first, std::min(c.chunk, c.pop_size - first));
                       },
                       &context);
}

/// A model that gives the value of one parameter, whatever it is called with.
class ValueOf : public nn::Module {
public:
    ValueOf(const char* caller, const NamedValues& values, const std::string& name)
        : caller_(caller), values_(values), name_(name) {}

    Tensor forward(const Tensor&, const View& v) const override {
        return values_.value(caller_, name_, v);
    }

private:
    const char* caller_;
    const NamedValues& values_;
    const std::string& name_;
};

/// What a model returned for a range of members, marked even if no perturbed parameter was met.
Tensor as_members(const Tensor& y, int64_t count) {
    if (TensorAccess::storage(y) == nullptr) {
        throw Error("[forward] the model returned a tensor without values");
    }
    if (!y.is_per_member()) return per_member(Tensor::zeros({count}, y.device())) + y;
    if (y.members() != count) {
        throw Error("[forward] the model returned " + to_string(y.shape()) + " for " +
                    std::to_string(count) + " members");
    }
    return y;
}

/// Whether a parameter is a kernel that is unfolded: a matrix of more axes.
bool is_kernel(const Parameter& parameter) {
    return parameter.noise.is_matrix() && parameter.value.shape().size() > 2;
}

/// Extent of one activation row of x: its last axis, or where kernels slide over images (...,C,H,W)
/// the channels of one pixel.
int64_t row_extent(const ParameterTable& table, const Shape& part) {
    const bool images =
        part.size() >= 3 && std::any_of(table.entries().begin(), table.entries().end(),
                                        [](const TableEntry& e) { return is_kernel(e.parameter); });
    if (images) return std::max<int64_t>(part[part.size() - 3], 1);
    return part.empty() ? 1 : std::max<int64_t>(part.back(), 1);
}

}  // namespace

RunState* Generation::backend_run() const {
    return static_cast<RunState*>(const_cast<void*>(TensorAccess::raw(run)));
}

const Strategy& Generation::opened(const char* caller) const {
    if (!open) {
        throw Error(std::string("[") + caller + "] generation " + std::to_string(block.generation) +
                    " is over: ask for a new population");
    }
    return strategy;
}

int64_t Strategy::widest() const {
    int64_t widest = 1;
    for (const TableEntry& entry : table.entries()) {
        const NoiseShape& noise = entry.parameter.noise;
        const Shape& shape = entry.parameter.value.shape();
        if (is_kernel(entry.parameter)) widest = std::max(widest, noise.cols);  // when unfolded
        widest = std::max(widest, noise.is_matrix() ? noise.rows
                                  : shape.empty()   ? 1
                                                    : shape.back());
    }
    return widest;
}

const Backend& Strategy::backend_at(const char* caller, const Generation& generation,
                                    const Tensor& x) const {
    const Device own = generation.run.device();
    if (x.device() != own) {
        throw Error(std::string("[") + caller + "] x " + to_string(x.shape()) + " is on " +
                    x.device().name() + " but the parameters are on " + own.name());
    }
    return backend_of(own);
}

void Strategy::evaluate(const Generation& generation, const nn::Module& called, const Tensor& x,
                        const Consume& consume) const {
    const int64_t pop_size = options.pop_size;
    if (x.is_per_member() && x.members() != pop_size) {
        throw Error("[forward] x " + to_string(x.shape()) +
                    " is per-member with a leading axis of " + std::to_string(x.members()) +
                    " but the population has " + std::to_string(pop_size) + " members");
    }
    const Backend& backend = backend_at("forward", generation, x);
    const Shape part = x.part_shape();
    const int64_t columns = row_extent(table, part);
    const int64_t chunk =
        backend.plan_chunk({.pop_size = pop_size,
                            .rows = element_count(part) / columns,
                            .widest = x.is_per_member() ? std::max(widest(), columns) : widest()});
    Scope scope(table, members(generation.backend_block()));
    scope.input = x;
    scope.kept = kept_;
    scope.noise = &generation.noise;
    scope.precision = precision_;
    for_chunks(backend, pop_size, chunk, [&](int64_t first, int64_t count) {
        const Tensor own = x.is_per_member() ? TensorAccess::member_range(x, first, count) : x;
        const View view = ViewAccess::make(scope, first, count);
        consume(first, as_members(in_floats(called.forward(own, view)), count));
    });
}

Tensor Strategy::forward(const Generation& generation, const Tensor& x,
                         const nn::Module* part_of) const {
    const nn::Module& called = part_of != nullptr ? *part_of : model;
    Tensor all;
    std::mutex mutex;
    evaluate(generation, called, x, [&](int64_t first, const Tensor& y) {
        {
            const std::scoped_lock lock(mutex);
            if (y.device() != Device::cpu() && y.members() == options.pop_size &&
                TensorAccess::is_sole_owner(y)) {
                all = y;  // nobody else's, and complete
                return;
            }
            if (!all.is_per_member()) {
                Shape shape = y.shape();
                shape[0] = options.pop_size;
                all = kept_->take(nullptr, shape, y.device(), y.dtype(), true);
            }
        }
        if (y.part_shape() != all.part_shape()) {
            throw Error("[forward] the model returned parts of shape " + to_string(y.part_shape()) +
                        " and of shape " + to_string(all.part_shape()));
        }
        TensorAccess::member_range(all, first, y.members()).assign(y);
    });
    return all;
}

Tensor Strategy::fitness(const Generation& generation, const Tensor& x,
                         const Objective& objective) const {
    const int64_t times = options.evaluations;
    Tensor all =
        TensorAccess::make(times == 1 ? Shape{options.pop_size} : Shape{options.pop_size, times},
                           generation.run.device());
    evaluate(generation, model, x, [&](int64_t first, const Tensor& y) {
        const Tensor f = objective.evaluate(y, first);
        if (f.size() != y.members() * times) {
            if (f.size() == y.members()) {
                throw Error("[step] objective \"" + objective.name() +
                            "\" returned one fitness a member but Options::evaluations is " +
                            std::to_string(times));
            }
            throw Error("[step] objective \"" + objective.name() + "\" returned " +
                        to_string(f.shape()) + " for " + std::to_string(y.members()) + " members" +
                        (times == 1 ? "" : " evaluated " + std::to_string(times) + " times each"));
        }
        Tensor part = TensorAccess::member_range(all, first, y.members());
        part.assign(f.reshape(part.shape()));
    });
    return all;
}

Tensor Strategy::forward_member(const Generation& generation, const Tensor& x, int64_t member,
                                const nn::Module* part_of) const {
    if (x.is_per_member()) {
        throw Error("[Member] x " + to_string(x.shape()) +
                    " is per-member, but one member takes an input of its own");
    }
    backend_at("Member", generation, x);
    Scope scope(table, members(generation.backend_block()));
    scope.noise = &generation.noise;
    scope.precision = precision_;
    const nn::Module& called = part_of != nullptr ? *part_of : model;
    const Tensor y = in_floats(called.forward(x, ViewAccess::make(scope, member, 1)));
    return y.is_per_member() ? TensorAccess::with_shape(y, y.part_shape(), false) : y;
}

const nn::Module& Strategy::part(const char* caller, const std::string& name) const {
    const auto* system = dynamic_cast<const System*>(&model);
    if (system == nullptr) {
        throw Error(std::string("[") + caller + "] the model is no System, so there is no part " +
                    in_quotes(name));
    }
    return system->part(name);
}

void Strategy::copy_member(const Generation& generation, int64_t member, nn::Module& target) const {
    std::vector<Parameter> to = target.parameters();
    const std::vector<TableEntry>& entries = table.entries();
    if (to.size() != entries.size()) {
        throw Error("[copy_to] the model has " + std::to_string(to.size()) +
                    " parameters but the member " + std::to_string(entries.size()));
    }
    std::vector<Tensor> values;
    for (size_t i = 0; i < entries.size(); ++i) {
        const Parameter& from = entries[i].parameter;
        if (to[i].name != from.name || to[i].value.shape() != from.value.shape()) {
            throw Error("[copy_to] parameter \"" + to[i].name + "\" is " +
                        to_string(to[i].value.shape()) + " but the member has \"" + from.name +
                        "\" " + to_string(from.value.shape()));
        }
        if (table.find(to[i].value) != nullptr) {
            throw Error(
                "[copy_to] the model is the one that is being trained: copy the member into a "
                "clone");
        }
        values.push_back(member_value(entries[i], members(&generation.block), member));
    }
    for (size_t i = 0; i < entries.size(); ++i) to[i].value.assign(values[i]);
}

}  // namespace detail

// --- The public face ----------------------------------------------------------------------------

int64_t Population::size() const {
    return generation_->opened("Population").options.pop_size;
}

int64_t Population::generation() const {
    return generation_->block.generation;
}

Tensor Population::forward(const Tensor& x) const {
    return generation_->opened("Population::forward").forward(*generation_, x);
}

Tensor Population::call(const std::string& part, const Tensor& x) const {
    const detail::Strategy& strategy = generation_->opened("Population::call");
    return strategy.forward(*generation_, x, &strategy.part("Population::call", part));
}

Tensor Population::value(const std::string& name) const {
    const detail::Strategy& strategy = generation_->opened("Population::value");
    const detail::ValueOf value("Population::value", strategy.by_name, name);
    return strategy.forward(*generation_, generation_->run, &value);
}

std::vector<float> Population::evaluate(const Tensor& x, const Objective& objective) const {
    const Tensor fitness = generation_->opened("Population::evaluate")
                               .fitness(*generation_, x, objective)
                               .to(Device::cpu());
    return {fitness.data().begin(), fitness.data().end()};
}

Member Population::member(int64_t index) const {
    const int64_t size = generation_->opened("Population::member").options.pop_size;
    if (index < 0 || index >= size) {
        throw Error("[Population::member] index " + std::to_string(index) +
                    " is outside a population of " + std::to_string(size));
    }
    return Member(generation_, index);
}

Tensor Member::operator()(const Tensor& x) const {
    return generation_->opened("Member").forward_member(*generation_, x, index_);
}

Tensor Member::call(const std::string& part, const Tensor& x) const {
    const detail::Strategy& strategy = generation_->opened("Member::call");
    return strategy.forward_member(*generation_, x, index_, &strategy.part("Member::call", part));
}

Tensor Member::value(const std::string& name) const {
    const detail::Strategy& strategy = generation_->opened("Member::value");
    const detail::ValueOf value("Member::value", strategy.by_name, name);
    return strategy.forward_member(*generation_, generation_->run, index_, &value);
}

float Member::number(const std::string& name) const {
    return detail::number_of("Member::number", name, value(name));
}

int64_t Member::generation() const {
    return generation_->block.generation;
}

void Member::copy_to(nn::Module& model) const {
    generation_->opened("Member::copy_to").copy_member(*generation_, index_, model);
}

}  // namespace eggroll
