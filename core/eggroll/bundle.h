// SPDX-License-Identifier: MIT
#pragma once

#include <eggroll/module.h>

#include <limits>

namespace eggroll {

namespace detail {
class NamedValues;
}

/// How an entry of a ParameterBundle starts, is bounded and is perturbed.
struct EntryOptions {
    // Values are clamped where they are read. The parameter behind them is free, and where no
    // member gets within the bounds any more it has no direction: they should be wide beside σ.
    float min = -std::numeric_limits<float>::infinity();
    float max = std::numeric_limits<float>::infinity();
    int rank = 0;           // of a matrix; 0: Options::rank
    float sigma_scale = 1;  // times σ, > 0
    bool frozen = false;    // never perturbed nor changed
    Initializer init = {};  // of an entry that is drawn; empty: a matrix (O,I) is normal with
                            // standard deviation 1/√I, all else is 0
};

/// Named matrices, vectors and scalars that need no model: whatever a fitness can be computed from.
///
///     ParameterBundle plant;
///     plant.matrix("gain", {2, 4});
///     plant.scalar("delay", 0.5f, {.min = 0.0f, .max = 1.0f});
///     Eggroll es(plant, {.pop_size = 64});
///     es.step([&](const Member& m) { return simulate(m.value("gain"), m.number("delay")); });
///
/// It is a module: saved, loaded, moved to a device, copied and filtered by name as any other. Add
/// its entries before it goes to a strategy or a System. For a batched fitness take
/// `Population::value`, or derive from it and override `forward`, reading `value(name, view)`.
///
/// An entry of an empty name or one that is there already, min > max, a rank of what is no matrix,
/// and a first value that is not finite or outside its bounds: Error.
class EGGROLL_API ParameterBundle : public nn::Module {
public:
    ParameterBundle();
    ~ParameterBundle() override;
    ParameterBundle(ParameterBundle&&) noexcept;
    ParameterBundle& operator=(ParameterBundle&&) noexcept;

    /// shape (O,I), drawn as options.init says; `init(seed)` draws anew.
    void matrix(const std::string& name, const Shape& shape, const EntryOptions& options = {});
    /// The first value is given; `init(seed)` goes back to it.
    void matrix(const std::string& name, const Tensor& first, const EntryOptions& options = {});
    void vector(const std::string& name, int64_t size, const EntryOptions& options = {});
    void vector(const std::string& name, const Tensor& first, const EntryOptions& options = {});
    void scalar(const std::string& name, float first, const EntryOptions& options = {});

    /// The value of an entry (...) within its bounds: the centre's, or in a `forward` (V,...)
    /// per-member as the view's members have it. Throws Error naming the nearest names when there
    /// is no such entry.
    Tensor value(const std::string& name, const View& view = View::centre()) const;
    /// The centre's value of an entry of one element.
    float number(const std::string& name) const;
    /// The parameter itself, free of bounds: to write to, or to hand to `linear` and the like.
    Tensor parameter(const std::string& name) const;

    /// Throws Error: a bundle by itself is no model to call.
    Tensor forward(const Tensor& x, const View& v) const override;
    std::unique_ptr<nn::Module> clone() const override;

private:
    void add_drawn(const std::string& name, const Shape& shape, bool is_matrix,
                   const EntryOptions& options);
    void add_given(const std::string& name, const Tensor& first, bool is_matrix,
                   const EntryOptions& options);
    void insert(const std::string& name, const Shape& shape, bool is_matrix, Initializer init,
                const EntryOptions& options);

    detail::NamedValues& values() const;  // throws Error when moved from

    std::unique_ptr<detail::NamedValues> values_;
};

}  // namespace eggroll
