// SPDX-License-Identifier: MIT
#pragma once

#include <eggroll/module.h>

/// Initialisers: how a parameter's first value is drawn. Of a parameter (O,...) fan_out is O and
/// fan_in the product of the other extents.
namespace eggroll::nn::init {

EGGROLL_API Initializer constant(float value);
EGGROLL_API Initializer zeros();
EGGROLL_API Initializer ones();
/// Uniform in [-bound, bound).
EGGROLL_API Initializer uniform(float bound);
EGGROLL_API Initializer normal(float std, float mean = 0.0f);
/// Uniform with bound 1/sqrt(fan_in): PyTorch's default for Linear weights and biases.
EGGROLL_API Initializer fan_in_uniform(int64_t fan_in);
/// Normal with std gain/sqrt(fan_in) (He et al. 2015; gain √2 for ReLU).
EGGROLL_API Initializer kaiming_normal(float gain = 1.41421356f);
/// Uniform with bound gain·sqrt(6/(fan_in + fan_out)) (Glorot & Bengio 2010).
EGGROLL_API Initializer xavier_uniform(float gain = 1.0f);

}  // namespace eggroll::nn::init
