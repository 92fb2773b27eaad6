// SPDX-License-Identifier: MIT
#include <eggroll/optimizer.h>

#include "core/storage.h"
#include "core/text.h"

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
    BuiltIn(std::string name, detail::Rule rule, int states, float beta1, float beta2, float eps)
        : name_(std::move(name)),
          rule_(rule),
          states_(states),
          beta1_(beta1),
          beta2_(beta2),
          eps_(eps) {}

    std::string name() const override { return name_; }
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
             .beta1 = beta1_,
             .beta2 = beta2_,
             .eps = eps_});
    }

private:
    std::string name_;
    detail::Rule rule_;
    int states_;
    float beta1_, beta2_, eps_;
};

void require_beta(const char* where, float beta) {
    if (!(beta >= 0.0f && beta < 1.0f)) {
        throw Error(std::string("[") + where + "] must be in [0,1) but is " + detail::number(beta));
    }
}

}  // namespace

namespace optim {

std::shared_ptr<const Optimizer> sgd() {
    return std::make_shared<BuiltIn>("sgd", detail::Rule::sgd, 0, 0.0f, 0.0f, 0.0f);
}

std::shared_ptr<const Optimizer> momentum(MomentumOptions options) {
    require_beta("optim::momentum beta", options.beta);
    return std::make_shared<BuiltIn>("momentum", detail::Rule::momentum, 1, options.beta, 0.0f,
                                     0.0f);
}

std::shared_ptr<const Optimizer> adam(AdamOptions options) {
    require_beta("optim::adam beta1", options.beta1);
    require_beta("optim::adam beta2", options.beta2);
    if (!(options.eps > 0.0f)) {
        throw Error("[optim::adam eps] must be positive but is " + detail::number(options.eps));
    }
    return std::make_shared<BuiltIn>("adam", detail::Rule::adam, 2, options.beta1, options.beta2,
                                     options.eps);
}

}  // namespace optim
}  // namespace eggroll
