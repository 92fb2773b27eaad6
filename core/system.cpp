// SPDX-License-Identifier: MIT
#include <eggroll/system.h>

#include "core/named_values.h"
#include "core/text.h"

#include <typeinfo>

namespace eggroll {

using detail::in_quotes;

System::System() : System(Forward()) {}
System::System(Forward forward)
    : forward_(std::move(forward)), values_(std::make_unique<detail::NamedValues>()) {}
System::~System() = default;
System::System(System&&) noexcept = default;
System& System::operator=(System&&) noexcept = default;

detail::NamedValues& System::values() const {
    if (!values_) throw Error("[System] this one was moved from");
    return *values_;
}

void System::add(const std::string& name, nn::Module& part) {
    (void)values();
    if (name.empty() || name.find('.') != std::string::npos) {
        throw Error("[System::add] a part is called " + in_quotes(name) +
                    ", but a name is not empty and has no dot in it");
    }
    if (&part == this) throw Error("[System::add] " + in_quotes(name) + " is the system itself");
    for (const auto& [known, other] : parts_) {
        if (known == name)
            throw Error("[System::add] there is a part " + in_quotes(name) + " already");
        if (other == &part) {
            throw Error("[System::add] part " + in_quotes(name) + " is there already, as " +
                        in_quotes(known));
        }
    }
    register_module(name, part);
    parts_.emplace_back(name, &part);
    for (Parameter& parameter : parameters()) {
        if (!values().contains(parameter.name)) values().add(std::move(parameter));
    }
}

const nn::Module& System::part(const std::string& name) const {
    (void)values();
    std::vector<std::string> names;
    for (const auto& [known, module] : parts_) {
        if (known == name) return *module;
        names.push_back(known);
    }
    throw Error("[System::part] there is no part " + in_quotes(name) + "; there is " +
                detail::nearest_names(name, std::move(names)));
}

Tensor System::call(const std::string& name, const Tensor& x, const View& v) const {
    return part(name).forward(x, v);
}

Tensor System::value(const std::string& name, const View& v) const {
    return values().value("System::value", name, v);
}

float System::number(const std::string& name) const {
    return detail::number_of("System::number", name, value(name));
}

Tensor System::forward(const Tensor& x, const View& v) const {
    (void)values();
    if (!forward_) {
        throw Error(
            "[System] this system has no Forward: call its parts, or say what the whole computes");
    }
    return forward_(*this, x, v);
}

std::unique_ptr<nn::Module> System::clone() const {
    (void)values();
    if (typeid(*this) != typeid(System)) return nn::Module::clone();
    auto copy = std::make_unique<System>(forward_);
    for (const auto& [name, module] : parts_) {
        std::unique_ptr<nn::Module> own = module->clone();
        copy->add(name, *own);
        copy->owned_.push_back(std::move(own));
    }
    copy->copy_from(*this);
    return copy;
}

}  // namespace eggroll
