// SPDX-License-Identifier: MIT
// The fused multiply-add of processors without the instruction, beside the C library's, which is
// rounded once by its standard.
#define EGGROLL_CPU_ISA under_test
#include "cpu/fma_sse2.h"

#include "core/noise_math.h"

#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

namespace {

float lane(float a, float b, float c) {
    float out[4];
    _mm_storeu_ps(
        out, eggroll::cpu_under_test::fma_sse2(_mm_set1_ps(a), _mm_set1_ps(b), _mm_set1_ps(c)));
    return out[3];
}

/// The same bits, or both NaN.
bool same(float a, float b) {
    return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b) || (a != a && b != b);
}

bool right(float a, float b, float c) {
    return same(lane(a, b, c), std::fmaf(a, b, c));
}

}  // namespace

TEST_CASE("fma: any bits") {
    // Words of the generator as floats: all exponents, denormals, infinities, NaN.
    int64_t wrong = 0;
    for (uint32_t block = 0; block < 1000000; ++block) {
        uint32_t words[4];
        eggroll::detail::block_words(1, block, 2, 3, 4, words);
        wrong += !right(std::bit_cast<float>(words[0]), std::bit_cast<float>(words[1]),
                        std::bit_cast<float>(words[2]));
    }
    CHECK(wrong == 0);
}

TEST_CASE("fma: products and sums of like size, where cancellation and ties are") {
    int64_t wrong = 0;
    for (uint32_t block = 0; block < 1000000; ++block) {
        uint32_t words[4];
        eggroll::detail::block_words(5, block, 6, 7, 8, words);
        const float a = std::bit_cast<float>(0x3F800000u | words[0] >> 9);
        const float b = std::bit_cast<float>(0x3F800000u | words[1] >> 9);
        // −a b up to a few ulps, or a number some way below or above it.
        const int shift = static_cast<int>(words[2] % 60) - 30;
        const auto near = static_cast<float>(-double{a} * double{b});
        const float c = words[3] % 2 == 0
                            ? std::bit_cast<float>(std::bit_cast<uint32_t>(near) + words[2] % 8)
                            : std::ldexp(words[3] % 4 == 1 ? near : b, shift);
        wrong += !right(a, b, c);
    }
    CHECK(wrong == 0);
}

TEST_CASE("fma: a sum just beside the middle of two floats is not rounded twice") {
    // a b lies exactly between two floats; c is far below the last bit of the double sum, so that
    // rounding to double first, and then to float to even, goes the wrong way for one sign of c.
    int64_t wrong = 0, twice_rounded = 0;
    for (int i = 0; i < 4096; ++i) {
        const float a = 1.0f + static_cast<float>(2 * i + 1) * 0x1p-12f;
        for (int j = 0; j < 64; ++j) {
            const float b =
                1.0f + static_cast<float>(2 * j + 1) * 0x1p-12f;  // a b: 24 bits and a half
            for (const float c : {0x1p-80f, -0x1p-80f, 0x1p-126f, -0x1p-149f, 0.0f}) {
                for (const float sign : {1.0f, -1.0f}) {
                    wrong += !right(sign * a, b, c);
                    const double sum = double{sign * a} * double{b} + double{c};
                    twice_rounded += !same(static_cast<float>(sum), std::fmaf(sign * a, b, c));
                }
            }
        }
    }
    CHECK(wrong == 0);
    CHECK(twice_rounded > 0);  // the cases are such cases
}

TEST_CASE("fma: the ends of the range") {
    constexpr float kMax = std::numeric_limits<float>::max(), kInf = INFINITY, kNan = NAN;
    const std::vector<float> values = {0.0f,      -0.0f,      1.0f,      -1.0f,
                                       0x1p-149f, -0x1p-149f, 0x1p-126f, 0x1.fffffcp-127f,
                                       0x1p-75f,  -0x1p-74f,  3.0f,      0x1.000002p0f,
                                       kMax,      -kMax,      0x1p127f,  kInf,
                                       -kInf,     kNan};
    for (const float a : values) {
        for (const float b : values) {
            for (const float c : values) {
                CAPTURE(a);
                CAPTURE(b);
                CAPTURE(c);
                CHECK(right(a, b, c));
            }
        }
    }
}
