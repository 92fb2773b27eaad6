// SPDX-License-Identifier: MIT
#pragma once

#include <eggroll/ops.h>

#include <string>
#include <vector>

// What layers with a state have in common.

namespace eggroll::nn {

/// Part `index` of `count` equal parts of the last axis.
inline Tensor gate(const Tensor& gates, int64_t index, int64_t hidden) {
    return slice(gates, -1, index * hidden, (index + 1) * hidden);
}

/// Throws Error unless h is a state (...,H) for inputs x (...,I).
inline void require_state(const char* layer, const Tensor& x, const Tensor& h, int64_t hidden) {
    Shape want = x.part_shape();
    if (!want.empty()) want.back() = hidden;
    if (want.empty() || h.part_shape() != want) {
        throw Error(std::string("[") + layer + "] h is " + to_string(h.part_shape()) +
                    " but must be " + to_string(want) + " for x " + to_string(x.part_shape()));
    }
}

/// A state of zeros (B,H) for x (B,S,I).
inline Tensor zero_state(const char* layer, const Tensor& x, int64_t hidden) {
    const Shape part = x.part_shape();
    if (part.size() != 3) {
        throw Error(std::string("[") + layer + "] x is " + to_string(part) +
                    " but a sequence is (B,S,I)");
    }
    return Tensor::zeros({part[0], hidden}, x.device());
}

/// Throws Error unless x is (B,S,I) with steps and h (B,H).
inline void require_sequence(const char* layer, const Tensor& x, const Tensor& h, int64_t hidden) {
    const Shape part = x.part_shape();
    if (part.size() != 3 || part[1] < 1 || h.part_shape() != Shape{part[0], hidden}) {
        throw Error(std::string("[") + layer + "] x is " + to_string(part) + " and h " +
                    to_string(h.part_shape()) + " but they must be (B,S,I) and (B," +
                    std::to_string(hidden) + "), S at least 1");
    }
}

/// h (B,S,H) after each step, next(gates of the step, h) being the state after it; gates (B,S,n),
/// h (B,H) before the first.
template <class Next>
Tensor over_steps(const Tensor& gates, Tensor h, const Next& next) {
    const Shape part = gates.part_shape();
    std::vector<Tensor> states;
    for (int64_t s = 0; s < part[1]; ++s) {
        h = next(reshape(slice(gates, 1, s, s + 1), {part[0], part[2]}), h);
        states.push_back(reshape(h, {part[0], 1, h.part_shape().back()}));
    }
    return concat(states, 1);
}

}  // namespace eggroll::nn
