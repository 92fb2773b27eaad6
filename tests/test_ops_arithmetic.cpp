// SPDX-License-Identifier: MIT
// Elementwise operations against the naive reference, over special values, all sizes of floats and
// all ways operands meet.
#include "tests/errors.h"
#include "tests/parts.h"
#include "tests/reference.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

using namespace eggroll;
using namespace eggroll::test;
using eggroll::test::reference::kUnit;

namespace {

constexpr float kDenormal = std::numeric_limits<float>::denorm_min();

const std::vector<float> kSpecials = {
    0.0f,    -0.0f,    1.0f,      -1.0f,     0.5f,       -2.5f,     kInf,       -kInf,
    kNan,    kLargest, -kLargest, kSmallest, -kSmallest, kDenormal, -kDenormal, 1e-40f,
    -1e-40f, 1e-20f,   1e20f,     -1e20f,    3.0000002f, 1e-6f,     16777217.0f};

/// y as the reference says, at every position of vectors of many lengths: whatever part of a loop
/// an element falls in.
void check_unary(const std::string& name, Tensor (*op)(const Tensor&), double (*f)(double),
                 double relative, double absolute, std::vector<float> values) {
    CAPTURE(name);
    values.insert(values.end(), kSpecials.begin(), kSpecials.end());
    for (const size_t n : {1, 2, 3, 7, 16, 31, 40, 1023, 1024, 1025, 2500}) {
        for (size_t start = 0; start < (n < 100 ? values.size() : 1); ++start) {
            std::vector<float> x(n);
            for (size_t i = 0; i < n; ++i) x[i] = values[(start + i) % values.size()];
            const Tensor in = tensor({static_cast<int64_t>(n)}, x);
            const std::vector<float> y = host(op(in));
            for (size_t i = 0; i < n; ++i) {
                const double want = f(wide(x[i]));
                const float got = y[i];
                if (close(got, want, relative, absolute)) continue;
                CAPTURE(n);
                CAPTURE(i);
                CAPTURE(x[i]);
                CAPTURE(got);
                CAPTURE(want);
                FAIL_CHECK("differs from the reference");
                return;
            }
        }
    }
    const Tensor x = random_tensor({2, 3, 5});
    check_parts(
        op(x), 0,
        [&](int64_t m) {
            Part part = part_of(x, m);
            std::transform(part.at.begin(), part.at.end(), part.at.begin(), f);
            return Expected{part.shape, part.at, Values(part.at.size(), absolute)};
        },
        relative);
    CHECK(op(per_member(x)).is_per_member());
    CHECK(op(per_member(x)).shape() == x.shape());
}

/// Around 0 and further out, both signs.
std::vector<float> moderate() {
    std::vector<float> values;
    for (int i = -300; i <= 300; ++i) values.push_back(static_cast<float>(i) * 0.0371f);
    return values;
}

double sigmoid_of(double x) {
    return 1 / (1 + std::exp(-x));
}

struct Broadcasts {
    Marked a, b;
    Shape part;  // of the result
};

/// All ways operands meet: equal, missing axes, extents of 1 on either side, members on either,
/// and axes that cannot be merged.
const std::vector<Broadcasts>& broadcasts() {
    static const std::vector<Broadcasts> all = {
        {{{}}, {{}}, {}},
        {{{7}}, {{7}}, {7}},
        {{{2, 3}}, {{2, 3}}, {2, 3}},
        {{{2, 3}}, {{3}}, {2, 3}},
        {{{2, 3}}, {{}}, {2, 3}},
        {{{2, 1}}, {{1, 3}}, {2, 3}},
        {{{4, 1, 3}}, {{2, 1}}, {4, 2, 3}},
        {{{1, 1, 1}}, {{2, 1}}, {1, 2, 1}},
        {{{2, 1, 3, 1, 2, 1}}, {{1, 2, 1, 3, 1, 2}}, {2, 2, 3, 3, 2, 2}},
        {{{2, 3, 4, 5}}, {{3, 1, 5}}, {2, 3, 4, 5}},
        // Members on one side: (V,O) with (B,O), scalars of members, and more axes on either.
        {{{4, 3}, true}, {{2, 3}}, {2, 3}},
        {{{4, 2, 3}, true}, {{2, 3}}, {2, 3}},
        {{{4, 2, 3}, true}, {{3}}, {2, 3}},
        {{{4, 2, 3}, true}, {{}}, {2, 3}},
        {{{4}, true}, {{2, 3}}, {2, 3}},
        {{{4}, true}, {{}}, {}},
        {{{4}, true}, {{4}}, {4}},
        {{{4, 3}, true}, {{5, 2, 1}}, {5, 2, 3}},
        {{{4, 1}, true}, {{3}}, {3}},
        {{{1, 3}, true}, {{2, 3}}, {2, 3}},
        // On both.
        {{{4, 2, 3}, true}, {{4, 2, 3}, true}, {2, 3}},
        {{{4, 2, 3}, true}, {{4, 3}, true}, {2, 3}},
        {{{4, 2, 3}, true}, {{4}, true}, {2, 3}},
        {{{4, 2, 1}, true}, {{4, 1, 3}, true}, {2, 3}},
        {{{1, 3}, true}, {{1, 2, 3}, true}, {2, 3}},
        // Nothing to do.
        {{{0}}, {{0}}, {0}},
        {{{0, 3}}, {{3}}, {0, 3}},
        {{{2, 0}}, {{2, 1}}, {2, 0}},
        {{{0}}, {{}}, {0}},
        {{{4, 0}, true}, {{1}}, {0}},
        {{{4, 3}, true}, {{0, 3}}, {0, 3}},
    };
    return all;
}

}  // namespace

TEST_CASE("ops: unary functions") {
    const std::vector<float> plain = moderate();
    // One rounding at most.
    check_unary(
        "negate", operator-, [](double x) { return -x; }, 0, 0, plain);
    check_unary(
        "abs", abs, [](double x) { return std::fabs(x); }, 0, 0, plain);
    check_unary(
        "square", square, [](double x) { return x * x; }, 0, 0, plain);
    check_unary(
        "sqrt", sqrt, [](double x) { return std::sqrt(x); }, 0, 0, plain);
    check_unary(
        "relu", relu, [](double x) { return std::isnan(x) ? x : std::max(x, 0.0); }, 0, 0, plain);
    // The C library's float functions are good to 1 ulp (glibc manual, 19.7), at most 2 u relative.
    check_unary(
        "log", log, [](double x) { return std::log(x); }, 2 * kUnit, 0, plain);
    check_unary(
        "sin", sin, [](double x) { return std::sin(x); }, 2 * kUnit, 0, plain);
    check_unary(
        "cos", cos, [](double x) { return std::cos(x); }, 2 * kUnit, 0, plain);
    // The rest comes from vector functions good to a few ulp; results below the smallest normal
    // float may be flushed to 0 or stop at it.
    check_unary(
        "tanh", tanh, [](double x) { return std::tanh(x); }, 8 * kUnit, 0, plain);
    check_unary("sigmoid", sigmoid, sigmoid_of, 8 * kUnit, wide(kSmallest), plain);
}

TEST_CASE("ops: exp over its whole range") {
    std::vector<float> values = moderate();
    for (const float v : {80.0f, 87.0f, 88.0f, 88.5f, 88.7f, 88.72f, 89.0f, 90.0f, 100.0f, 1000.0f,
                          -80.0f, -87.0f, -87.3f, -88.0f, -90.0f, -100.0f, -104.0f, -1000.0f}) {
        values.push_back(v);
    }
    check_unary(
        "exp", exp, [](double x) { return std::exp(x); }, 8 * kUnit, wide(kSmallest), values);
}

/// A float of every size and sign: each 9973rd bit pattern, some 430000.
TEST_CASE("ops: functions over all floats") {
    std::vector<float> values;
    for (uint64_t bits = 0; bits <= 0xFFFFFFFFu; bits += 9973) {
        values.push_back(std::bit_cast<float>(static_cast<uint32_t>(bits)));
    }
    const Tensor x = tensor({static_cast<int64_t>(values.size())}, values);
    const auto check = [&](const std::string& name, Tensor (*op)(const Tensor&),
                           double (*f)(double), double relative, double absolute) {
        const std::vector<float> y = host(op(x));
        size_t wrong = 0, first = 0;
        for (size_t i = values.size(); i-- > 0;) {
            if (close(y[i], f(wide(values[i])), relative, absolute)) continue;
            ++wrong;
            first = i;
        }
        CAPTURE(name);
        CAPTURE(values[first]);
        CAPTURE(y[first]);
        CAPTURE(f(wide(values[first])));
        CHECK(wrong == 0);
    };
    // 1 ulp is at most 2 u; the other bounds are those of the cases above and below.
    check(
        "exp", exp, [](double v) { return std::exp(v); }, 2 * kUnit, wide(kSmallest));
    check(
        "log", log, [](double v) { return std::log(v); }, 2 * kUnit, 0);
    check(
        "sin", sin, [](double v) { return std::sin(v); }, 2 * kUnit, wide(kDenormal));
    check(
        "cos", cos, [](double v) { return std::cos(v); }, 2 * kUnit, 0);
    check(
        "sqrt", sqrt, [](double v) { return std::sqrt(v); }, 0, 0);
    check(
        "tanh", tanh, [](double v) { return std::tanh(v); }, 8 * kUnit, 0);
    check("sigmoid", sigmoid, sigmoid_of, 8 * kUnit, wide(kSmallest));
}

TEST_CASE("ops: sigmoid, tanh, gelu and silu far out") {
    std::vector<float> values = moderate();
    for (float v = 10.0f; v < 1e38f; v *= 3.0f) {
        values.push_back(v);
        values.push_back(-v);
    }
    for (const float v : {87.0f, 88.5f, 88.8f, 90.0f, 100.0f}) {
        values.push_back(v);
        values.push_back(-v);
    }
    check_unary(
        "tanh", tanh, [](double x) { return std::tanh(x); }, 8 * kUnit, 0, values);
    check_unary("sigmoid", sigmoid, sigmoid_of, 8 * kUnit, wide(kSmallest), values);
    // x/∞ may stop at x/3.4e38, a quarter of |x| times the smallest normal, as long as exp(−x) is
    // finite or just no longer so. At −inf the limit is 0 and the formula NaN.
    const auto far = [](const std::vector<float>& all, Tensor (*op)(const Tensor&),
                        const std::function<double(double)>& f,
                        const std::function<double(double)>& absolute) {
        for (const size_t n : {1, 16, 64}) {
            for (const float v : all) {
                CAPTURE(n);
                CAPTURE(v);
                const Tensor y = op(full({static_cast<int64_t>(n)}, v));
                for (const float got : host(y)) {
                    CAPTURE(got);
                    CHECK(close(got, f(wide(v)), 8 * kUnit, absolute(wide(v))));
                }
            }
            const Tensor limits = op(full({static_cast<int64_t>(n)}, -kInf));
            for (const float got : host(limits)) CHECK((std::isnan(got) || got == 0.0f));
            CHECK(host(op(full({static_cast<int64_t>(n)}, kInf)))[0] == kInf);
            CHECK(std::isnan(host(op(full({static_cast<int64_t>(n)}, kNan)))[n - 1]));
        }
    };
    far(
        values, silu, [](double x) { return x * sigmoid_of(x); },
        [](double x) { return wide(kSmallest) * std::min(std::fabs(x), 128.0); });
    // 1 + erf loses the digits that a small result at negative x would have: an error of u·|x|.
    far(
        values, gelu, [](double x) { return 0.5 * x * std::erfc(-x / std::sqrt(2.0)); },
        [](double x) { return x < 0 ? 4 * kUnit * std::min(std::fabs(x), 8.0) : 0.0; });
}

TEST_CASE("ops: activate is the function named") {
    const Tensor x = random_tensor({3, 7});
    CHECK(host(activate(x, Act::none)) == host(x));
    CHECK(host(activate(x, Act::relu)) == host(relu(x)));
    CHECK(host(activate(x, Act::tanh)) == host(tanh(x)));
    CHECK(host(activate(x, Act::sigmoid)) == host(sigmoid(x)));
    CHECK(host(activate(x, Act::gelu)) == host(gelu(x)));
    CHECK(host(activate(x, Act::silu)) == host(silu(x)));
}

TEST_CASE("ops: binary functions broadcast as NumPy does and line up the members") {
    for (const BinaryCase& binary : binaries()) {
        for (const Broadcasts& of : broadcasts()) {
            for (const bool swapped : {false, true}) {
                const Marked &left = swapped ? of.b : of.a, &right = swapped ? of.a : of.b;
                CAPTURE(binary.name);
                CAPTURE(to_string(left.shape));
                CAPTURE(to_string(right.shape));
                const Tensor a = marked(random_tensor(left.shape, 1), left.mark);
                const Tensor b = marked(random_tensor(right.shape, 2), right.mark);
                check_parts(binary.op(a, b), std::max(left.members(), right.members()),
                            [&](int64_t m) { return expect_binary(a, b, m, of.part, binary.f); });
            }
        }
    }
}

TEST_CASE("ops: binary functions on every pair of special values") {
    const auto n = static_cast<int64_t>(kSpecials.size());
    const Tensor a = tensor({n, 1}, kSpecials), b = tensor({1, n}, kSpecials);
    for (const BinaryCase& binary : binaries()) {
        CAPTURE(binary.name);
        check_parts(binary.op(a, b), 0, [&](int64_t m) {
            return expect_binary(a, b, m, {n, n}, binary.f);
        });
        // Not only a pair a row: also as dense vectors.
        const Tensor c = a + zeros({n, n}), d = b + zeros({n, n});
        check_parts(binary.op(c, d), 0, [&](int64_t m) {
            return expect_binary(c, d, m, {n, n}, binary.f);
        });
    }
}

TEST_CASE("ops: arithmetic with numbers, on either side") {
    const Tensor x = random_tensor({4, 5});
    for (const bool mark : {false, true}) {
        const Tensor a = marked(x, mark);
        const auto check = [&](const Tensor& y, const std::function<double(double)>& f) {
            check_parts(y, a.members(), [&](int64_t m) {
                Part part = part_of(a, m);
                std::transform(part.at.begin(), part.at.end(), part.at.begin(), f);
                return Expected{part.shape, part.at};
            });
        };
        const double c = wide(0.3f);
        check(a + 0.3f, [=](double v) { return v + c; });
        check(a - 0.3f, [=](double v) { return v - c; });
        check(a * 0.3f, [=](double v) { return v * c; });
        check(a / 0.3f, [=](double v) { return v / c; });
        check(0.3f + a, [=](double v) { return c + v; });
        check(0.3f - a, [=](double v) { return c - v; });
        check(0.3f * a, [=](double v) { return c * v; });
        check(0.3f / a, [=](double v) { return c / v; });
    }
}

TEST_CASE("ops: where takes a where the condition is not 0") {
    struct Case {
        Marked condition, a, b;
        int64_t members;
        Shape part;
    };
    const std::vector<Case> cases = {
        {{{2, 3}}, {{2, 3}}, {{2, 3}}, 0, {2, 3}},
        {{{2, 1}}, {{3}}, {{}}, 0, {2, 3}},
        {{{}}, {{2, 3}}, {{3}}, 0, {2, 3}},
        {{{4, 3}, true}, {{2, 3}}, {{2, 1}}, 4, {2, 3}},
        {{{2, 3}}, {{4}, true}, {{4, 3}, true}, 4, {2, 3}},
        {{{4}, true}, {{4, 2, 3}, true}, {{}}, 4, {2, 3}},
        {{{5, 1, 2}}, {{4, 3, 1}, true}, {{1}}, 4, {5, 3, 2}},
        {{{0, 3}}, {{3}}, {{1}}, 0, {0, 3}},
    };
    for (const Case& of : cases) {
        CAPTURE(to_string(of.condition.shape));
        const Tensor sign = random_tensor(of.condition.shape, 1);
        const Tensor condition = marked(maximum(sign, zeros({})), of.condition.mark);
        const Tensor a = marked(random_tensor(of.a.shape, 2), of.a.mark);
        const Tensor b = marked(random_tensor(of.b.shape, 3), of.b.mark);
        check_parts(where(condition, a, b), of.members, [&](int64_t m) {
            const Part pc = part_of(condition, m), pa = part_of(a, m), pb = part_of(b, m);
            Expected expected{of.part, {}};
            for_each_index(of.part, [&](const Shape& i) {
                expected.at.push_back(at(pc, i) != 0 ? at(pa, i) : at(pb, i));
            });
            return expected;
        });
    }
    // Only what is chosen counts; -0 is 0 and NaN is not.
    const Tensor y = where(tensor({4}, {1, 0, -0.0f, kNan}), tensor({4}, {1, kNan, kNan, 4}),
                           tensor({4}, {kNan, 2, 3, kNan}));
    CHECK(host(y) == std::vector<float>{1, 2, 3, 4});
}

// --- Refusals -----------------------------------------------------------------------------------

TEST_CASE("ops: shapes that do not broadcast are refused, and nothing changes") {
    const std::vector<std::pair<Marked, Marked>> bad = {{{{2, 3}}, {{2, 4}}},
                                                        {{{2, 3}}, {{2}}},
                                                        {{{3}}, {{0}}},
                                                        {{{2, 3}}, {{3, 2}}},
                                                        {{{4, 3}, true}, {{5, 3}, true}},
                                                        {{{4, 3}, true}, {{1, 3}, true}},
                                                        {{{4, 2, 3}, true}, {{4, 2}}},
                                                        {{{4, 2}, true}, {{4, 3}, true}}};
    for (const auto& [left, right] : bad) {
        const Tensor a = marked(random_tensor(left.shape, 1), left.mark);
        const Tensor b = marked(random_tensor(right.shape, 2), right.mark);
        const std::vector<float> before_a = host(a), before_b = host(b);
        for (const BinaryCase& binary : binaries()) {
            check_refused([&] { binary.op(a, b); },
                          {"[" + binary.name + "]", to_string(a.shape()), to_string(b.shape())});
        }
        const Tensor scalar = zeros({});
        check_refused([&] { where(scalar, a, b); },
                      {"[where]", to_string(a.shape()), to_string(b.shape())});
        check_refused([&] { where(a, b, scalar); },
                      {"[where]", to_string(a.shape()), to_string(b.shape())});
        CHECK(host(a) == before_a);
        CHECK(host(b) == before_b);
    }
}

TEST_CASE("ops: more axes than can be walked are refused by the operation's name") {
    // Extents of 2 and 1 in turn keep neighbouring axes from being merged.
    Shape a, b;
    for (int d = 0; d < 10; ++d) {
        a.push_back(d % 2 == 0 ? 2 : 1);
        b.push_back(d % 2 == 0 ? 1 : 2);
    }
    check_refused([&] { zeros(a) + zeros(b); }, {"[add]", "too many axes"});
    const Tensor x = zeros(Shape(10, 2));
    CHECK((x + x).size() == 1024);  // all of one piece
}
