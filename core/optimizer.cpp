// SPDX-License-Identifier: MIT
#include <eggroll/optimizer.h>

#include "core/storage.h"
#include "core/text.h"

#include <cmath>
#include <utility>

namespace eggroll {

using detail::TensorAccess;

float UpdateStep::lr() const {
    return block_->lr;
}

int64_t UpdateStep::index() const {
    return block_->updates;
}

struct detail::OptimizerAccess {
    static const GenerationBlock& block(const UpdateStep& step) { return *step.in_backend_; }
};

Optimizer::~Optimizer() = default;

namespace {

/// The rules that the backend's `optimize` row computes.
class BuiltIn : public Optimizer {
public:
    struct Constants {
        float beta1 = 0, beta2 = 0, eps = 0, weight_decay = 0;
    };

    BuiltIn(std::string name, std::string constants, detail::Rule rule, int states, Constants of)
        : name_(std::move(name)),
          constants_(std::move(constants)),
          rule_(rule),
          states_(states),
          of_(of) {}

    std::string name() const override { return name_; }
    std::string describe() const override { return name_ + constants_; }
    int state_count() const override { return states_; }
    bool on_device() const override { return true; }

    void apply(Tensor& value, const Tensor& g, std::span<Tensor> state,
               const UpdateStep& step) const override {
        TensorAccess::backend(value).optimize(
            {.rule = rule_,
             .block = &detail::OptimizerAccess::block(step),
             .value = TensorAccess::floats(value),
             .g = TensorAccess::floats(g),
             .first_moment = states_ > 0 ? TensorAccess::floats(state[0]) : nullptr,
             .second_moment = states_ > 1 ? TensorAccess::floats(state[1]) : nullptr,
             .n = value.size(),
             .beta1 = of_.beta1,
             .beta2 = of_.beta2,
             .eps = of_.eps,
             .weight_decay = of_.weight_decay});
    }

private:
    std::string name_, constants_;
    detail::Rule rule_;
    int states_;
    Constants of_;
};

void require_beta(const char* where, float beta) {
    if (!(beta >= 0.0f && beta < 1.0f)) {
        throw Error(std::string("[") + where + "] must be in [0,1) but is " + detail::number(beta));
    }
}

void require_adam(const std::string& where, float beta1, float beta2, float eps) {
    require_beta((where + " beta1").c_str(), beta1);
    require_beta((where + " beta2").c_str(), beta2);
    if (!(eps > 0.0f) || !std::isfinite(eps)) {
        throw Error("[" + where + " eps] must be positive and finite but is " +
                    detail::number(eps));
    }
}

std::string adam_constants(float beta1, float beta2, float eps) {
    return "(beta1=" + detail::number(beta1) + ",beta2=" + detail::number(beta2) +
           ",eps=" + detail::number(eps);
}

}  // namespace

namespace optim {

std::shared_ptr<const Optimizer> sgd() {
    return std::make_shared<BuiltIn>("sgd", "", detail::Rule::sgd, 0, BuiltIn::Constants{});
}

std::shared_ptr<const Optimizer> momentum(MomentumOptions options) {
    require_beta("optim::momentum beta", options.beta);
    return std::make_shared<BuiltIn>(
        "momentum",
        "(beta=" + detail::number(options.beta) + (options.nesterov ? ",nesterov)" : ")"),
        options.nesterov ? detail::Rule::nesterov : detail::Rule::momentum, 1,
        BuiltIn::Constants{.beta1 = options.beta});
}

std::shared_ptr<const Optimizer> adam(AdamOptions options) {
    require_adam("optim::adam", options.beta1, options.beta2, options.eps);
    return std::make_shared<BuiltIn>(
        "adam", adam_constants(options.beta1, options.beta2, options.eps) + ")", detail::Rule::adam,
        2, BuiltIn::Constants{.beta1 = options.beta1, .beta2 = options.beta2, .eps = options.eps});
}

std::shared_ptr<const Optimizer> adamw(AdamWOptions options) {
    require_adam("optim::adamw", options.beta1, options.beta2, options.eps);
    if (!(options.weight_decay >= 0.0f) || !std::isfinite(options.weight_decay)) {
        throw Error("[optim::adamw weight_decay] must be non-negative and finite but is " +
                    detail::number(options.weight_decay));
    }
    return std::make_shared<BuiltIn>(
        "adamw",
        adam_constants(options.beta1, options.beta2, options.eps) +
            ",weight_decay=" + detail::number(options.weight_decay) + ")",
        detail::Rule::adamw, 2,
        BuiltIn::Constants{options.beta1, options.beta2, options.eps, options.weight_decay});
}

}  // namespace optim
}  // namespace eggroll
