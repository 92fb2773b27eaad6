// SPDX-License-Identifier: MIT
#pragma once

#include <eggroll/bundle.h>

#include <functional>
#include <utility>

namespace eggroll {

/// Several models and bundles that are trained together under one fitness.
///
///     System system;
///     system.add("encoder", encoder);
///     system.add("gains", gains);
///     Eggroll es(system, {});
///     es.step([&](const Member& m) { return f(m.call("encoder", x), m.number("gains.k")); });
///
/// Parameters are named "encoder.0.weight", "gains.k"; one that two parts share is one parameter,
/// under the name of the part added first. The parts stay the caller's: they must be complete when
/// they are added, outlive the system and keep their place. A part whose values nobody has written
/// to is drawn anew, as in Sequential.
///
/// With a `Forward` a system is a model like any other, which takes all three ways in:
///
///     System system([](const System& s, const Tensor& x, const View& v) {
///         return s.call("encoder", x, v) * s.value("gains.k", v);
///     });
class EGGROLL_API System : public nn::Module {
public:
    /// What the whole computes, from its parts by name: x to y for the members of the view.
    using Forward = std::function<Tensor(const System& system, const Tensor& x, const View& v)>;

    System();
    explicit System(Forward forward);
    ~System() override;
    System(System&&) noexcept;
    System& operator=(System&&) noexcept;

    /// Throws Error when the name is empty, has a dot in it or is used, or the part is there
    /// already.
    void add(const std::string& name, nn::Module& part);
    void add(const std::string& name, nn::Module&& part) = delete;

    /// Throws Error naming the nearest names when there is no such part.
    const nn::Module& part(const std::string& name) const;
    /// The output of a part, for the weights `v` means.
    Tensor call(const std::string& part, const Tensor& x, const View& v = View::centre()) const;
    /// A parameter by its full name, within its bounds; see ParameterBundle::value.
    Tensor value(const std::string& name, const View& v = View::centre()) const;
    /// The centre's value of a parameter of one element.
    float number(const std::string& name) const;

    /// Throws Error for a system without a `Forward`.
    Tensor forward(const Tensor& x, const View& v) const override;
    /// A system that owns clones of the parts. Throws Error when parts share a parameter.
    std::unique_ptr<nn::Module> clone() const override;

private:
    detail::NamedValues& values() const;  // throws Error when moved from

    Forward forward_;
    std::vector<std::pair<std::string, const nn::Module*>> parts_;
    std::vector<std::unique_ptr<nn::Module>> owned_;
    std::unique_ptr<detail::NamedValues> values_;
};

}  // namespace eggroll
