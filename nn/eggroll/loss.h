// SPDX-License-Identifier: MIT
#pragma once

#include <eggroll/objective.h>
#include <eggroll/tensor.h>

// Losses and scores: one value a member (V) for a per-member y, else one value (). Accumulated in
// double. As objectives (higher is better) the losses carry a minus.

namespace eggroll {

/// Mean of (y − target)² over a member's elements. y (...) and target of the same part shape.
EGGROLL_API Tensor mse(const Tensor& y, const Tensor& target);
/// Mean of −log softmax(y)[label] over rows. y (...,C) logits, labels (...) int32 in 0..C-1; throws
/// Error naming a label outside that range.
EGGROLL_API Tensor cross_entropy(const Tensor& y, const Tensor& labels);
/// Share of rows whose first largest entry is the label's. y (...,C), labels (...) int32.
EGGROLL_API Tensor accuracy(const Tensor& y, const Tensor& labels);

namespace loss {
EGGROLL_API Objective mse(const Tensor& target);            // −mse
EGGROLL_API Objective cross_entropy(const Tensor& labels);  // −cross_entropy
}  // namespace loss

namespace score {
EGGROLL_API Objective accuracy(const Tensor& labels);
}  // namespace score

}  // namespace eggroll
