// SPDX-License-Identifier: MIT
#pragma once

// The arithmetic of the noise, one text for every backend. The host compiles it with float and
// uint32_t (the scalar reference), cpu/ with vectors of them, nvcc with float on the device. All of
// them give the same bits, because
//  - it is written in named operations that IEEE 754 rounds exactly (round to nearest, ties to
//    even): `mul_rn`, `fma_rn`, ... A vector type joins in by overloading them;
//  - no operation meets a denormal, as operand or as result, so flushing them changes nothing;
//  - no `mul_rn` feeds an `add_rn` or `sub_rn`, which a compiler might contract. Translation units
//    that include this file are compiled with -ffp-contract=off all the same, and never with
//    -ffast-math.
// docs/noise.md derives the method and states its errors.
//
// Everything has internal linkage and is always inlined: the file is compiled several times into
// one library with different -m flags, and no copy may be linked in place of another.

#include <cstdint>

#ifdef __FAST_MATH__
#error "the noise needs IEEE arithmetic: compile this file without -ffast-math"
#endif

#ifdef __CUDACC__
#define EGGROLL_HD __host__ __device__
#else
#define EGGROLL_HD
#endif
#define EGGROLL_NOISE_FN EGGROLL_HD static inline __attribute__((always_inline))

namespace eggroll::detail {

// --- Philox4x32-10: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3",
//     SC 2011. --------------------------------------------------------------------------------

inline constexpr int kPhiloxRounds = 10;
inline constexpr uint32_t kPhiloxMul0 = 0xD2511F53u;
inline constexpr uint32_t kPhiloxMul1 = 0xCD9E8D57u;
inline constexpr uint32_t kPhiloxWeyl0 = 0x9E3779B9u;
inline constexpr uint32_t kPhiloxWeyl1 = 0xBB67AE85u;

/// Both words of a product.
EGGROLL_NOISE_FN void multiply_wide(uint32_t a, uint32_t b, uint32_t& high, uint32_t& low) {
#ifdef __CUDA_ARCH__
    high = __umulhi(a, b);  // one instruction forms both; from a 64-bit product it also adds zeros
    low = a * b;
#else
    const uint64_t product = static_cast<uint64_t>(a) * b;
    high = static_cast<uint32_t>(product >> 32);
    low = static_cast<uint32_t>(product);
#endif
}

/// Replaces the counter words c by the four random words of (c, key).
EGGROLL_NOISE_FN void philox_words(uint32_t c[4], uint32_t key0, uint32_t key1) {
    for (int round = 0; round < kPhiloxRounds; ++round) {
        uint32_t high0, low0, high1, low1;
        multiply_wide(kPhiloxMul0, c[0], high0, low0);
        multiply_wide(kPhiloxMul1, c[2], high1, low1);
        c[0] = high1 ^ c[1] ^ key0;
        c[1] = low1;
        c[2] = high0 ^ c[3] ^ key1;
        c[3] = low0;
        key0 += kPhiloxWeyl0;
        key1 += kPhiloxWeyl1;
    }
}

/// The four words of one block of a stream: key = seed, counter = (block, parameter, pair, t).
EGGROLL_NOISE_FN void block_words(uint64_t seed, uint32_t block, uint32_t parameter, uint32_t pair,
                                  uint32_t generation, uint32_t words[4]) {
    words[0] = block;
    words[1] = parameter;
    words[2] = pair;
    words[3] = generation;
    philox_words(words, static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32));
}

// --- The named operations on one number ---------------------------------------------------------

#ifdef __CUDA_ARCH__
EGGROLL_NOISE_FN float mul_rn(float a, float b) {
    return __fmul_rn(a, b);
}
EGGROLL_NOISE_FN float add_rn(float a, float b) {
    return __fadd_rn(a, b);
}
EGGROLL_NOISE_FN float sub_rn(float a, float b) {
    return __fsub_rn(a, b);
}
EGGROLL_NOISE_FN float fma_rn(float a, float b, float c) {
    return __fmaf_rn(a, b, c);
}
/// Of +0 and of numbers from 2^-100: __fsqrt_rn's own steps, without its branch for all others.
EGGROLL_NOISE_FN float sqrt_rn(float a) {
    float r;
    asm("rsqrt.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(fmaxf(a, 0x1p-100f)));
    const float root = __fmul_rn(a, r), half = __fmul_rn(r, 0.5f);
    return __fmaf_rn(__fmaf_rn(-root, root, a), half, root);
}
EGGROLL_NOISE_FN float uint_to_float_rn(uint32_t a) {
    return __uint2float_rn(a);
}
EGGROLL_NOISE_FN float int_to_float_rn(uint32_t a) {
    return __int2float_rn(static_cast<int32_t>(a));
}
EGGROLL_NOISE_FN uint32_t as_bits(float a) {
    return __float_as_uint(a);
}
EGGROLL_NOISE_FN float as_float(uint32_t a) {
    return __uint_as_float(a);
}
#else
static_assert(__FLT_EVAL_METHOD__ == 0, "float operations must be rounded to float");
EGGROLL_NOISE_FN float mul_rn(float a, float b) {
    return a * b;
}
EGGROLL_NOISE_FN float add_rn(float a, float b) {
    return a + b;
}
EGGROLL_NOISE_FN float sub_rn(float a, float b) {
    return a - b;
}
EGGROLL_NOISE_FN float fma_rn(float a, float b, float c) {
    return __builtin_fmaf(a, b, c);
}
EGGROLL_NOISE_FN float sqrt_rn(float a) {
    return __builtin_sqrtf(a);
}
EGGROLL_NOISE_FN float uint_to_float_rn(uint32_t a) {
    return static_cast<float>(a);
}
/// Of the two's complement number in `a`.
EGGROLL_NOISE_FN float int_to_float_rn(uint32_t a) {
    return static_cast<float>(static_cast<int32_t>(a));
}
EGGROLL_NOISE_FN uint32_t as_bits(float a) {
    return __builtin_bit_cast(uint32_t, a);
}
EGGROLL_NOISE_FN float as_float(uint32_t a) {
    return __builtin_bit_cast(float, a);
}
#endif

/// x, its sign turned over where the top bit of s is set.
EGGROLL_NOISE_FN float flip_sign(float x, uint32_t s) {
    return as_float(as_bits(x) ^ (s & 0x80000000u));
}
/// Exchanges a and b where the lowest bit of q is set.
EGGROLL_NOISE_FN void swap_if_odd(uint32_t q, float& a, float& b) {
    const float x = (q & 1) != 0 ? b : a;
    b = (q & 1) != 0 ? a : b;
    a = x;
}

// --- Box-Muller -----------------------------------------------------------------------------
// Real and Bits are float and uint32_t, or vectors of as many of them.

// Coefficients: scripts/fit_noise_polynomials.py.
// -2 ln(1 - h/2) = h + h^2 Q(h), relative error 0.515 * 2^-24
inline constexpr float kLog0 = 0x1.fffffap-3f;   // 0.249999955
inline constexpr float kLog1 = 0x1.5556f2p-4f;   // 0.0833348706
inline constexpr float kLog2 = 0x1.00049cp-5f;   // 0.0312521979
inline constexpr float kLog3 = 0x1.98d2e8p-7f;   // 0.0124763139
inline constexpr float kLog4 = 0x1.535d88p-8f;   // 0.00517830439
inline constexpr float kLog5 = 0x1.3185a6p-9f;   // 0.00233094837
inline constexpr float kLog6 = 0x1.25055p-10f;   // 0.00111778546
inline constexpr float kLog7 = 0x1.65c6d8p-12f;  // 0.000341202482

// sin(2 pi r) = r S(r^2), |r| <= 1/8, relative error 0.502 * 2^-24
inline constexpr float kSin0 = 0x1.921fb6p2f;   // 6.28318548
inline constexpr float kSin1 = -0x1.4abbc2p5f;  // -41.3416786
inline constexpr float kSin2 = 0x1.465e4p6f;    // 81.592041
inline constexpr float kSin3 = -0x1.2d9302p6f;  // -75.3935623

// cos(2 pi r) = 1 + r^2 C(r^2), |r| <= 1/8, relative error 0.032 * 2^-24
inline constexpr float kCos0 = -0x1.3bd3ccp4f;  // -19.7392082
inline constexpr float kCos1 = 0x1.03c1d6p6f;   // 64.9392929
inline constexpr float kCos2 = -0x1.55c648p6f;  // -85.443634
inline constexpr float kCos3 = 0x1.d9d50cp5f;   // 59.2290268

// -2 ln 2 per unit of the exponent field, whose unit is 2^23
inline constexpr float kLogStep = -0x1.62e43p-23f;  // relative error 0.046 * 2^-24

/// (w + 1/2) 2^-32 in float: from 2^-33 to 1.
template <class Real, class Bits>
EGGROLL_NOISE_FN Real unit_interval(Bits w) {
    return fma_rn(uint_to_float_rn(w), Real(0x1p-32f), Real(0x1p-33f));
}

/// -2 ln u for u in [2^-33, 1]; +0 at 1, else at least 2^-23.
template <class Real>
EGGROLL_NOISE_FN Real minus_two_log(Real u) {
    // u = m 2^k with m in [sqrt(1/2), sqrt(2)); e is k in the place of the exponent field.
    const auto bits = as_bits(u);
    const auto e = (bits - 0x3F3504F3u) & 0xFF800000u;
    const Real h = fma_rn(as_float(bits - e), Real(-2.0f), Real(2.0f));  // exact
    Real q = fma_rn(h, Real(kLog7), Real(kLog6));
    q = fma_rn(h, q, Real(kLog5));
    q = fma_rn(h, q, Real(kLog4));
    q = fma_rn(h, q, Real(kLog3));
    q = fma_rn(h, q, Real(kLog2));
    q = fma_rn(h, q, Real(kLog1));
    q = fma_rn(h, q, Real(kLog0));
    return fma_rn(mul_rn(h, h), q, fma_rn(int_to_float_rn(e), Real(kLogStep), h));
}

/// sin and cos of 2 pi t for t in [2^-33, 1].
template <class Real>
EGGROLL_NOISE_FN void sincos_turns(Real t, Real& sine, Real& cosine) {
    // t = q/4 + r with q the nearest integer to 4t, which adding 1.5 * 2^23 leaves in the low bits.
    const Real shifted = fma_rn(t, Real(4.0f), Real(0x1.8p23f));
    const auto q = as_bits(shifted);
    const Real r = fma_rn(sub_rn(shifted, Real(0x1.8p23f)), Real(-0.25f), t);  // exact
    const Real z = mul_rn(r, r);
    Real s = fma_rn(z, Real(kSin3), Real(kSin2));
    s = fma_rn(z, s, Real(kSin1));
    s = fma_rn(z, s, Real(kSin0));
    s = mul_rn(r, s);
    Real c = fma_rn(z, Real(kCos3), Real(kCos2));
    c = fma_rn(z, c, Real(kCos1));
    c = fma_rn(z, c, Real(kCos0));
    c = fma_rn(z, c, Real(1.0f));
    swap_if_odd(q, s, c);
    sine = flip_sign(s, q << 30);
    cosine = flip_sign(c, (q + 1u) << 30);
}

/// Two words -> two normals, in cuRAND's arrangement: n0 the sine's, n1 the cosine's.
template <class Real, class Bits>
EGGROLL_NOISE_FN void box_muller(Bits w0, Bits w1, Real& n0, Real& n1) {
    const Real radius = sqrt_rn(minus_two_log(unit_interval<Real>(w0)));
    Real sine, cosine;
    sincos_turns(unit_interval<Real>(w1), sine, cosine);
    n0 = mul_rn(radius, sine);
    n1 = mul_rn(radius, cosine);
}

/// The four normals of a block from its words.
EGGROLL_NOISE_FN void normal4(const uint32_t words[4], float out[4]) {
    box_muller(words[0], words[1], out[0], out[1]);
    box_muller(words[2], words[3], out[2], out[3]);
}

/// Elements of one stream: 2³² blocks of four.
inline constexpr uint64_t kStreamElements = uint64_t{4} << 32;

/// Where A (O,r) begins in a matrix's stream: after B (I,r), on a block.
EGGROLL_NOISE_FN uint64_t offset_of_a(int64_t inputs, int64_t rank) {
    return (static_cast<uint64_t>(inputs) * static_cast<uint64_t>(rank) + 3) / 4 * 4;
}

// --- Other laws ---------------------------------------------------------------------------------

/// Signs of one block.
inline constexpr uint64_t kBlockSigns = 128;

/// Where the signs of A (O,r) begin, after those of B (I,r), on a block.
EGGROLL_NOISE_FN uint64_t offset_of_signs(int64_t inputs, int64_t rank) {
    return (static_cast<uint64_t>(inputs) * static_cast<uint64_t>(rank) + kBlockSigns - 1) /
           kBlockSigns * kBlockSigns;
}

/// Sign e is bit e mod 32 of word e / 32: +1 for 0, -1 for 1.
EGGROLL_NOISE_FN float sign_of_bit(uint32_t word, uint32_t bit) {
    return as_float(0x3F800000u | (word >> (bit % 32) & 1u) << 31);
}

/// Where the places of sparse noise begin in its stream, two words each, on a block after the
/// values.
EGGROLL_NOISE_FN uint64_t offset_of_places(int64_t entries) {
    return (static_cast<uint64_t>(entries) + 3) / 4 * 4;
}

/// The place in 0..n-1 that two words mean: floor((w0 + w1 2^32) n / 2^64).
EGGROLL_NOISE_FN uint64_t place_of(uint32_t w0, uint32_t w1, uint64_t n) {
    const uint64_t low = n & 0xFFFFFFFFu, high = n >> 32;
    const uint64_t a = w0 * low, b = w1 * low, c = w0 * high, d = w1 * high;
    const uint64_t middle = (a >> 32) + (b & 0xFFFFFFFFu) + (c & 0xFFFFFFFFu);
    return d + (b >> 32) + (c >> 32) + (middle >> 32);
}

}  // namespace eggroll::detail
