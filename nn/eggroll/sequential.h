// SPDX-License-Identifier: MIT
#pragma once

#include <eggroll/module.h>

#include <concepts>
#include <type_traits>
#include <utility>

namespace eggroll::nn {

/// Layers one after another; an activation is folded into the layer before it. Parameters are named
/// by position, as PyTorch's: "0.weight", "2.bias".
class EGGROLL_API Sequential : public Module {
public:
    /// From layers, which move in: `Sequential(Linear(10, 20), ReLU(), Linear(20, 5))`.
    template <class... Layers>
    requires(sizeof...(Layers) > 0 &&
             (std::derived_from<Layers, Module> && ...)) explicit Sequential(Layers&&... layers) {
        (append(std::make_unique<Layers>(std::move(layers))), ...);
    }
    explicit Sequential(std::vector<std::unique_ptr<Module>> layers);
    Sequential(Sequential&&) noexcept = default;
    Sequential& operator=(Sequential&&) noexcept = default;

    size_t size() const { return layers_.size(); }
    /// Throws Error when there is no such layer.
    const Module& operator[](size_t index) const;

    using Module::operator();
    Tensor forward(const Tensor& x, const View& v) const override;
    std::unique_ptr<Module> clone() const override;

private:
    void append(std::unique_ptr<Module> layer);

    std::vector<std::unique_ptr<Module>> layers_;
};

}  // namespace eggroll::nn
