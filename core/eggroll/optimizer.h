// SPDX-License-Identifier: MIT
#pragma once

#include <eggroll/tensor.h>

#include <memory>
#include <span>
#include <string>

namespace eggroll {

namespace detail {
struct GenerationBlock;
struct OptimizerAccess;
}  // namespace detail

/// What changes from update to update, as an optimizer sees it.
class EGGROLL_API UpdateStep {
public:
    UpdateStep(const detail::GenerationBlock& host, const detail::GenerationBlock& in_backend)
        : block_(&host), in_backend_(&in_backend) {}
    float lr() const;
    /// How many updates came before this one.
    int64_t index() const;

private:
    friend struct detail::OptimizerAccess;
    const detail::GenerationBlock* block_;
    const detail::GenerationBlock* in_backend_;
};

/// Turns an ascent direction g into a change of a parameter. A rule without state of its own: the
/// strategy keeps `state_count()` tensors of the parameter's shape for it, zero at first.
class EGGROLL_API Optimizer {
public:
    virtual ~Optimizer();
    virtual std::string name() const = 0;
    /// Name and constants, equal for rules that are: "adam(beta1=0.9,beta2=0.999,eps=1e-08)".
    virtual std::string describe() const { return name(); }
    virtual int state_count() const = 0;
    /// Whether `apply` is work for the device alone: it reads nothing of `step`, or of a tensor, on
    /// the host. Such an optimizer can be captured, and enqueued without waiting.
    virtual bool on_device() const { return false; }
    /// Moves `value` along g; all tensors have the parameter's shape and device.
    virtual void apply(Tensor& value, const Tensor& g, std::span<Tensor> state,
                       const UpdateStep& step) const = 0;
};

namespace optim {

/// θ += lr g.
EGGROLL_API std::shared_ptr<const Optimizer> sgd();

struct MomentumOptions {
    float beta = 0.9f;  // 0 <= beta < 1
    bool nesterov = false;
};
/// m = β m + g,  θ += lr m (Polyak's heavy ball, as PyTorch's SGD writes it); with `nesterov`
/// θ += lr (g + β m).
EGGROLL_API std::shared_ptr<const Optimizer> momentum(MomentumOptions options = {});

struct AdamOptions {
    float beta1 = 0.9f;    // 0 <= beta1 < 1
    float beta2 = 0.999f;  // 0 <= beta2 < 1
    float eps = 1e-8f;     // > 0
};
/// m = β1 m + (1−β1) g,  v = β2 v + (1−β2) g²,
/// θ += lr · m/(1−β1ᵗ) / (√(v/(1−β2ᵗ)) + ε), t counting from 1 (Kingma & Ba 2015).
EGGROLL_API std::shared_ptr<const Optimizer> adam(AdamOptions options = {});

struct AdamWOptions {
    float beta1 = 0.9f;          // 0 <= beta1 < 1
    float beta2 = 0.999f;        // 0 <= beta2 < 1
    float eps = 1e-8f;           // > 0
    float weight_decay = 0.01f;  // λ >= 0
};
/// θ −= lr·λ·θ, then a step of `adam` (Loshchilov & Hutter 2019, with lr in the decay as PyTorch
/// has it).
EGGROLL_API std::shared_ptr<const Optimizer> adamw(AdamWOptions options = {});

}  // namespace optim
}  // namespace eggroll
