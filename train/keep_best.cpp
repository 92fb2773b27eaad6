// SPDX-License-Identifier: MIT
#include <eggroll/keep_best.h>

#include <eggroll/error.h>

#include "core/file.h"
#include "core/named_tensors.h"
#include "core/text.h"
#include "core/trouble.h"

#include <cmath>
#include <exception>
#include <utility>

namespace eggroll {

namespace {

constexpr const char* kCaller = "keep_best";
constexpr const char* kValue = "value";
constexpr const char* kGeneration = "generation";

/// The number a file's metadata has under this name.
template <class T>
T number_of(const detail::TensorFile& file, const std::string& name) {
    const auto found = file.metadata().find(name);
    if (found == file.metadata().end()) {
        file.fail("has no \"" + name + "\" in its metadata: it was not written by KeepBest");
    }
    const auto number = detail::number_in<T>(found->second);
    if (!number) {
        file.fail("its metadata has " + detail::in_quotes(found->second) + " for the number \"" +
                  name + "\"");
    }
    return *number;
}

std::vector<detail::NamedTensor> named(const std::vector<Parameter>& parameters,
                                       const std::vector<Tensor>& values) {
    std::vector<detail::NamedTensor> tensors;
    for (size_t i = 0; i < parameters.size(); ++i) {
        tensors.push_back({parameters[i].name, values.empty() ? parameters[i].value : values[i]});
    }
    return tensors;
}

}  // namespace

KeepBest::KeepBest(nn::Module& model, KeepBestOptions options)
    : model_(&model), options_(std::move(options)) {
    if (!options_.value && !options_.measure) {
        throw Error("[keep_best] neither value nor measure is given");
    }
}

void KeepBest::check(const Eggroll& es) const {
    if (!options_.path.empty()) detail::require_place(kCaller, options_.path);
    if (goes_on(es)) (void)read();
}

bool KeepBest::begin(const Eggroll& es, int64_t) {
    missing_ = false;
    if (goes_on(es)) {
        std::optional<Kept> kept = read();
        missing_ = !kept;
        if (kept) {
            best_ = std::move(kept->values);
            value_ = kept->value;
            generation_ = kept->generation;
        }
    }
    if (!options_.measure) copy_model(before_);
    return false;
}

bool KeepBest::after(Eggroll&, Report& report) {
    const double value = options_.measure ? options_.measure() : options_.value(report);
    if (std::isfinite(value) && !(value <= value_)) {
        if (options_.measure) {
            copy_model(best_);
        } else {
            std::swap(before_, best_);
        }
        value_ = value;
        generation_ = report.generation;
        saved_ = options_.path.empty();
    }
    if (!options_.measure) copy_model(before_);
    if (std::exchange(missing_, false)) {
        detail::add_trouble(report, std::string("[") + kCaller + "] " +
                                        detail::in_quotes(options_.path.string()) +
                                        ": is not there: the best of the generations before " +
                                        std::to_string(report.generation) + " is not known");
    }
    if (!saved_) {
        try {
            save();
        } catch (const std::exception& error) {
            detail::add_trouble(report, error.what());
        }
    }
    return false;
}

void KeepBest::end(const Eggroll&) {
    if (!saved_) save();
}

void KeepBest::restore() const {
    if (generation_ < 0) throw Error("[keep_best] there is nothing to restore yet");
    std::vector<Parameter> parameters = model_->parameters();
    if (parameters.size() != best_.size()) {
        throw Error("[keep_best] the model has " + std::to_string(parameters.size()) +
                    " parameters but " + std::to_string(best_.size()) + " were kept");
    }
    Values there;  // all memory is had before the first parameter changes
    for (size_t i = 0; i < best_.size(); ++i) {
        there.push_back(best_[i].to(parameters[i].value.device()));
    }
    for (size_t i = 0; i < there.size(); ++i) parameters[i].value.assign(there[i]);
}

void KeepBest::copy_model(Values& to) const {
    const std::vector<Parameter> parameters = model_->parameters();
    Values copy;
    for (size_t i = 0; i < parameters.size(); ++i) {
        const Tensor& from = parameters[i].value;
        const bool fits = to.size() == parameters.size() && to[i].shape() == from.shape() &&
                          to[i].device() == from.device() && to[i].dtype() == from.dtype();
        copy.push_back(fits ? to[i] : from.clone());
        if (fits) copy.back().assign(from);
    }
    to = std::move(copy);
}

bool KeepBest::goes_on(const Eggroll& es) const {
    return !options_.path.empty() && generation_ < 0 && es.generation() > 0;
}

std::optional<KeepBest::Kept> KeepBest::read() const {
    std::error_code error;
    if (!std::filesystem::exists(options_.path, error) && !error) return {};
    const detail::TensorFile file(kCaller, options_.path);
    return Kept{.values = file.read(named(model_->parameters(), {})),
                .value = number_of<double>(file, kValue),
                .generation = number_of<int64_t>(file, kGeneration)};
}

void KeepBest::save() {
    const detail::Metadata metadata = {{kValue, detail::number(value_)},
                                       {kGeneration, std::to_string(generation_)}};
    detail::save_tensors(kCaller, options_.path, named(model_->parameters(), best_), metadata);
    saved_ = true;
}

}  // namespace eggroll
