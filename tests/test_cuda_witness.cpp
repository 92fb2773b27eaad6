// SPDX-License-Identifier: MIT
// The device's noise against NVIDIA's own: cuRAND's Philox and the compiler's square root.
#ifdef EGGROLL_TEST_CUDA

#include "core/backend.h"
#include "tests/backend_array.h"
#include "tests/cases.h"
#include "tests/cuda_witness.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <random>

using namespace eggroll;
using namespace eggroll::test;

namespace {

void check_stream(const NoiseStream& stream, uint32_t first, int64_t blocks) {
    CAPTURE(stream.seed);
    CAPTURE(stream.parameter);
    CAPTURE(stream.pair);
    CAPTURE(stream.generation);
    CAPTURE(first);
    const detail::Backend& backend = detail::cuda_backend(0);
    const auto n = static_cast<size_t>(4 * blocks);
    BackendArray<uint32_t> words(backend, n);
    BackendArray<float> normals(backend, n);
    backend.fill_words(stream, uint64_t{4} * first, words.data(), 4 * blocks);
    backend.fill_normal(stream, uint64_t{4} * first, normals.data(), 4 * blocks);
    const CurandStream want = curand_stream(stream, first, blocks);
    CHECK(words.host() == want.words);
    float largest = 0;
    const std::vector<float> got = normals.host();
    for (size_t i = 0; i < n; ++i) {
        largest = std::max(largest, std::fabs(got[i] - want.normals[i]));
    }
    // cuRAND's logarithm, sine and cosine are approximate: some units in the last place of radii up
    // to 6.7.
    CHECK(largest <= 1e-5f);
}

}  // namespace

TEST_CASE("cuda: words and normals are cuRAND's" * doctest::skip(!on_cuda())) {
    constexpr uint32_t kMost = 0xffffffffu, kParameters = 1u << 30;
    check_stream({}, 0, 256);
    check_stream({.seed = 42}, 0, 256);
    check_stream({.seed = 1}, kMost - 99, 100);
    check_stream({~uint64_t{0}, kParameters - 1, kMost, kMost}, kMost - 99, 100);
    check_stream({uint64_t{1} << 32, 0, 0, kMost}, 0, 100);
    std::mt19937_64 any(1);
    for (int i = 0; i < 40; ++i) {
        const uint64_t seed = any();
        const auto parameter = static_cast<uint32_t>(any() % kParameters);
        const auto pair = static_cast<uint32_t>(any()), generation = static_cast<uint32_t>(any());
        check_stream({seed, parameter, pair, generation},
                     static_cast<uint32_t>(any() % (kMost - 100)), 33);
        // Small numbers, as they are really used.
        check_stream({seed % 100, parameter % 100, pair % 10000, generation % 1000},
                     static_cast<uint32_t>(any() % 10000), 33);
    }
}

namespace {

/// The domain of the noise's square root: 0, and what it promises to take.
constexpr uint32_t kSmallestRoot = std::bit_cast<uint32_t>(0x1p-100f),
                   kLargestRoot = std::bit_cast<uint32_t>(64.0f);

}  // namespace

TEST_CASE("cuda: the noise's square root is the compiler's" * doctest::skip(!on_cuda())) {
    CHECK(other_roots(0, 0, 1) == 0);
    CHECK(other_roots(kSmallestRoot, kLargestRoot, 4099) == 0);
    CHECK(other_roots(std::bit_cast<uint32_t>(1.0f), std::bit_cast<uint32_t>(4.0f), 127) == 0);
}

TEST_CASE("the noise's square root is the compiler's for every float on the device [slow]" *
          doctest::skip(!on_cuda())) {
    CHECK(other_roots(kSmallestRoot, kLargestRoot, 1) == 0);
}

#endif
