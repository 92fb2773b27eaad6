// SPDX-License-Identifier: MIT

#include "cpu/noise.h"

#include "core/noise_math.h"
#include "cpu/memory.h"

#include <algorithm>
#include <type_traits>
#include <utility>

#if defined(__AVX2__) && defined(__FMA__)
#include <immintrin.h>
#else
#include "cpu/fma_sse2.h"
#endif

// The file reads: vectors, vectors side by side, Philox, groups of blocks, fills, factors of
// rank 4.
//
// A word of Philox lives in the low half of a 64-bit lane, where the widening multiply wants it;
// what is above it is never read. A `Wide` has kLanes such lanes, `Bits` and `Real` have twice as
// many of 32 bits. A group is kLanes blocks.

namespace eggroll::EGGROLL_CPU_NS {
namespace {

using namespace eggroll::detail;

// --- Vectors ------------------------------------------------------------------------------------

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
#elif defined(__AVX2__) && defined(__FMA__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif

using V64 = uint64_t __attribute__((vector_size(kVectorBytes)));
using V32 = uint32_t __attribute__((vector_size(kVectorBytes)));
using VInt = int32_t __attribute__((vector_size(kVectorBytes)));
using VFloat = float __attribute__((vector_size(kVectorBytes)));

constexpr int kLanes = kVectorBytes / 8;

struct Wide {
    using Scalar = uint64_t;
    V64 v;
    Wide() = default;
    EGGROLL_INLINE Wide(V64 x) : v(x) {}
    EGGROLL_INLINE Wide(uint64_t x) : v(x - V64{}) {}
};
struct Bits {
    using Scalar = uint32_t;
    V32 v;
    Bits() = default;
    EGGROLL_INLINE Bits(V32 x) : v(x) {}
    EGGROLL_INLINE Bits(uint32_t x) : v(x - V32{}) {}
};
struct Real {
    using Scalar = float;
    VFloat v;
    Real() = default;
    EGGROLL_INLINE Real(VFloat x) : v(x) {}
    EGGROLL_INLINE Real(float x) : v(x - VFloat{}) {}
};

EGGROLL_INLINE Wide operator+(Wide a, Wide b) {
    return a.v + b.v;
}
EGGROLL_INLINE Wide operator^(Wide a, Wide b) {
    return a.v ^ b.v;
}
EGGROLL_INLINE Wide high_half(Wide a) {
    return a.v >> 32;
}
EGGROLL_INLINE Bits operator+(Bits a, Bits b) {
    return a.v + b.v;
}
EGGROLL_INLINE Bits operator-(Bits a, Bits b) {
    return a.v - b.v;
}
EGGROLL_INLINE Bits operator&(Bits a, Bits b) {
    return a.v & b.v;
}
EGGROLL_INLINE Bits operator^(Bits a, Bits b) {
    return a.v ^ b.v;
}
EGGROLL_INLINE Bits operator<<(Bits a, int n) {
    return a.v << n;
}

EGGROLL_INLINE Bits as_bits(Real a) {
    return reinterpret_cast<V32>(a.v);
}
EGGROLL_INLINE Real as_float(Bits a) {
    return reinterpret_cast<VFloat>(a.v);
}
EGGROLL_INLINE Real mul_rn(Real a, Real b) {
    return a.v * b.v;
}
EGGROLL_INLINE Real sub_rn(Real a, Real b) {
    return a.v - b.v;
}
EGGROLL_INLINE Real int_to_float_rn(Bits a) {
    return __builtin_convertvector(reinterpret_cast<VInt>(a.v), VFloat);
}

#if defined(__AVX512F__)

/// Product of the low halves.
EGGROLL_INLINE Wide wide_mul(Wide a, Wide b) {
    return reinterpret_cast<V64>(
        _mm512_mul_epu32(reinterpret_cast<__m512i>(a.v), reinterpret_cast<__m512i>(b.v)));
}
EGGROLL_INLINE Real fma_rn(Real a, Real b, Real c) {
    return _mm512_fmadd_ps(a.v, b.v, c.v);
}
EGGROLL_INLINE Real sqrt_rn(Real a) {
    return _mm512_sqrt_ps(a.v);
}
EGGROLL_INLINE Real uint_to_float_rn(Bits a) {
    return _mm512_cvtepu32_ps(reinterpret_cast<__m512i>(a.v));
}
EGGROLL_INLINE Wide xor3(Wide a, Wide b, Wide c) {
    return reinterpret_cast<V64>(_mm512_ternarylogic_epi64(reinterpret_cast<__m512i>(a.v),
                                                           reinterpret_cast<__m512i>(b.v),
                                                           reinterpret_cast<__m512i>(c.v), 0x96));
}
EGGROLL_INLINE Real flip_sign(Real x, Bits s) {  // (s & top bit) ^ x
    return reinterpret_cast<VFloat>(
        _mm512_ternarylogic_epi32(reinterpret_cast<__m512i>(s.v), _mm512_set1_epi32(INT32_MIN),
                                  reinterpret_cast<__m512i>(x.v), 0x6A));
}
EGGROLL_INLINE void swap_if_odd(Bits q, Real& a, Real& b) {
    const __mmask16 odd =
        _mm512_test_epi32_mask(reinterpret_cast<__m512i>(q.v), _mm512_set1_epi32(1));
    const VFloat x = _mm512_mask_blend_ps(odd, a.v, b.v);
    b = VFloat(_mm512_mask_blend_ps(odd, b.v, a.v));
    a = x;
}

#elif defined(__AVX2__) && defined(__FMA__)

EGGROLL_INLINE Wide wide_mul(Wide a, Wide b) {
    return reinterpret_cast<V64>(
        _mm256_mul_epu32(reinterpret_cast<__m256i>(a.v), reinterpret_cast<__m256i>(b.v)));
}
EGGROLL_INLINE Real fma_rn(Real a, Real b, Real c) {
    return _mm256_fmadd_ps(a.v, b.v, c.v);
}
EGGROLL_INLINE Real sqrt_rn(Real a) {
    return _mm256_sqrt_ps(a.v);
}
/// There is no unsigned conversion: both halves are exact and the fma rounds once.
EGGROLL_INLINE Real uint_to_float_rn(Bits a) {
    return fma_rn(int_to_float_rn(a.v >> 16), 65536.0f, int_to_float_rn(a & 0xFFFFu));
}
EGGROLL_INLINE Wide xor3(Wide a, Wide b, Wide c) {
    return a ^ b ^ c;
}
EGGROLL_INLINE Real flip_sign(Real x, Bits s) {
    return as_float(as_bits(x) ^ (s & 0x80000000u));
}
EGGROLL_INLINE void swap_if_odd(Bits q, Real& a, Real& b) {
    const VFloat odd = as_float(q << 31).v;  // blendv looks at the top bit
    const VFloat x = _mm256_blendv_ps(a.v, b.v, odd);
    b = VFloat(_mm256_blendv_ps(b.v, a.v, odd));
    a = x;
}

#else

EGGROLL_INLINE Wide wide_mul(Wide a, Wide b) {
    return reinterpret_cast<V64>(
        _mm_mul_epu32(reinterpret_cast<__m128i>(a.v), reinterpret_cast<__m128i>(b.v)));
}
EGGROLL_INLINE Real fma_rn(Real a, Real b, Real c) {
    return VFloat(fma_sse2(a.v, b.v, c.v));
}
EGGROLL_INLINE Real sqrt_rn(Real a) {
    return VFloat(_mm_sqrt_ps(a.v));
}
/// Both halves and the product are exact and the sum rounds once, contracted or not.
EGGROLL_INLINE Real uint_to_float_rn(Bits a) {
    return int_to_float_rn(a.v >> 16).v * 65536.0f + int_to_float_rn(a & 0xFFFFu).v;
}
EGGROLL_INLINE Wide xor3(Wide a, Wide b, Wide c) {
    return a ^ b ^ c;
}
EGGROLL_INLINE Real flip_sign(Real x, Bits s) {
    return as_float(as_bits(x) ^ (s & 0x80000000u));
}
EGGROLL_INLINE void swap_if_odd(Bits q, Real& a, Real& b) {
    const V32 odd = -(q.v & 1u);
    const V32 change = (as_bits(a).v ^ as_bits(b).v) & odd;
    a = as_float(as_bits(a) ^ change);
    b = as_float(as_bits(b) ^ change);
}

#endif

/// Shuffles within each 128-bit part of four: 0..3 are those of a, 4..7 those of b.
template <int k0, int k1, int k2, int k3>
EGGROLL_INLINE VFloat shuffle(VFloat a, VFloat b) {
    constexpr auto from = [](int lane) {
        constexpr int kFrom[4] = {k0, k1, k2, k3};
        const int f = kFrom[lane % 4];
        return (f < 4 ? f : 2 * kLanes + f - 4) + lane / 4 * 4;
    };
#if defined(__AVX512F__)
    return __builtin_shufflevector(a, b, from(0), from(1), from(2), from(3), from(4), from(5),
                                   from(6), from(7), from(8), from(9), from(10), from(11), from(12),
                                   from(13), from(14), from(15));
#elif defined(__AVX2__) && defined(__FMA__)
    return __builtin_shufflevector(a, b, from(0), from(1), from(2), from(3), from(4), from(5),
                                   from(6), from(7));
#else
    return __builtin_shufflevector(a, b, from(0), from(1), from(2), from(3));
#endif
}

/// Low, or high, halves of two Wides: lanes 2L, 2L + 1 of a and then of b in part L.
EGGROLL_INLINE Bits pack_low(Wide a, Wide b) {
    return as_bits(
        shuffle<0, 2, 4, 6>(reinterpret_cast<VFloat>(a.v), reinterpret_cast<VFloat>(b.v)));
}
EGGROLL_INLINE Bits pack_high(Wide a, Wide b) {
    return as_bits(
        shuffle<1, 3, 5, 7>(reinterpret_cast<VFloat>(a.v), reinterpret_cast<VFloat>(b.v)));
}

// A group of kLanes blocks is worked on as two vectors: `even` packed from their words 0 and 2,
// `odd` from words 1 and 3. Interleaving makes whole blocks of them again: those of the lanes 2L
// form the first half of the output, those of the lanes 2L + 1 the second.

constexpr int kGroup = 4 * kLanes;  // elements

/// The block, within its group, that lane i works on.
constexpr int block_of_lane(int i) {
    return i % 2 * (kLanes / 2) + i / 2;
}

template <class Number>
EGGROLL_INLINE void store_group(Number* out, Real even, Real odd) {
    const VFloat low = shuffle<0, 4, 1, 5>(even.v, odd.v);   // 0 1 of 2L, 0 1 of 2L + 1
    const VFloat high = shuffle<2, 6, 3, 7>(even.v, odd.v);  // 2 3 of 2L, 2 3 of 2L + 1
    const VFloat first = shuffle<0, 1, 4, 5>(low, high);
    const VFloat second = shuffle<2, 3, 6, 7>(low, high);
    __builtin_memcpy(out, &first, sizeof(first));
    __builtin_memcpy(out + kGroup / 2, &second, sizeof(second));
}

// --- Vectors side by side: independent work for the long latencies ------------------------------
// Two<T> has the operations of T; Two<Two<T>> stands for four vectors.

template <class T>
struct Two {
    using Scalar = typename T::Scalar;
    T a, b;
    Two() = default;
    EGGROLL_INLINE Two(T x, T y) : a(x), b(y) {}
    EGGROLL_INLINE Two(Scalar x) : a(x), b(x) {}

    friend EGGROLL_INLINE Two operator+(Two x, Two y) { return {x.a + y.a, x.b + y.b}; }
    friend EGGROLL_INLINE Two operator-(Two x, Two y) { return {x.a - y.a, x.b - y.b}; }
    friend EGGROLL_INLINE Two operator&(Two x, Two y) { return {x.a & y.a, x.b & y.b}; }
    friend EGGROLL_INLINE Two operator^(Two x, Two y) { return {x.a ^ y.a, x.b ^ y.b}; }
    friend EGGROLL_INLINE Two operator<<(Two x, int n) { return {x.a << n, x.b << n}; }
    friend EGGROLL_INLINE Two xor3(Two x, Two y, Two z) {
        return {xor3(x.a, y.a, z.a), xor3(x.b, y.b, z.b)};
    }
    friend EGGROLL_INLINE Two wide_mul(Two x, Two y) {
        return {wide_mul(x.a, y.a), wide_mul(x.b, y.b)};
    }
    friend EGGROLL_INLINE Two high_half(Two x) { return {high_half(x.a), high_half(x.b)}; }
    friend EGGROLL_INLINE Two mul_rn(Two x, Two y) { return {mul_rn(x.a, y.a), mul_rn(x.b, y.b)}; }
    friend EGGROLL_INLINE Two sub_rn(Two x, Two y) { return {sub_rn(x.a, y.a), sub_rn(x.b, y.b)}; }
    friend EGGROLL_INLINE Two fma_rn(Two x, Two y, Two z) {
        return {fma_rn(x.a, y.a, z.a), fma_rn(x.b, y.b, z.b)};
    }
    friend EGGROLL_INLINE Two sqrt_rn(Two x) { return {sqrt_rn(x.a), sqrt_rn(x.b)}; }
};
template <class T>
Two(T, T) -> Two<T>;

template <class T>
EGGROLL_INLINE auto pack_low(Two<T> x, Two<T> y) {
    return Two(pack_low(x.a, y.a), pack_low(x.b, y.b));
}
template <class T>
EGGROLL_INLINE auto pack_high(Two<T> x, Two<T> y) {
    return Two(pack_high(x.a, y.a), pack_high(x.b, y.b));
}
template <class T>
EGGROLL_INLINE auto as_bits(Two<T> x) {
    return Two(as_bits(x.a), as_bits(x.b));
}
template <class T>
EGGROLL_INLINE auto as_float(Two<T> x) {
    return Two(as_float(x.a), as_float(x.b));
}
template <class T>
EGGROLL_INLINE auto uint_to_float_rn(Two<T> x) {
    return Two(uint_to_float_rn(x.a), uint_to_float_rn(x.b));
}
template <class T>
EGGROLL_INLINE auto int_to_float_rn(Two<T> x) {
    return Two(int_to_float_rn(x.a), int_to_float_rn(x.b));
}
template <class T, class B>
EGGROLL_INLINE Two<T> flip_sign(Two<T> x, Two<B> s) {
    return {flip_sign(x.a, s.a), flip_sign(x.b, s.b)};
}
template <class T, class B>
EGGROLL_INLINE void swap_if_odd(Two<B> q, Two<T>& x, Two<T>& y) {
    swap_if_odd(q.a, x.a, y.a);
    swap_if_odd(q.b, x.b, y.b);
}

/// How many vectors a T stands for.
template <class T>
constexpr int kVectors = sizeof(T) / kVectorBytes;

// --- Philox -------------------------------------------------------------------------------------

/// The keys of all rounds.
struct Keys {
    uint64_t round[kPhiloxRounds][2];
    Bits last;  // those of the last round, where words 0 and 2 are packed

    explicit Keys(uint64_t seed) {
        uint32_t key0 = static_cast<uint32_t>(seed), key1 = static_cast<uint32_t>(seed >> 32);
        for (auto& key : round) {
            key[0] = key0;
            key[1] = key1;
            key0 += kPhiloxWeyl0;
            key1 += kPhiloxWeyl1;
        }
        for (int i = 0; i < 2 * kLanes; ++i) {
            last.v[i] = static_cast<uint32_t>(round[kPhiloxRounds - 1][i / 2 % 2]);
        }
    }
};

template <class B>
EGGROLL_INLINE B splat(Bits x) {
    if constexpr (kVectors<B> == 1) {
        return x;
    } else {
        const auto half = splat<decltype(B::a)>(x);
        return {half, half};
    }
}

template <class W>
struct Counter {
    W x, y, z, w;
};

/// Rounds kFirst..9 and the packing: words 0 and 2 of the blocks to `even`, 1 and 3 to `odd`.
template <int kFirst, class W, class B>
EGGROLL_INLINE void last_rounds(Counter<W> c, const Keys& keys, B& even, B& odd) {
    const W mul0 = uint64_t{kPhiloxMul0}, mul1 = uint64_t{kPhiloxMul1};
#pragma GCC unroll 10
    for (int i = kFirst; i < kPhiloxRounds - 1; ++i) {
        const W p0 = wide_mul(c.x, mul0), p1 = wide_mul(c.z, mul1);
        c.x = xor3(high_half(p1), c.y, keys.round[i][0]);
        c.y = p1;
        c.z = xor3(high_half(p0), c.w, keys.round[i][1]);
        c.w = p0;
    }
    const W p0 = wide_mul(c.x, mul0), p1 = wide_mul(c.z, mul1);
    even = pack_high(p1, p0) ^ pack_low(c.y, c.w) ^ splat<B>(keys.last);
    odd = pack_low(p1, p0);
}

/// What a stream puts into the first three rounds, the same for all its blocks.
struct Stream {
    uint64_t z1, x2, z2, z3;  // what is xored into these words in the rounds 0..2

    Stream() = default;
    Stream(const Keys& keys, uint32_t parameter, uint32_t pair, uint32_t generation) {
        const uint64_t p1 = uint64_t{kPhiloxMul1} * pair;
        const uint32_t x1 =
            static_cast<uint32_t>(p1 >> 32) ^ parameter ^ static_cast<uint32_t>(keys.round[0][0]);
        const uint64_t p0 = uint64_t{kPhiloxMul0} * x1;
        z1 = generation ^ keys.round[0][1];
        x2 = p1 ^ keys.round[1][0];
        z2 = (p0 >> 32) ^ keys.round[1][1];
        z3 = p0 ^ keys.round[2][1];
    }
    Stream(const Keys& keys, const NoiseStream& s)
        : Stream(keys, s.parameter, s.pair, s.generation) {}
};

/// One group of blocks: of which stream, where it begins, and where its elements go.
template <class Number>
struct Group {
    Stream stream;
    uint64_t block;
    Number* out;
};

/// What the words of as many groups as W has vectors start from.
template <class W>
struct Start {
    W p0, z1, x2, z2, z3;
};

/// Of group(kFirst), group(kFirst + 1), …
template <class W, int kFirst, class Groups>
EGGROLL_INLINE Start<W> start_of(const Groups& group) {
    if constexpr (kVectors<W> == 1) {
        const auto g = group(kFirst);
        // The first products grow evenly with the block.
        V64 lanes{};
        for (int i = 0; i < kLanes; ++i) lanes[i] = static_cast<uint64_t>(block_of_lane(i));
        return {Wide(kPhiloxMul0 * g.block) + Wide(kPhiloxMul0 * lanes), g.stream.z1, g.stream.x2,
                g.stream.z2, g.stream.z3};
    } else {
        using Half = decltype(W::a);
        const auto a = start_of<Half, kFirst>(group);
        const auto b = start_of<Half, kFirst + kVectors<Half>>(group);
        return {{a.p0, b.p0}, {a.z1, b.z1}, {a.x2, b.x2}, {a.z2, b.z2}, {a.z3, b.z3}};
    }
}

/// The words of group(0), group(1), … as many as W has vectors.
template <class W, class Groups, class B>
EGGROLL_INLINE void group_words(const Keys& keys, const Groups& group, B& even, B& odd) {
    const W mul0 = uint64_t{kPhiloxMul0}, mul1 = uint64_t{kPhiloxMul1};
    const Start<W> start = start_of<W, 0>(group);
    Counter<W> c;
    c.w = start.p0;
    c.z = high_half(c.w) ^ start.z1;
    c.y = wide_mul(c.z, mul1);
    c.x = high_half(c.y) ^ start.x2;
    c.z = c.w ^ start.z2;
    const W p0 = wide_mul(c.x, mul0), p1 = wide_mul(c.z, mul1);
    c.x = xor3(high_half(p1), c.y, keys.round[2][0]);
    c.y = p1;
    c.z = high_half(p0) ^ start.z3;
    c.w = p0;
    last_rounds<3>(c, keys, even, odd);
}

// --- Groups of blocks ---------------------------------------------------------------------------

/// Stores the vectors of several groups, each where it goes.
template <int kFirst, class Groups, class T>
EGGROLL_INLINE void store_groups(const Groups& group, T even, T odd) {
    if constexpr (kVectors<T> == 1) {
        store_group(group(kFirst).out, even, odd);
    } else {
        store_groups<kFirst>(group, even.a, odd.a);
        store_groups<kFirst + kVectors<decltype(T::a)>>(group, even.b, odd.b);
    }
}

/// As many groups side by side as W has vectors.
template <class W, class Groups>
EGGROLL_INLINE void compute(const Keys& keys, const Groups& group) {
    decltype(pack_low(W(), W())) even, odd;
    group_words<W>(keys, group, even, odd);
    if constexpr (std::is_same_v<decltype(group(0).out), float*>) {
        decltype(as_float(even)) sine, cosine;
        box_muller(even, odd, sine, cosine);
        store_groups<0>(group, sine, cosine);
    } else {
        store_groups<0>(group, as_float(even), as_float(odd));
    }
}

/// `compute` over one stream as long as n holds as many groups as W has vectors.
template <class W, class Number>
EGGROLL_INLINE void fill_groups(const Keys& keys, const Stream& s, uint64_t& block, Number*& out,
                                int64_t& n) {
    constexpr int64_t kCount = kVectors<W> * kGroup;
    for (; n >= kCount; n -= kCount, out += kCount, block += kCount / 4) {
        compute<W>(keys, [&](int i) {
            return Group<Number>{s, block + static_cast<uint64_t>(i * kLanes), out + i * kGroup};
        });
    }
}

/// Elements skip..skip+n-1 of a group.
template <class Number>
void part_of_group(const Keys& keys, const Stream& s, uint64_t block, int64_t skip, Number* out,
                   int64_t n) {
    Number elements[kGroup];
    compute<Wide>(keys, [&](int) { return Group<Number>{s, block, elements}; });
    __builtin_memcpy(out, elements + skip, static_cast<size_t>(n) * sizeof(Number));
}

// --- Fills --------------------------------------------------------------------------------------

template <class Number>
EGGROLL_INLINE void fill(const NoiseStream& stream, uint64_t first, Number* out, int64_t n) {
    if (n <= 0) return;
    const Keys keys(stream.seed);
    const Stream s(keys, stream);
    uint64_t block = first / 4;
    if (const int64_t skip = static_cast<int64_t>(first % 4); skip > 0) {
        const int64_t count = n < kGroup - skip ? n : kGroup - skip;
        part_of_group(keys, s, block, skip, out, count);
        block += kLanes;
        out += count;
        n -= count;
    }
    fill_groups<Two<Two<Wide>>>(keys, s, block, out, n);
    fill_groups<Two<Wide>>(keys, s, block, out, n);
    fill_groups<Wide>(keys, s, block, out, n);
    if (n > 0) part_of_group(keys, s, block, 0, out, n);
}

/// Groups of any streams that share the seed, computed four at a time: what is short in one stream
/// keeps the vectors full all the same.
class GroupQueue {
public:
    explicit GroupQueue(const Keys& keys) : keys_(keys) {}

    EGGROLL_INLINE void add(const Stream& s, uint64_t block, float* out) {
        groups_[size_++] = {s, block, out};
        if (size_ < 4) return;
        compute<Two<Two<Wide>>>(keys_, [this](int i) { return groups_[i]; });
        size_ = 0;
    }
    void flush() {
        for (int i = 0; i < size_; ++i) {
            compute<Wide>(keys_, [this, i](int) { return groups_[i]; });
        }
        size_ = 0;
    }

private:
    const Keys& keys_;
    Group<float> groups_[4];
    int size_ = 0;
};

EGGROLL_INLINE void load(const uint64_t* from, Wide& x) {
    __builtin_memcpy(&x, from, sizeof(x));
}
template <class T>
EGGROLL_INLINE void load(const uint64_t* from, Two<T>& x) {
    load(from, x.a);
    load(from + kVectors<T> * kLanes, x.b);
}

/// Collects blocks of any streams that share seed, parameter and generation, one a lane, and
/// computes them when the lanes are full.
class Collector {
public:
    Collector(const Keys& keys, const NoiseStream& s)
        : keys_(keys), parameter_(s.parameter), generation_(s.generation) {}

    /// Elements skip..skip+n-1 of a block, at most to its end, are to be written to out.
    EGGROLL_INLINE void add(uint64_t block, uint32_t pair, int skip, int n, float* out) {
        const int in_group = slots_ % kLanes;
        const int lane = slots_ - in_group + in_group % (kLanes / 2) * 2 + in_group / (kLanes / 2);
        block_[lane] = block;
        pair_[lane] = pair;
        part_[slots_] = {out, skip, n};
        if (++slots_ == kSlots) flush();
    }

    void flush() {
        if (slots_ == 0) return;
        if (slots_ <= kLanes) {
            compute_blocks<Wide>();
        } else {
            compute_blocks<Two<Two<Wide>>>();
        }
        slots_ = 0;
    }

private:
    struct Part {
        float* out;
        int skip, n;
    };
    static constexpr int kSlots = 4 * kLanes;

    template <class W>
    EGGROLL_INLINE void compute_blocks() {
        W block, pair;
        load(block_, block);
        load(pair_, pair);
        decltype(pack_low(block, pair)) even, odd;
        last_rounds<0>(Counter<W>{block, uint64_t{parameter_}, pair, uint64_t{generation_}}, keys_,
                       even, odd);
        float elements[kVectors<W> * kGroup];
        decltype(as_float(even)) sine, cosine;
        box_muller(even, odd, sine, cosine);
        store_groups<0>(
            [&](int i) {
                return Group<float>{{}, 0, elements + i * kGroup};
            },
            sine, cosine);
        for (int i = 0; i < slots_; ++i) {
            const Part& part = part_[i];
            if (part.n == 4) {
                __builtin_memcpy(part.out, elements + 4 * i, 4 * sizeof(float));
            } else {
                const float* from = elements + 4 * i + part.skip;
                for (int e = 0; e < part.n; ++e) part.out[e] = from[e];
            }
        }
    }

    const Keys& keys_;
    uint32_t parameter_, generation_;
    int slots_ = 0;                                    // blocks collected
    uint64_t block_[kSlots] = {}, pair_[kSlots] = {};  // by lane
    Part part_[kSlots];                                // in the order of the output
};

// --- Factors of rank 4: a block is a row, rows become columns ----------------------------------

constexpr int kTransposedRows = 2 * kLanes;  // of two groups, a vector of each column

/// Word kWord of the blocks of two groups, in order; kWord 0 or 2 of `even`, 1 or 3 of `odd`.
template <int kWord, int... kRow>
EGGROLL_INLINE VFloat column(VFloat a, VFloat b, std::integer_sequence<int, kRow...>) {
    constexpr auto from = [](int row) {
        const int block = row % kLanes;
        return row / kLanes * 2 * kLanes + block % (kLanes / 2) * 4 + block / (kLanes / 2) +
               kWord / 2 * 2;
    };
    return __builtin_shufflevector(a, b, from(kRow)...);
}

template <int kWord>
EGGROLL_INLINE void store_column(float* out, int64_t stride, Two<Real> words) {
    const VFloat v =
        column<kWord>(words.a.v, words.b.v, std::make_integer_sequence<int, kTransposedRows>());
    __builtin_memcpy(out + kWord * stride, &v, sizeof(v));
}

/// Rows of the factor from `block` on, kTransposedRows for every two vectors of W.
template <class W>
EGGROLL_INLINE void transposed_rows(const Keys& keys, const Stream& s, uint64_t block, float* out,
                                    int64_t stride) {
    decltype(pack_low(W(), W())) even, odd;
    group_words<W>(
        keys,
        [&](int i) {
            return Group<float>{s, block + static_cast<uint64_t>(i * kLanes), nullptr};
        },
        even, odd);
    decltype(as_float(even)) sine, cosine;
    box_muller(even, odd, sine, cosine);
    const auto store = [stride](float* to, Two<Real> words0, Two<Real> words1) {
        store_column<0>(to, stride, words0);
        store_column<1>(to, stride, words1);
        store_column<2>(to, stride, words0);
        store_column<3>(to, stride, words1);
    };
    if constexpr (kVectors<W> == 2) {
        store(out, sine, cosine);
    } else {
        store(out, sine.a, cosine.a);
        store(out + kTransposedRows, sine.b, cosine.b);
    }
}

void transposed_factor(const Keys& keys, const Stream& s, uint64_t block, int64_t n, float* out,
                       int64_t stride) {
    int64_t row = 0;
    const auto at = [block](int64_t r) { return block + static_cast<uint64_t>(r); };
    for (; row + 2 * kTransposedRows <= n; row += 2 * kTransposedRows) {
        transposed_rows<Two<Two<Wide>>>(keys, s, at(row), out + row, stride);
    }
    for (; row + kTransposedRows <= n; row += kTransposedRows) {
        transposed_rows<Two<Wide>>(keys, s, at(row), out + row, stride);
    }
    if (row == n) return;
    float rest[4 * kTransposedRows];
    transposed_rows<Two<Wide>>(keys, s, at(row), rest, kTransposedRows);
    for (int k = 0; k < 4; ++k) {
        for (int64_t r = row; r < n; ++r) out[k * stride + r] = rest[k * kTransposedRows + r - row];
    }
}

}  // namespace

void fill_words(const NoiseStream& stream, uint64_t first, uint32_t* out, int64_t n) {
    fill(stream, first, out, n);
}

void fill_normal(const NoiseStream& stream, uint64_t first, float* out, int64_t n) {
    fill(stream, first, out, n);
}

void fill_normal_many(const NoiseStream& stream, uint32_t pair_count, uint64_t first, int64_t n,
                      float* out, int64_t stride) {
    if (n <= 0) return;
    // Whole groups by fours; what is left before and behind them block by block.
    const int64_t head = static_cast<int64_t>((4 - first % 4) % 4);
    const int64_t grouped = n > head ? (n - head) / kGroup * kGroup : 0;
    const int64_t grouped_begin = grouped > 0 ? head : n;
    const int64_t grouped_end = grouped_begin + grouped;
    const Keys keys(stream.seed);
    GroupQueue groups(keys);
    Collector rest(keys, stream);
    uint32_t pair = stream.pair;
    for (uint32_t i = 0; i < pair_count; ++i, ++pair, out += stride) {
        const Stream s(keys, stream.parameter, pair, stream.generation);
        const uint64_t block = (first + static_cast<uint64_t>(head)) / 4;
        for (int64_t e = 0; e < grouped; e += kGroup) {
            groups.add(s, block + static_cast<uint64_t>(e / 4), out + head + e);
        }
        for (int64_t e = 0; e < n;) {
            if (e == grouped_begin) e = grouped_end;
            if (e == n) break;
            const uint64_t element = first + static_cast<uint64_t>(e);
            const int skip = static_cast<int>(element % 4);
            const int count = static_cast<int>(n - e < 4 - skip ? n - e : 4 - skip);
            rest.add(element / 4, pair, skip, count, out + e);
            e += count;
        }
    }
    groups.flush();
    rest.flush();
}

void fill_factors(const NoiseStream& stream, uint32_t pair_count, uint64_t first, int64_t n,
                  int64_t rank, float* out, int64_t stride) {
    if (rank == 1) return fill_normal_many(stream, pair_count, first, n, out, stride);
    if (rank == 4) {
        const Keys keys(stream.seed);
        for (uint32_t i = 0; i < pair_count; ++i, out += 4 * stride) {
            const Stream s(keys, stream.parameter, stream.pair + i, stream.generation);
            transposed_factor(keys, s, first / 4, n, out, stride);
        }
        return;
    }
    // A few rows at a time, a multiple of 4: each run begins with a block.
    const int64_t run = std::max<int64_t>(4, 4096 / rank / 4 * 4);
    cpu::Scratch rows(run * rank);
    NoiseStream s = stream;
    for (uint32_t i = 0; i < pair_count; ++i, ++s.pair, out += rank * stride) {
        for (int64_t begin = 0; begin < n; begin += run) {
            const int64_t count = std::min(run, n - begin);
            fill_normal(s, first + static_cast<uint64_t>(begin * rank), rows.data(), count * rank);
            for (int64_t k = 0; k < rank; ++k) {
                float* to = out + k * stride + begin;
                for (int64_t r = 0; r < count; ++r) to[r] = rows.data()[r * rank + k];
            }
        }
    }
}

void normals_from_words(const uint32_t* words, float* out, int64_t n) {
    for (int64_t i = 0; i < n; i += kGroup) {
        uint32_t in[kGroup] = {};
        float elements[kGroup];
        const size_t count = static_cast<size_t>(n - i < kGroup ? n - i : kGroup);
        __builtin_memcpy(in, words + i, count * sizeof(uint32_t));
        VFloat first, second;
        __builtin_memcpy(&first, in, sizeof(first));
        __builtin_memcpy(&second, in + kGroup / 2, sizeof(second));
        const VFloat low = shuffle<0, 1, 4, 5>(first, second);
        const VFloat high = shuffle<2, 3, 6, 7>(first, second);
        const Real even = shuffle<0, 2, 4, 6>(low, high), odd = shuffle<1, 3, 5, 7>(low, high);
        Real sine, cosine;
        box_muller(as_bits(even), as_bits(odd), sine, cosine);
        store_group(elements, sine, cosine);
        __builtin_memcpy(out + i, elements, count * sizeof(float));
    }
}

}  // namespace eggroll::EGGROLL_CPU_NS
