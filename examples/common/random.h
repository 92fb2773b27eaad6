// SPDX-License-Identifier: MIT
#pragma once

#include <eggroll/noise.h>

#include <array>
#include <cstdint>
#include <utility>
#include <vector>

namespace examples {

/// Uniform draws for data, the same on every machine. They come from the library's generator, from
/// streams that no run uses: those of the initial weights' generation with a pair above 0.
class Random {
public:
    explicit Random(uint64_t seed, uint32_t stream = 0)
        : stream_{.seed = seed, .pair = stream + 1, .generation = eggroll::kInitGeneration} {}

    uint32_t word() {
        if (drawn_ % words_.size() == 0) eggroll::fill_words(stream_, drawn_, words_);
        return words_[drawn_++ % words_.size()];
    }
    /// 0..n-1.
    uint32_t below(uint32_t n) { return static_cast<uint32_t>(uint64_t{word()} * n >> 32); }
    /// [low, high).
    float uniform(float low, float high) {
        return low + (high - low) * static_cast<float>(word() >> 8) * 0x1p-24f;
    }
    /// Fisher and Yates.
    void shuffle(std::vector<uint32_t>& values) {
        for (auto i = static_cast<uint32_t>(values.size()); i > 1; --i) {
            std::swap(values[i - 1], values[below(i)]);
        }
    }

private:
    eggroll::NoiseStream stream_;
    uint64_t drawn_ = 0;
    std::array<uint32_t, 1024> words_;
};

}  // namespace examples
