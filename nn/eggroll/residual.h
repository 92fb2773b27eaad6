// SPDX-License-Identifier: MIT
#pragma once

#include <eggroll/module.h>

#include <concepts>
#include <utility>

namespace eggroll::nn {

/// y = x + f(x), f any layer whose output has the shape of its input (He et al. 2016). Parameters
/// are named "inner.<f's>".
class EGGROLL_API Residual : public Module {
public:
    /// From a layer, which moves in: `Residual(Sequential(Linear(8, 8), ReLU(), Linear(8, 8)))`.
    /// A Residual within a Residual goes in by pointer.
    template <class Layer>
    requires(std::derived_from<Layer, Module> &&
             !std::same_as<Layer, Residual>) explicit Residual(Layer&& layer)
        : Residual(std::make_unique<Layer>(std::move(layer))) {}
    explicit Residual(std::unique_ptr<Module> layer);
    Residual(Residual&&) noexcept = default;
    Residual& operator=(Residual&&) noexcept = default;

    Tensor forward(const Tensor& x, const View& v) const override;
    std::unique_ptr<Module> clone() const override;

private:
    std::unique_ptr<Module> inner_;
};

}  // namespace eggroll::nn
