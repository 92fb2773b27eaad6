// SPDX-License-Identifier: MIT
#pragma once

#include <emmintrin.h>

#include "cpu/isa.h"

// a b + c rounded once, on processors that have no instruction for it.

namespace eggroll::EGGROLL_CPU_NS {

/// Two lanes, still in double. The product is exact there; the sum is rounded to odd (Boldo and
/// Melquiond, "Emulation of FMA and correctly rounded sums", 2008), after which rounding to float
/// cannot go wrong.
static inline __m128d fma_to_odd(__m128d a, __m128d b, __m128d c) {
    const __m128d zero = _mm_setzero_pd();
    const __m128d p = _mm_mul_pd(a, b), s = _mm_add_pd(p, c);
    // What s leaves out (Knuth's two-sum): NaN, which compares false, where s is not finite.
    const __m128d v = _mm_sub_pd(s, p);
    const __m128d e = _mm_add_pd(_mm_sub_pd(p, _mm_sub_pd(s, v)), _mm_sub_pd(c, v));
    const __m128d below = _mm_cmplt_pd(e, zero), above = _mm_cmpgt_pd(e, zero);
    const __m128d inexact = _mm_or_pd(below, above);
    // The sum lies between s and its neighbour on the side of e: of the two, the one that is odd.
    const __m128d inwards = _mm_and_pd(inexact, _mm_xor_pd(below, _mm_cmplt_pd(s, zero)));
    __m128i bits = _mm_add_epi64(_mm_castpd_si128(s), _mm_castpd_si128(inwards));
    bits = _mm_or_si128(bits, _mm_srli_epi64(_mm_castpd_si128(inexact), 63));
    return _mm_castsi128_pd(bits);
}

static inline __m128 fma_sse2(__m128 a, __m128 b, __m128 c) {
    const auto upper = [](__m128 v) { return _mm_cvtps_pd(_mm_movehl_ps(v, v)); };
    const __m128d low = fma_to_odd(_mm_cvtps_pd(a), _mm_cvtps_pd(b), _mm_cvtps_pd(c));
    const __m128d high = fma_to_odd(upper(a), upper(b), upper(c));
    return _mm_movelh_ps(_mm_cvtpd_ps(low), _mm_cvtpd_ps(high));
}

}  // namespace eggroll::EGGROLL_CPU_NS
