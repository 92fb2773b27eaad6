// SPDX-License-Identifier: MIT
#include <eggroll/init.h>

#include <cmath>

namespace eggroll::nn::init {

namespace {

int64_t columns(const Tensor& value) {
    return value.shape().empty() ? 1 : value.size() / value.dim(0);
}

void fill_uniform(Tensor& value, const NoiseStream& stream, float bound) {
    std::vector<uint32_t> words(static_cast<size_t>(value.size()));
    fill_words(stream, 0, words);
    const std::span<float> out = value.data();
    for (size_t i = 0; i < words.size(); ++i) {
        const float unit = static_cast<float>(words[i] >> 8) * 0x1p-24f;  // exact, in [0,1)
        out[i] = (2.0f * unit - 1.0f) * bound;
    }
}

void fill_scaled_normal(Tensor& value, const NoiseStream& stream, float std, float mean) {
    fill_normal(stream, 0, value.data());
    for (float& x : value.data()) x = x * std + mean;
}

}  // namespace

Initializer constant(float value) {
    return [value](Tensor& x, const NoiseStream&) {
        for (float& element : x.data()) element = value;
    };
}

Initializer zeros() {
    return constant(0.0f);
}

Initializer ones() {
    return constant(1.0f);
}

Initializer uniform(float bound) {
    return [bound](Tensor& x, const NoiseStream& s) { fill_uniform(x, s, bound); };
}

Initializer normal(float std, float mean) {
    return [=](Tensor& x, const NoiseStream& s) { fill_scaled_normal(x, s, std, mean); };
}

Initializer fan_in_uniform(int64_t fan_in) {
    return uniform(1.0f / std::sqrt(static_cast<float>(fan_in)));
}

Initializer kaiming_normal(float gain) {
    return [gain](Tensor& x, const NoiseStream& s) {
        fill_scaled_normal(x, s, gain / std::sqrt(static_cast<float>(columns(x))), 0.0f);
    };
}

Initializer xavier_uniform(float gain) {
    return [gain](Tensor& x, const NoiseStream& s) {
        const auto fans = static_cast<float>(columns(x) + (x.shape().empty() ? 1 : x.dim(0)));
        fill_uniform(x, s, gain * std::sqrt(6.0f / fans));
    };
}

}  // namespace eggroll::nn::init
