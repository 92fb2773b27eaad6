// SPDX-License-Identifier: MIT
#pragma once

#include <eggroll/module.h>

namespace eggroll::nn {

/// The largest of each window of a channel: x (...,C,H,W) -> (...,C,Ho,Wo). Windows lie side by
/// side unless a stride says otherwise. Padding, at most half the kernel, is never the largest.
class EGGROLL_API MaxPool2d : public Module {
public:
    /// `MaxPool2d(2)`, `MaxPool2d(3, {.stride = 2, .padding = 1})`.
    explicit MaxPool2d(Size2 kernel) : MaxPool2d(kernel, {.stride = kernel}) {}
    MaxPool2d(Size2 kernel, const Sliding& sliding);

    Tensor forward(const Tensor& x, const View& v) const override;
    std::unique_ptr<Module> clone() const override;

private:
    Size2 kernel_;
    Sliding sliding_;
};

/// The mean of each window, likewise; padding counts as zeros, as in PyTorch by default.
class EGGROLL_API AvgPool2d : public Module {
public:
    explicit AvgPool2d(Size2 kernel) : AvgPool2d(kernel, {.stride = kernel}) {}
    AvgPool2d(Size2 kernel, const Sliding& sliding);

    Tensor forward(const Tensor& x, const View& v) const override;
    std::unique_ptr<Module> clone() const override;

private:
    Size2 kernel_;
    Sliding sliding_;
};

}  // namespace eggroll::nn
