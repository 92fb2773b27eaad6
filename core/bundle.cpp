// SPDX-License-Identifier: MIT
#include <eggroll/bundle.h>

#include "core/named_values.h"
#include "core/storage.h"
#include "core/text.h"

#include <algorithm>
#include <cmath>
#include <typeinfo>

namespace eggroll {

namespace {

[[noreturn]] void refuse(const std::string& name, const std::string& what) {
    throw Error("[ParameterBundle] entry " + detail::in_quotes(name) + " " + what);
}

std::string bounds_of(const EntryOptions& options) {
    return detail::number(options.min) + ".." + detail::number(options.max);
}

void check(const std::string& name, const Shape& shape, bool is_matrix,
           const EntryOptions& options) {
    if (name.empty()) refuse(name, "needs a name");
    if (is_matrix && shape.size() != 2) {
        refuse(name, "is " + to_string(shape) + " but a matrix has two axes (O,I)");
    }
    if (!(options.min <= options.max)) {
        refuse(name, "has bounds of " + bounds_of(options) + ", but min must be at most max");
    }
    if (options.rank < 0 || (options.rank > 0 && !is_matrix)) {
        refuse(name, "has a rank of " + std::to_string(options.rank) +
                         (is_matrix ? ", but it must be at least 0" : ", but only matrices have"));
    }
    if (!(options.sigma_scale > 0.0f) || !std::isfinite(options.sigma_scale)) {
        refuse(name, "has a sigma_scale of " + detail::number(options.sigma_scale) +
                         ", but it must be positive and finite");
    }
}

void draw_by_default(Tensor& value, const NoiseStream& stream) {
    if (value.shape().size() != 2) return;  // zeros
    fill_normal(stream, 0, value.data());
    const float scale = 1.0f / std::sqrt(static_cast<float>(value.dim(1)));
    for (float& x : value.data()) x *= scale;
}

/// Draws values that are brought within the bounds: from outside nothing would be learnt.
Initializer bounded(const std::string& name, const EntryOptions& options) {
    return [name, options, init = options.init ? options.init : Initializer(draw_by_default)](
               Tensor& value, const NoiseStream& stream) {
        init(value, stream);
        for (float& x : value.data()) {
            if (!std::isfinite(x)) refuse(name, "was drawn as " + detail::number(x));
            x = std::clamp(x, options.min, options.max);
        }
    };
}

}  // namespace

ParameterBundle::ParameterBundle() : values_(std::make_unique<detail::NamedValues>()) {}
ParameterBundle::~ParameterBundle() = default;
ParameterBundle::ParameterBundle(ParameterBundle&&) noexcept = default;
ParameterBundle& ParameterBundle::operator=(ParameterBundle&&) noexcept = default;

detail::NamedValues& ParameterBundle::values() const {
    if (!values_) throw Error("[ParameterBundle] this one was moved from");
    return *values_;
}

void ParameterBundle::insert(const std::string& name, const Shape& shape, bool is_matrix,
                             Initializer init, const EntryOptions& options) {
    if (values().contains(name)) refuse(name, "is there already");
    const NoiseShape noise = is_matrix ? NoiseShape::of(shape) : NoiseShape{};
    Parameter parameter{name, Tensor::zeros(shape), noise, std::move(init)};
    parameter.rank = options.rank;
    parameter.sigma_scale = options.sigma_scale;
    parameter.frozen = options.frozen;
    parameter.min = options.min;
    parameter.max = options.max;
    register_parameter(parameter);
    values().add(std::move(parameter));
}

void ParameterBundle::add_drawn(const std::string& name, const Shape& shape, bool is_matrix,
                                const EntryOptions& options) {
    check(name, shape, is_matrix, options);
    insert(name, shape, is_matrix, bounded(name, options), options);
}

void ParameterBundle::add_given(const std::string& name, const Tensor& first, bool is_matrix,
                                const EntryOptions& options) {
    check(name, first.shape(), is_matrix, options);
    if (first.dtype() != Dtype::f32) {
        refuse(name, "starts as " + to_string(first.shape()) + " of " +
                         detail::name_of(first.dtype()) + ", but parameters are float32");
    }
    const Tensor values = first.to(Device::cpu()).clone();
    for (const float x : static_cast<const Tensor&>(values).data()) {
        if (!(x >= options.min && x <= options.max) || !std::isfinite(x)) {
            refuse(name, "starts at " + detail::number(x) + ", which is not a number within " +
                             bounds_of(options));
        }
    }
    const auto init = [values](Tensor& value, const NoiseStream&) { value.assign(values); };
    insert(name, first.shape(), is_matrix, init, options);
}

void ParameterBundle::matrix(const std::string& name, const Shape& shape,
                             const EntryOptions& options) {
    add_drawn(name, shape, true, options);
}

void ParameterBundle::matrix(const std::string& name, const Tensor& first,
                             const EntryOptions& options) {
    add_given(name, first, true, options);
}

void ParameterBundle::vector(const std::string& name, int64_t size, const EntryOptions& options) {
    add_drawn(name, Shape{size}, false, options);
}

void ParameterBundle::vector(const std::string& name, const Tensor& first,
                             const EntryOptions& options) {
    if (first.shape().size() != 1) {
        refuse(name, "is " + to_string(first.shape()) + " but a vector has one axis");
    }
    add_given(name, first, false, options);
}

void ParameterBundle::scalar(const std::string& name, float first, const EntryOptions& options) {
    add_given(name, Tensor::full({}, first), false, options);
}

Tensor ParameterBundle::value(const std::string& name, const View& view) const {
    return values().value("ParameterBundle::value", name, view);
}

float ParameterBundle::number(const std::string& name) const {
    return detail::number_of("ParameterBundle::number", name, value(name));
}

Tensor ParameterBundle::parameter(const std::string& name) const {
    return values().find("ParameterBundle::parameter", name).value;
}

Tensor ParameterBundle::forward(const Tensor&, const View&) const {
    throw Error(
        "[ParameterBundle] a bundle is no model to call: read its values, or derive from it and "
        "override forward");
}

std::unique_ptr<nn::Module> ParameterBundle::clone() const {
    (void)values();
    if (typeid(*this) != typeid(ParameterBundle)) return nn::Module::clone();
    auto copy = std::make_unique<ParameterBundle>();
    for (Parameter& parameter : parameters()) {
        parameter.value = Tensor::zeros(parameter.value.shape());
        copy->register_parameter(parameter);
        copy->values_->add(std::move(parameter));
    }
    copy->copy_from(*this);
    return copy;
}

}  // namespace eggroll
