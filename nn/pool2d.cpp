// SPDX-License-Identifier: MIT
#include <eggroll/pool2d.h>

namespace eggroll::nn {

namespace {

void require_windows(const char* layer, const Size2& kernel, const Sliding& sliding) {
    const Size2 stride = sliding.stride, padding = sliding.padding;
    if (kernel.rows < 1 || kernel.cols < 1 || stride.rows < 1 || stride.cols < 1 ||
        padding.rows < 0 || padding.cols < 0 || 2 * padding.rows > kernel.rows ||
        2 * padding.cols > kernel.cols) {
        throw Error(std::string("[") + layer +
                    "] kernel and stride must be positive and padding at most half the kernel but "
                    "they are " +
                    to_string({kernel.rows, kernel.cols}) + ", " +
                    to_string({stride.rows, stride.cols}) + " and " +
                    to_string({padding.rows, padding.cols}));
    }
}

}  // namespace

MaxPool2d::MaxPool2d(Size2 kernel, const Sliding& sliding) : kernel_(kernel), sliding_(sliding) {
    require_windows("nn::MaxPool2d", kernel, sliding);
}

Tensor MaxPool2d::forward(const Tensor& x, const View&) const {
    return max_pool2d(x, kernel_, sliding_);
}

std::unique_ptr<Module> MaxPool2d::clone() const {
    return std::make_unique<MaxPool2d>(kernel_, sliding_);
}

AvgPool2d::AvgPool2d(Size2 kernel, const Sliding& sliding) : kernel_(kernel), sliding_(sliding) {
    require_windows("nn::AvgPool2d", kernel, sliding);
}

Tensor AvgPool2d::forward(const Tensor& x, const View&) const {
    return avg_pool2d(x, kernel_, sliding_);
}

std::unique_ptr<Module> AvgPool2d::clone() const {
    return std::make_unique<AvgPool2d>(kernel_, sliding_);
}

}  // namespace eggroll::nn
