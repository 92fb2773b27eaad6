// SPDX-License-Identifier: MIT
#pragma once

#include <eggroll/tensor.h>

#include <functional>
#include <string>

namespace eggroll {

/// A fitness that the engine computes chunk by chunk, so that the outputs of the whole population
/// are never stored. `loss::mse`, `loss::cross_entropy` and `score::accuracy` make the usual ones.
class EGGROLL_API Objective {
public:
    /// From the outputs of some members, y (V,B,...) per-member, and the target to their fitness
    /// (V). Called from several threads; written with the free functions of <eggroll/ops.h>.
    using Function = std::function<Tensor(const Tensor& y, const Tensor& target)>;

    /// A target marked by per_member() holds each member's own.
    Objective(std::string name, Function fitness, Tensor target);

    const std::string& name() const { return name_; }
    const Tensor& target() const { return target_; }
    /// Fitness of all members whose outputs are given.
    Tensor operator()(const Tensor& y) const { return fitness_(y, target_); }
    /// Fitness of members first..first+V-1.
    Tensor evaluate(const Tensor& y, int64_t first) const;

private:
    std::string name_;
    Function fitness_;
    Tensor target_;
};

}  // namespace eggroll
