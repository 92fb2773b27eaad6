// SPDX-License-Identifier: MIT
#pragma once

#include "core/scope.h"

#include <eggroll/strategy.h>

// What a strategy is asked for: its options, and which parameters are perturbed and how.

namespace eggroll::detail {

// Each throws Error naming the option, the rule and the value.
void check_lr(float lr);
void check_sigma(float sigma);
void check_options(const Options& options);

/// All parameters of the model, as the options have them. Throws Error when one has no noise to go
/// with it, when a rule matches none, and when none is left to train.
ParameterTable select_parameters(const nn::Module& model, const Options& options);

/// The precision of members' products: bfloat16 is for the default law alone.
Precision precision_for(const Options& options, const ParameterTable& table);

}  // namespace eggroll::detail
