// SPDX-License-Identifier: MIT

#include "core/noise_math.h"
#include "cpu/kernel_set.h"

#include <doctest/doctest.h>
#include <eggroll/error.h>
#include <eggroll/noise.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>
#include <span>
#include <vector>

#if __has_include(<Random123/philox.h>)
#include <Random123/philox.h>
#undef philox4x32  // its shorthand, a macro
#define EGGROLL_HAVE_RANDOM123
#endif
#ifdef __SSE__
#include <xmmintrin.h>
#endif

// Left out of a normal run (-tce='*[slow]*'): the literal 2^32 words, a minute or two with AVX-512.
// The others take one to three seconds in all with AVX2 or AVX-512, ten without. All seeds are
// fixed, so a statistical bound either holds for good or shows a change.

using namespace eggroll;

namespace {

constexpr uint64_t kLast = uint64_t{1} << 34;  // elements of a stream

const NoiseStream kStreams[] = {
    {},
    {42, 0, 3, 7},
    {0x0123456789ABCDEF, 12, 3456, 789},
    {0xFFFFFFFFFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, kInitGeneration},
};

/// The kernels of every instruction set that this machine can run.
std::vector<const cpu::KernelSet*> runnable_kernels() {
    std::vector<const cpu::KernelSet*> sets;
    for (const cpu::KernelSet* set : cpu::kernel_sets()) {
        if (cpu::missing_features(*set).empty()) sets.push_back(set);
    }
    return sets;
}

// --- References ---------------------------------------------------------------------------------

uint32_t reference_word(const NoiseStream& s, uint64_t element) {
    uint32_t words[4];
    detail::block_words(s.seed, static_cast<uint32_t>(element / 4), s.parameter, s.pair,
                        s.generation, words);
    return words[element % 4];
}

float reference_normal(const NoiseStream& s, uint64_t element) {
    uint32_t words[4];
    float normals[4];
    detail::block_words(s.seed, static_cast<uint32_t>(element / 4), s.parameter, s.pair,
                        s.generation, words);
    detail::normal4(words, normals);
    return normals[element % 4];
}

struct SinCos {
    double sine, cosine;
};

/// sin and cos of 2 pi t to double accuracy, also next to their zeros.
SinCos exact_sincos(float t) {
    const double q = std::nearbyint(4.0 * t);
    const double angle = 2 * std::numbers::pi * (t - q / 4);  // the difference is exact
    const double s = std::sin(angle), c = std::cos(angle);
    switch (static_cast<int>(q) % 4) {
        case 0:
            return {s, c};
        case 1:
            return {c, -s};
        case 2:
            return {-s, -c};
        default:
            return {-c, s};
    }
}

/// The contract's u or t of a word.
float unit(uint32_t word) {
    return std::fma(static_cast<float>(word), 0x1p-32f, 0x1p-33f);
}

/// The contract's formula in double: element 0 (sine) or 1 (cosine) of a pair of words.
double exact_normal(uint32_t w0, uint32_t w1, int element) {
    const SinCos sc = exact_sincos(unit(w1));
    return std::sqrt(-2 * std::log(static_cast<double>(unit(w0)))) *
           (element == 0 ? sc.sine : sc.cosine);
}

/// |x - exact| / |exact| in units of 2^-24; a zero must be met exactly.
double relative_error(double x, double exact) {
    if (exact == 0) return x == 0 ? 0 : 1e30;
    return std::abs(x - exact) / std::abs(exact) * 0x1p24;
}

/// Calls function(w) with one word for every value that float(w) can take. The transform sees a
/// word through that conversion only, so these 2^26 + 2^24 + 1 words stand for all 2^32.
template <class Function>
void for_distinct_words(uint32_t step, Function function) {
    for (uint32_t w = 0; w < 1u << 24; w += step) function(w);
    for (int shift = 1; shift <= 8; ++shift) {
        for (uint32_t m = 1u << 23; m < 1u << 24; m += step) function(m << shift);
    }
    function(0xFFFFFFFFu);
}

uint64_t fnv1a(const void* data, size_t bytes) {
    uint64_t hash = 0xCBF29CE484222325;
    for (size_t i = 0; i < bytes; ++i) {
        hash = (hash ^ static_cast<const unsigned char*>(data)[i]) * 0x100000001B3;
    }
    return hash;
}

// --- Statistics ---------------------------------------------------------------------------------

struct Moments {
    double mean = 0, variance = 0, skewness = 0, kurtosis = 0;
};

Moments moments(const std::vector<float>& x) {
    const double n = static_cast<double>(x.size());
    double mean = 0, m2 = 0, m3 = 0, m4 = 0;
    for (float v : x) mean += v / n;
    for (float v : x) {
        const double d = v - mean, d2 = d * d;
        m2 += d2 / n;
        m3 += d2 * d / n;
        m4 += d2 * d2 / n;
    }
    return {mean, m2, m3 / std::pow(m2, 1.5), m4 / (m2 * m2)};
}

/// Moments of a standard normal sample within four standard errors, and sqrt(n) times the distance
/// of Kolmogorov and Smirnov below 1.95, which chance exceeds once in a thousand.
void check_standard_normal(std::vector<float> x) {
    const double n = static_cast<double>(x.size());
    const Moments m = moments(x);
    CHECK(std::abs(m.mean) < 4 * std::sqrt(1 / n));
    CHECK(std::abs(m.variance - 1) < 4 * std::sqrt(2 / n));
    CHECK(std::abs(m.skewness) < 4 * std::sqrt(6 / n));
    CHECK(std::abs(m.kurtosis - 3) < 4 * std::sqrt(24 / n));
    std::sort(x.begin(), x.end());
    double distance = 0;
    for (size_t i = 0; i < x.size(); ++i) {
        const double cdf = 0.5 * std::erfc(-x[i] / std::numbers::sqrt2);
        distance = std::max(
            {distance, cdf - static_cast<double>(i) / n, static_cast<double>(i + 1) / n - cdf});
    }
    CHECK(std::sqrt(n) * distance < 1.95);
}

/// Both samples of standard normals, and their squares, are uncorrelated within four standard
/// errors.
void check_uncorrelated(const float* x, const float* y, size_t count) {
    double xy = 0, squares = 0;
    for (size_t i = 0; i < count; ++i) {
        xy += double(x[i]) * y[i];
        squares += (double(x[i]) * x[i] - 1) * (double(y[i]) * y[i] - 1);
    }
    const double root = std::sqrt(static_cast<double>(count));
    CHECK(std::abs(xy / root) < 4);
    CHECK(std::abs(squares / root / 2) < 4);  // x^2 - 1 has variance 2
}

}  // namespace

// --- Words --------------------------------------------------------------------------------------

TEST_CASE("philox4x32 gives the published known answers") {
    using Words = std::array<uint32_t, 4>;
    const uint32_t ones = 0xFFFFFFFF;
    CHECK(philox4x32({0, 0, 0, 0}, {0, 0}) ==
          Words{0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8});
    CHECK(philox4x32({ones, ones, ones, ones}, {ones, ones}) ==
          Words{0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD});
    CHECK(philox4x32({0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344}, {0xA4093822, 0x299F31D0}) ==
          Words{0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1});
}

#ifdef EGGROLL_HAVE_RANDOM123
TEST_CASE("philox4x32 equals Random123") {
    int64_t different = 0;
    std::array<uint32_t, 4> counter = {1, 2, 3, 4};
    std::array<uint32_t, 2> key = {5, 6};
    for (int i = 0; i < 200000; ++i) {
        const r123::Philox4x32::ctr_type c = {{counter[0], counter[1], counter[2], counter[3]}};
        const r123::Philox4x32::key_type k = {{key[0], key[1]}};
        const auto expected = r123::Philox4x32()(c, k);
        const auto words = philox4x32(counter, key);
        for (size_t w = 0; w < 4; ++w) different += words[w] != expected[w];
        // On to an arbitrary counter and key, then to one with few bits set.
        counter = words;
        key = {words[0] ^ words[2], words[1] ^ words[3]};
        if (i % 3 == 0) counter = {1u << (i % 32), 0, 1u << (i % 29), 0};
        if (i % 5 == 0) key = {0, 1u << (i % 31)};
    }
    CHECK(different == 0);
}
#endif

TEST_CASE("an element is a word of the counter (block, parameter, pair, generation)") {
    int64_t different = 0;
    for (const NoiseStream& s : kStreams) {
        for (uint64_t first : {uint64_t{0}, uint64_t{5}, uint64_t{4000000001}, kLast - 100}) {
            std::vector<uint32_t> words(100);
            fill_words(s, first, words);
            for (uint64_t i = 0; i < words.size(); ++i) {
                const uint64_t e = first + i;
                const auto block = philox4x32(
                    {static_cast<uint32_t>(e / 4), s.parameter, s.pair, s.generation},
                    {static_cast<uint32_t>(s.seed), static_cast<uint32_t>(s.seed >> 32)});
                different += words[i] != block[e % 4];
            }
        }
    }
    CHECK(different == 0);
}

// --- The vector kernels against the scalar text -----------------------------------------------

namespace {

void check_fills(const detail::Backend& kernels) {
    constexpr int kMost = 300, kGuard = 32;
    const float guard = -123.0f;
    const uint32_t word_guard = 0xDEADBEEF;
    int64_t different = 0, overwritten = 0;
    for (const NoiseStream& s : kStreams) {
        for (uint64_t first : {uint64_t{0}, uint64_t{1}, uint64_t{2}, uint64_t{3}, uint64_t{64},
                               uint64_t{1000003}, uint64_t{17179868000}, kLast - kMost}) {
            float normals[kMost];
            uint32_t words[kMost];
            for (int i = 0; i < kMost; ++i) {
                normals[i] = reference_normal(s, first + static_cast<uint64_t>(i));
                words[i] = reference_word(s, first + static_cast<uint64_t>(i));
            }
            for (int n = 0; n <= kMost; ++n) {
                float out[kMost + 2 * kGuard];
                uint32_t word_out[kMost + 2 * kGuard];
                std::fill(std::begin(out), std::end(out), guard);
                std::fill(std::begin(word_out), std::end(word_out), word_guard);
                kernels.fill_normal(s, first, out + kGuard, n);
                kernels.fill_words(s, first, word_out + kGuard, n);
                const size_t bytes = static_cast<size_t>(n) * 4;
                different += std::memcmp(out + kGuard, normals, bytes) != 0;
                different += std::memcmp(word_out + kGuard, words, bytes) != 0;
                for (int i = 0; i < kMost + 2 * kGuard; ++i) {
                    if (i >= kGuard && i < kGuard + n) continue;
                    overwritten += out[i] != guard || word_out[i] != word_guard;
                }
            }
        }
    }
    CHECK(different == 0);
    CHECK(overwritten == 0);
}

}  // namespace

TEST_CASE("fills equal the scalar reference bit for bit and stay inside their range") {
    for (const cpu::KernelSet* set : runnable_kernels()) {
        CAPTURE(set->name);
        check_fills(cpu::backend_of(*set));
    }
}
TEST_CASE("a long fill equals the scalar reference") {
    std::vector<float> out(100001);
    fill_normal(kStreams[1], 7, out);
    int64_t different = 0;
    for (size_t i = 0; i < out.size(); ++i) {
        different += out[i] != reference_normal(kStreams[1], 7 + i);
    }
    CHECK(different == 0);
}

namespace {

void check_fills_of_many(const cpu::KernelSet& set) {
    const detail::Backend kernels = cpu::backend_of(set);
    const float guard = -123.0f;
    int64_t different = 0;
    for (uint32_t pairs : {0u, 1u, 2u, 3u, 7u, 33u, 130u}) {
        for (int64_t n :
             {0, 1, 2, 3, 4, 5, 7, 8, 10, 15, 16, 17, 31, 32, 33, 63, 64, 68, 131, 260}) {
            for (uint64_t first : {uint64_t{0}, uint64_t{1}, uint64_t{2}, uint64_t{3},
                                   uint64_t{1000006}, kLast - 260}) {
                NoiseStream s{99, 5, 0xFFFFFFFF - 129, 3};
                const int64_t stride = n + 3;
                const size_t size = static_cast<size_t>(stride) * pairs + 8;
                std::vector<float> many(size, guard), single(size, guard);
                set.fill_normal_many(s, pairs, first, n, many.data(), stride);
                for (uint32_t i = 0; i < pairs; ++i, ++s.pair) {
                    kernels.fill_normal(s, first, single.data() + stride * i, n);
                }
                different += many != single;
            }
        }
    }
    CHECK(different == 0);
}

}  // namespace

namespace {

void check_factors(const cpu::KernelSet& set) {
    const detail::Backend kernels = cpu::backend_of(set);
    const float guard = -123.0f;
    int64_t different = 0;
    for (int64_t rank : {1, 2, 3, 4, 5, 8, 17}) {
        for (int64_t n : {1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 33, 64, 100, 1030}) {
            for (uint32_t pairs : {1u, 3u}) {
                const NoiseStream base{5, 2, 77, 9};
                const uint64_t first = 4 * 1001;
                const int64_t stride = n + 5;
                std::vector<float> out(static_cast<size_t>(pairs * rank * stride), guard);
                std::vector<float> expected = out, rows(static_cast<size_t>(n * rank));
                set.fill_factors(base, pairs, first, n, rank, out.data(), stride);
                for (uint32_t i = 0; i < pairs; ++i) {
                    NoiseStream s = base;
                    s.pair += i;
                    kernels.fill_normal(s, first, rows.data(), n * rank);
                    for (int64_t e = 0; e < n * rank; ++e) {
                        const int64_t row = i * rank + e % rank;
                        expected[static_cast<size_t>(row * stride + e / rank)] =
                            rows[static_cast<size_t>(e)];
                    }
                }
                different += out != expected;
            }
        }
    }
    CHECK(different == 0);
}

}  // namespace

TEST_CASE("fill_factors are the transposed factors") {
    for (const cpu::KernelSet* set : runnable_kernels()) {
        CAPTURE(set->name);
        check_factors(*set);
    }
}

TEST_CASE("fill_normal_many equals single fills") {
    for (const cpu::KernelSet* set : runnable_kernels()) {
        CAPTURE(set->name);
        check_fills_of_many(*set);
    }
}

#ifdef __SSE__
namespace {

void check_denormals(const cpu::KernelSet& set) {
    const detail::Backend kernels = cpu::backend_of(set);
    std::vector<float> plain(40000), flushed(40000);
    std::vector<uint32_t> words(40000);
    // Small and large words, where the smallest intermediates are.
    for (uint32_t i = 0; i < words.size(); ++i) words[i] = i % 2 == 0 ? i / 8 : 0u - i / 8;
    std::vector<float> plain_stream(40000), flushed_stream(40000);
    const unsigned saved = _mm_getcsr();
    _mm_setcsr(saved & ~0x3Fu);  // no flag raised yet
    set.normals_from_words(words.data(), plain.data(), 40000);
    kernels.fill_normal(kStreams[2], 0, plain_stream.data(), 40000);
    const unsigned raised = _mm_getcsr() & 0x3F;
    _mm_setcsr(saved | 0x8040);  // flush results to zero, take denormal operands as zero
    set.normals_from_words(words.data(), flushed.data(), 40000);
    kernels.fill_normal(kStreams[2], 0, flushed_stream.data(), 40000);
    _mm_setcsr(saved);
    CHECK(std::memcmp(plain.data(), flushed.data(), plain.size() * sizeof(float)) == 0);
    CHECK(plain_stream == flushed_stream);
    CHECK((raised & 0x1F) == 0);  // invalid, denormal, division by zero, overflow, underflow
}

}  // namespace

TEST_CASE("no denormal is met: flushing them changes no bit") {
    for (const cpu::KernelSet* set : runnable_kernels()) {
        CAPTURE(set->name);
        check_denormals(*set);
    }
}
#endif

// --- Every word ---------------------------------------------------------------------------------

namespace {

/// Word pairs (w, w1) and (w0, w) through the vector kernel, all at once.
class Sweep {
public:
    void add(uint32_t w) {
        words_[size_++] = w;
        words_[size_++] = 0x1FFFFFFF;  // an eighth of a turn: sine and cosine equal
        words_[size_++] = 0;           // the largest radius
        words_[size_++] = w;
        if (size_ == kSize) flush();
    }

    void flush() {
        cpu::kernels_in_use().normals_from_words(words_, normals_, size_);
        float low = low_, high = high_;
        bool finite = true;
        for (int64_t i = 0; i < size_; ++i) {
            const float x = normals_[i];
            finite &= std::abs(x) <= 100.0f;  // false for NaN
            low = x < low ? x : low;
            high = x > high ? x : high;
        }
        low_ = low;
        high_ = high;
        finite_ = finite_ && finite;
        size_ = 0;
    }

    void check() {
        flush();
        CHECK(finite_);
        // sqrt(-2 ln 2^-33) = 6.7637057, reached by the sweep at quarter turns.
        CHECK(high_ == 6.76370573f);
        CHECK(low_ == -6.76370573f);
    }

private:
    static constexpr int64_t kSize = 4096;
    uint32_t words_[kSize];
    float normals_[kSize];
    int64_t size_ = 0;
    float low_ = 0, high_ = 0;
    bool finite_ = true;
};

/// The parts of the transform over every step-th distinct value of a word.
void check_parts(uint32_t step) {
    double radius = 0, sincos = 0;
    for_distinct_words(step, [&](uint32_t w) {
        const float u = detail::unit_interval<float>(w);
        const double exact = std::sqrt(-2 * std::log(static_cast<double>(unit(w))));
        const float r = detail::sqrt_rn(detail::minus_two_log(u));
        radius = std::max(radius, relative_error(r, exact));
        float sine, cosine;
        detail::sincos_turns(u, sine, cosine);
        const SinCos sc = exact_sincos(unit(w));
        sincos =
            std::max({sincos, relative_error(sine, sc.sine), relative_error(cosine, sc.cosine)});
    });
    MESSAGE("largest relative errors in 2^-24: radius " << radius << ", sine and cosine "
                                                        << sincos);
    // Measured over all words: 2.000 and 2.125.
    CHECK(radius < 2.01);
    CHECK(sincos < 2.13);
}

}  // namespace

TEST_CASE("normals are finite for every value of either word") {
    Sweep sweep;
    for_distinct_words(1, [&](uint32_t w) { sweep.add(w); });
    sweep.check();
}

TEST_CASE("normals are finite for each of the 2^32 values of either word [slow]") {
    Sweep sweep;
    uint32_t w = 0;
    do sweep.add(w);
    while (++w != 0);
    sweep.check();
}

TEST_CASE("radius, sine and cosine are accurate") {
    check_parts(61);
}
TEST_CASE("radius, sine and cosine are accurate for every word [slow]") {
    check_parts(1);
}

// --- Accuracy -----------------------------------------------------------------------------------

TEST_CASE("normals are within 5.2 * 2^-24 of the formula in double") {
    // The largest errors of radius (2.00) and sine or cosine (2.13), and half an ulp of the
    // product.
    double largest = 0;
    for (const NoiseStream& s : kStreams) {
        std::vector<float> normals(1 << 17);
        std::vector<uint32_t> words(1 << 17);
        fill_normal(s, 0, normals);
        fill_words(s, 0, words);
        for (size_t i = 0; i < words.size(); ++i) {
            const double exact =
                exact_normal(words[i / 2 * 2], words[i / 2 * 2 + 1], static_cast<int>(i % 2));
            largest = std::max(largest, relative_error(normals[i], exact));
        }
    }
    MESSAGE("largest relative error in 2^-24: " << largest);
    CHECK(largest < 5.2);
}

TEST_CASE("quarter turns are exact") {
    const uint32_t words[4] = {0, 0x40000000, 0, 0x80000000};
    float normals[4];
    detail::normal4(words, normals);
    CHECK(normals[0] == 6.76370573f);
    CHECK(normals[1] == 0.0f);
    CHECK(normals[2] == 0.0f);
    CHECK(normals[3] == -6.76370573f);
}

TEST_CASE("cuRAND's formula is within 1e-5") {
    // curand_normal4 forms the angle in radians in float; the rest here is double, to be a witness
    // for the arrangement and not for the last bits. The rounding of the angle (2^-22 at most)
    // times the radius is 1.6e-6, the library's own functions add a few ulps.
    const float turn = 2.3283064e-10f * 6.2831855f;
    double largest = 0;
    for (uint32_t pair = 0; pair < 64; ++pair) {
        const NoiseStream s{1234, 2, pair, 5};
        std::vector<float> normals(4096);
        std::vector<uint32_t> words(4096);
        fill_normal(s, 0, normals);
        fill_words(s, 0, words);
        for (size_t i = 0; i < words.size(); i += 2) {
            const float u =
                std::fma(static_cast<float>(words[i]), 2.3283064e-10f, 2.3283064e-10f / 2);
            const float v = std::fma(static_cast<float>(words[i + 1]), turn, turn / 2);
            const double radius = std::sqrt(-2 * std::log(static_cast<double>(u)));
            largest = std::max(largest, std::abs(radius * std::sin(double{v}) - normals[i]));
            largest = std::max(largest, std::abs(radius * std::cos(double{v}) - normals[i + 1]));
        }
    }
    MESSAGE("largest difference " << largest);
    CHECK(largest < 1e-5);
}

TEST_CASE("golden normals") {
    // Recipe: words of elements 0..7 from Random123's philox4x32x10 with the stream's key and
    // counter; u and t in float as the contract has them; logarithm, root, sine and cosine in
    // double; printed with nine digits.
    struct Golden {
        NoiseStream stream;
        double normals[8];
    };
    const Golden golden[] = {
        {{0x0, 0, 0, 0u},
         {-0.924662409, 0.991137821, -0.482068642, -0.617608956, 0.180825819, -0.15363818,
          0.197439709, 0.831735099}},
        {{0x2A, 0, 3, 7u},
         {0.110955554, 0.321567894, 0.545312842, 1.96884969, 0.948759438, 0.46164506, -0.159567309,
          0.218347982}},
        {{0x123456789ABCDEF, 12, 3456, 789u},
         {0.298222444, 0.17486348, -1.86873519, -1.61044594, 0.947999659, 0.534330546, 0.249978616,
          0.964690014}},
        {{0x134FDF5, 1, 0, 4294967295u},
         {0.529478951, -1.25231619, -0.470535151, -0.838297631, -0.588460029, -0.609144284,
          -1.42186367, 0.262897094}},
    };
    for (const Golden& g : golden) {
        float normals[8];
        fill_normal(g.stream, 0, normals);
        // The bound of the accuracy test, and half a unit of the ninth digit.
        for (int i = 0; i < 8; ++i) CHECK(relative_error(normals[i], g.normals[i]) < 5.3);
    }
}

TEST_CASE("the bits are those of noise version 1") {
    // FNV-1a of what this version gives, so that no compiler, flag or machine gives anything else.
    // A change here is a new kNoiseVersion.
    static_assert(kNoiseVersion == 1);
    std::vector<float> normals(1 << 16);
    fill_normal(kStreams[2], 0, normals);
    CHECK(fnv1a(normals.data(), normals.size() * sizeof(float)) == 0x0667F002CC6256A1);
}

// --- Laws ---------------------------------------------------------------------------------------

TEST_CASE("a stream is standard normal") {
    for (const NoiseStream& s : kStreams) {
        std::vector<float> x(1 << 18);
        fill_normal(s, 0, x);
        check_standard_normal(x);
    }
}

TEST_CASE("the heads of interleaved pairs and parameters are standard normal") {
    // As a run draws them: 13 elements of each of three parameters, pair after pair.
    constexpr uint32_t kPairs = 8192, kHead = 13, kParameters = 3;
    for (uint64_t seed : {uint64_t{0}, uint64_t{1}, uint64_t{2026}}) {
        std::vector<float> x(size_t{kPairs} * kParameters * kHead);
        for (uint32_t p = 0; p < kParameters; ++p) {
            cpu::kernels_in_use().fill_normal_many({seed, p, 0, 11}, kPairs, 0, kHead,
                                                   x.data() + p * kHead, kParameters * kHead);
        }
        check_standard_normal(x);
    }
}

TEST_CASE("neighbouring streams and elements are uncorrelated") {
    constexpr size_t kCount = 1 << 18;
    const NoiseStream base{7, 1, 10, 100};
    const NoiseStream others[] = {
        {8, 1, 10, 100},  // next seed
        {7, 2, 10, 100},  // next parameter
        {7, 1, 11, 100},  // next pair
        {7, 1, 10, 101},  // next generation
        {7, 10, 1, 100},  // parameter and pair exchanged
        {7, 1, 100, 10},  // pair and generation exchanged
        {7 | 1ull << 32, 1, 10, 100},
    };
    std::vector<float> x(kCount + 64), y(kCount);
    fill_normal(base, 0, x);
    for (const NoiseStream& s : others) {
        fill_normal(s, 0, y);
        check_uncorrelated(x.data(), y.data(), kCount);
    }
    for (int lag : {1, 2, 3, 4, 8, 16, 32, 64}) {
        check_uncorrelated(x.data(), x.data() + lag, kCount);
    }
    // Element 5 of pair after pair.
    std::vector<float> column(kCount + 1);
    cpu::kernels_in_use().fill_normal_many(base, kCount + 1, 5, 1, column.data(), 1);
    check_uncorrelated(column.data(), column.data() + 1, kCount);
}

TEST_CASE("entries of the low-rank product have variance 1 and kurtosis 3 + 6/r") {
    // One entry of A (3,r) B (5,r) transposed, over sqrt(r), of each of N streams. Given A it is
    // normal with variance |A|^2 / r, and |A|^2 is chi-squared with r degrees of freedom; so
    // E x^4 = 3 (r+2)/r = 3 + 6/r and E x^8 = 105 (r+2)(r+4)(r+6)/r^3. Bounds: four standard
    // errors.
    constexpr uint32_t kCount = 1 << 18;
    for (int r : {1, 2, 4}) {
        const int a_begin = (5 * r + 3) / 4 * 4, n = a_begin + 3 * r;
        std::vector<float> factors(size_t{kCount} * static_cast<size_t>(n));
        cpu::kernels_in_use().fill_normal_many({31, 4, 0, 0}, kCount, 0, n, factors.data(), n);
        double m1 = 0, m2 = 0, m4 = 0;
        for (uint32_t j = 0; j < kCount; ++j) {
            const float* b = factors.data() + size_t{j} * static_cast<size_t>(n);
            const float* a = b + a_begin;
            double x = 0;
            for (int k = 0; k < r; ++k) {
                x +=
                    double(a[static_cast<int>(j % 3) * r + k]) * b[static_cast<int>(j % 5) * r + k];
            }
            x /= std::sqrt(r);
            m1 += x / kCount;
            m2 += x * x / kCount;
            m4 += x * x * x * x / kCount;
        }
        const double e4 = 3 + 6.0 / r, e8 = 105.0 * (r + 2) * (r + 4) * (r + 6) / (r * r * r);
        CHECK(std::abs(m1) < 4 * std::sqrt(1.0 / kCount));
        CHECK(std::abs(m2 - 1) < 4 * std::sqrt((e4 - 1) / kCount));
        CHECK(std::abs(m4 - e4) < 4 * std::sqrt((e8 - e4 * e4) / kCount));
    }
}

// --- Errors -------------------------------------------------------------------------------------

TEST_CASE("a fill past element 2^34 is refused and writes nothing") {
    std::vector<float> normals(4, -1.0f);
    std::vector<uint32_t> words(4, 7);
    const NoiseStream s;
    CHECK_NOTHROW(fill_normal(s, kLast - 4, normals));
    CHECK_NOTHROW(fill_normal(s, kLast, std::span<float>()));
    CHECK_NOTHROW(fill_words(s, kLast - 4, words));
    normals.assign(4, -1.0f);
    CHECK_THROWS_WITH_AS(
        fill_normal(s, kLast - 3, normals),
        "[fill_normal] first + size is 17179869185 but a stream has 17179869184 elements", Error);
    CHECK_THROWS_WITH_AS(
        fill_words(s, kLast, words),
        "[fill_words] first + size is 17179869188 but a stream has 17179869184 elements", Error);
    CHECK_THROWS_AS(fill_normal(s, UINT64_MAX - 1, normals), Error);
    CHECK_THROWS_AS(fill_normal(s, kLast + 1, std::span<float>()), Error);
    CHECK(normals == std::vector<float>(4, -1.0f));
}
