// SPDX-License-Identifier: MIT
#include <eggroll/module.h>

#include "core/storage.h"

#include <algorithm>
#include <typeinfo>

namespace eggroll::nn {

using detail::Storage;
using detail::TensorAccess;

namespace {

/// Draws a value on the host and leaves it looking as nobody had written to it.
void draw(Parameter& parameter, uint64_t seed, uint32_t index) {
    if (!parameter.init) return;
    const NoiseStream stream{
        .seed = seed, .parameter = index, .pair = 0, .generation = kInitGeneration};
    Tensor value = Tensor::zeros(parameter.value.shape());
    parameter.init(value, stream);
    parameter.value.assign(value);
    TensorAccess::storage(parameter.value)->written = false;
}

void require_new(const char* caller, const std::vector<Parameter>& known, const std::string& name) {
    for (const Parameter& parameter : known) {
        if (parameter.name == name) {
            throw Error(std::string("[") + caller + "] there is a parameter \"" + name +
                        "\" already");
        }
    }
}

bool is_untouched(const std::vector<Parameter>& parameters) {
    return std::none_of(parameters.begin(), parameters.end(), [](const Parameter& p) {
        return TensorAccess::storage(p.value)->written.load();
    });
}

}  // namespace

Module::~Module() = default;

Tensor Module::forward_then(const Tensor& x, const View& v, Act act) const {
    return activate(forward(x, v), act);
}

void Module::init(uint64_t seed) {
    uint32_t index = 0;
    for (Parameter& parameter : parameters()) {
        draw(parameter, seed, index++);
        TensorAccess::storage(parameter.value)->written = true;  // somebody asked for these values
    }
}

void Module::to(Device device) {
    std::vector<Parameter> own = parameters();
    for (const Parameter& parameter : own) {
        TensorAccess::storage(parameter.value)->require_movable("Module::to", device);
    }
    for (Parameter& parameter : own) TensorAccess::storage(parameter.value)->move_to(device);
}

void Module::copy_from(const Module& other) {
    std::vector<Parameter> own = parameters();
    const std::vector<Parameter> theirs = other.parameters();
    if (own.size() != theirs.size()) {
        throw Error("[copy_from] this model has " + std::to_string(own.size()) +
                    " parameters but the other has " + std::to_string(theirs.size()));
    }
    for (size_t i = 0; i < own.size(); ++i) {
        if (own[i].name != theirs[i].name || own[i].value.shape() != theirs[i].value.shape()) {
            throw Error("[copy_from] parameter \"" + own[i].name + "\" is " +
                        to_string(own[i].value.shape()) + " but the other model has \"" +
                        theirs[i].name + "\" " + to_string(theirs[i].value.shape()));
        }
    }
    for (size_t i = 0; i < own.size(); ++i) {
        Storage& storage = *TensorAccess::storage(own[i].value);
        if (!storage.written) storage.move_to(theirs[i].value.device());
        own[i].value.assign(theirs[i].value);
    }
}

std::unique_ptr<Module> Module::clone() const {
    throw Error(std::string("[clone] ") + typeid(*this).name() +
                " does not override clone(): make one of the same sizes, copy_from(*this), "
                "return it");
}

Tensor Module::register_parameter(const std::string& name, const Shape& shape, Initializer init) {
    return register_parameter(name, shape, std::move(init), NoiseShape::of(shape));
}

Tensor Module::register_parameter(const std::string& name, const Shape& shape, Initializer init,
                                  NoiseShape noise) {
    return register_parameter({name, Tensor::zeros(shape), noise, std::move(init)});
}

Tensor Module::register_parameter(Parameter parameter) {
    const NoiseShape& noise = parameter.noise;
    const Shape& shape = parameter.value.shape();
    if (noise.is_matrix() && noise.rows * noise.cols != element_count(shape)) {
        throw Error("[register_parameter] \"" + parameter.name + "\" is " + to_string(shape) +
                    " but its noise is " + to_string({noise.rows, noise.cols}));
    }
    if (element_count(shape) == 0) {
        throw Error("[register_parameter] \"" + parameter.name + "\" is " + to_string(shape) +
                    " and has no elements");
    }
    require_new("register_parameter", parameters_, parameter.name);
    TensorAccess::storage(parameter.value)->name = parameter.name;
    draw(parameter, 0, static_cast<uint32_t>(parameters_.size()));
    parameters_.push_back(std::move(parameter));
    return parameters_.back().value;
}

void Module::register_module(const std::string& name, const Module& inner) {
    std::vector<Parameter> parts = inner.parameters();
    const bool fresh = is_untouched(parts);
    const auto is_known = [&](const Parameter& parameter) {
        return std::any_of(parameters_.begin(), parameters_.end(), [&](const Parameter& known) {
            return TensorAccess::storage(known.value) == TensorAccess::storage(parameter.value);
        });
    };
    std::erase_if(parts, is_known);  // tied weights are one parameter, under their first name
    for (Parameter& parameter : parts) {
        parameter.name = name + "." + parameter.name;
        require_new("register_module", parameters_, parameter.name);
    }
    for (Parameter& parameter : parts) {
        TensorAccess::storage(parameter.value)->name = parameter.name;
        if (fresh) draw(parameter, 0, static_cast<uint32_t>(parameters_.size()));
        parameters_.push_back(std::move(parameter));
    }
}

}  // namespace eggroll::nn
