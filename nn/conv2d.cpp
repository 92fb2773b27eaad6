// SPDX-License-Identifier: MIT
#include <eggroll/conv2d.h>

namespace eggroll::nn {

Conv2d::Conv2d(int64_t channels, int64_t outputs, Size2 kernel, const Conv2dOptions& options)
    : options_(options) {
    if (channels < 1 || outputs < 1 || kernel.rows < 1 || kernel.cols < 1) {
        throw Error("[nn::Conv2d] sizes must be positive but are channels " +
                    std::to_string(channels) + ", outputs " + std::to_string(outputs) +
                    ", kernel " + to_string({kernel.rows, kernel.cols}));
    }
    const Size2 stride = options.stride, padding = options.padding;
    if (stride.rows < 1 || stride.cols < 1 || padding.rows < 0 || padding.cols < 0) {
        throw Error("[nn::Conv2d] stride must be positive and padding not negative but they are " +
                    to_string({stride.rows, stride.cols}) + " and " +
                    to_string({padding.rows, padding.cols}));
    }
    const int64_t fan_in = channels * kernel.rows * kernel.cols;
    weight_ = register_parameter("weight", {outputs, channels, kernel.rows, kernel.cols},
                                 init::fan_in_uniform(fan_in), NoiseShape{outputs, fan_in});
    if (options.bias) bias_ = register_parameter("bias", {outputs}, init::fan_in_uniform(fan_in));
}

Tensor Conv2d::forward(const Tensor& x, const View& v) const {
    return forward_then(x, v, Act::none);
}

Tensor Conv2d::forward_then(const Tensor& x, const View& v, Act act) const {
    return conv2d(x, weight_, bias_, v, {options_.stride, options_.padding}, act);
}

std::unique_ptr<Module> Conv2d::clone() const {
    auto copy = std::make_unique<Conv2d>(weight_.dim(1), weight_.dim(0),
                                         Size2(weight_.dim(2), weight_.dim(3)), options_);
    copy->copy_from(*this);
    return copy;
}

}  // namespace eggroll::nn
