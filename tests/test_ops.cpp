// SPDX-License-Identifier: MIT
// Every function of <eggroll/ops.h> against a naive reference in double that reads one member's
// part at a time. The perturbed ones are seen at the centre here; members are in
// test_contract.cpp and test_layers.cpp.
//
// Where a float operation rounds once, its result is the double result rounded to float (double
// rounding is harmless for +, −, ·, / and √: 53 >= 2·24 + 2 bits, Figueroa 1995), so equality is
// asked for. Other bounds are stated where they are used, in units of u = 2^-24.
#include "tests/errors.h"
#include "tests/reference.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

using namespace eggroll;
using namespace eggroll::test;
using eggroll::test::reference::kUnit;
using Values = std::vector<double>;

namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kLargest = std::numeric_limits<float>::max();
constexpr float kSmallest = std::numeric_limits<float>::min();  // normal
constexpr float kDenormal = std::numeric_limits<float>::denorm_min();

const std::vector<float> kSpecials = {
    0.0f,    -0.0f,    1.0f,      -1.0f,     0.5f,       -2.5f,     kInf,       -kInf,
    kNan,    kLargest, -kLargest, kSmallest, -kSmallest, kDenormal, -kDenormal, 1e-40f,
    -1e-40f, 1e-20f,   1e20f,     -1e20f,    3.0000002f, 1e-6f,     16777217.0f};

double wide(float v) {
    return static_cast<double>(v);
}

/// `got` is `want` within relative·|want| + absolute; infinities and NaN are themselves.
bool close(float got, double want, double relative = 0, double absolute = 0) {
    if (std::isnan(want)) return std::isnan(got);
    const auto rounded = static_cast<float>(want);
    if (got == rounded) return true;
    if (!std::isfinite(got) || !std::isfinite(rounded)) return false;
    return std::fabs(wide(got) - want) <= relative * std::fabs(want) + absolute;
}

/// One member's part in double; all members of a shared tensor have the same.
struct Part {
    Shape shape;
    Values at;
};

Part part_of(const Tensor& x, int64_t member) {
    Part part{x.part_shape(), {}};
    const int64_t n = element_count(part.shape);
    const int64_t first = x.is_per_member() ? member * n : 0;
    const auto take = [&](const auto& all) {
        part.at.assign(all.begin() + first, all.begin() + first + n);
    };
    x.dtype() == Dtype::f32 ? take(host(x)) : take(host_ints(x));
    return part;
}

/// Calls f with every index of a shape, in row-major order.
void for_each_index(const Shape& shape, const std::function<void(const Shape&)>& f) {
    Shape index(shape.size(), 0);
    for (int64_t n = element_count(shape); n > 0; --n) {
        f(index);
        for (size_t d = shape.size(); d-- > 0;) {
            if (++index[d] < shape[d]) break;
            index[d] = 0;
        }
    }
}

/// The element at an index; missing leading axes and extents of 1 repeat, as in NumPy.
double at(const Part& part, const Shape& index) {
    const size_t skip = index.size() - part.shape.size();
    int64_t offset = 0;
    for (size_t d = 0; d < part.shape.size(); ++d) {
        offset = offset * part.shape[d] + (part.shape[d] == 1 ? 0 : index[skip + d]);
    }
    return part.at[static_cast<size_t>(offset)];
}

struct Expected {
    Shape shape;  // of a part
    Values at;
    Values absolute = {};  // bound of each element; empty: none
};

/// Compares each member's part, and that y is marked as it should be: members 0 is shared.
void check_parts(const Tensor& y, int64_t members, const std::function<Expected(int64_t)>& want,
                 double relative = 0) {
    REQUIRE(y.is_per_member() == (members > 0));
    REQUIRE(y.members() == members);
    for (int64_t m = 0; m < std::max<int64_t>(members, 1); ++m) {
        const Expected expected = want(m);
        const Part got = part_of(y, m);
        CAPTURE(m);
        REQUIRE(got.shape == expected.shape);
        REQUIRE(got.at.size() == expected.at.size());
        for (size_t i = 0; i < got.at.size(); ++i) {
            CAPTURE(i);
            CAPTURE(got.at[i]);
            CAPTURE(expected.at[i]);
            CHECK(close(static_cast<float>(got.at[i]), expected.at[i], relative,
                        expected.absolute.empty() ? 0.0 : expected.absolute[i]));
        }
    }
}

Tensor marked(const Tensor& x, bool mark) {
    return mark ? per_member(x) : x;
}

// --- Elementwise --------------------------------------------------------------------------------

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

using Binary = Tensor (*)(const Tensor&, const Tensor&);

struct BinaryCase {
    std::string name;
    Binary op;
    double (*f)(double, double);
};

const std::vector<BinaryCase>& binaries() {
    static const std::vector<BinaryCase> all = {
        {"add", operator+, [](double a, double b) { return a + b; }},
        {"subtract", operator-, [](double a, double b) { return a - b; }},
        {"multiply", operator*, [](double a, double b) { return a * b; }},
        {"divide", operator/, [](double a, double b) { return a / b; }},
        {"maximum", maximum,
         [](double a, double b) { return std::isnan(a) || std::isnan(b) ? NAN : std::max(a, b); }},
        {"minimum", minimum,
         [](double a, double b) { return std::isnan(a) || std::isnan(b) ? NAN : std::min(a, b); }},
        {"greater", greater, [](double a, double b) { return a > b ? 1.0 : 0.0; }},
        {"less", less, [](double a, double b) { return a < b ? 1.0 : 0.0; }},
        {"equal", equal, [](double a, double b) { return a == b ? 1.0 : 0.0; }},
    };
    return all;
}

/// A shape, and whether its leading axis counts members.
struct Marked {
    Shape shape;
    bool mark = false;

    int64_t members() const { return mark ? shape[0] : 0; }
    Shape part() const { return mark ? Shape(shape.begin() + 1, shape.end()) : shape; }
};

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

Expected expect_binary(const Tensor& a, const Tensor& b, int64_t member, const Shape& shape,
                       double (*f)(double, double)) {
    const Part pa = part_of(a, member), pb = part_of(b, member);
    Expected expected{shape, {}};
    for_each_index(shape, [&](const Shape& i) { expected.at.push_back(f(at(pa, i), at(pb, i))); });
    return expected;
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

// --- Reductions and rows ------------------------------------------------------------------------

namespace {

/// Each row of a reduction over one axis of one part: f(values along the axis).
Expected expect_reduced(const Part& x, int axis, const std::function<double(const Values&)>& f,
                        const std::function<double(const Values&)>& bound) {
    const auto index =
        static_cast<size_t>(axis < 0 ? axis + static_cast<int>(x.shape.size()) : axis);
    Expected expected;
    expected.shape = x.shape;
    expected.shape.erase(expected.shape.begin() + static_cast<std::ptrdiff_t>(index));
    for_each_index(expected.shape, [&](const Shape& rest) {
        Values along;
        for (int64_t k = 0; k < x.shape[index]; ++k) {
            Shape full = rest;
            full.insert(full.begin() + static_cast<std::ptrdiff_t>(index), k);
            along.push_back(at(x, full));
        }
        expected.at.push_back(f(along));
        expected.absolute.push_back(bound(along));
    });
    return expected;
}

double sum_of(const Values& values) {
    double sum = 0;
    for (const double v : values) sum += v;
    return sum;
}

double mean_of(const Values& values) {
    return sum_of(values) / static_cast<double>(values.size());
}

double max_of(const Values& values) {
    double largest = values[0];
    for (const double v : values) largest = std::isnan(v) || v > largest ? v : largest;
    for (const double v : values) largest = std::isnan(v) ? v : largest;
    return largest;
}

/// Summed in double whatever the order: n·2^-53·Σ|x| on each side.
double sum_bound(const Values& values) {
    double size = 0;
    for (const double v : values) size += std::fabs(v);
    return static_cast<double>(values.size()) * 0x1p-52 * size;
}

double no_bound(const Values&) {
    return 0;
}

const std::vector<Marked> kReduced = {
    {{1}},           {{9}},          {{3, 5}},          {{2, 3, 4}},
    {{2, 1, 17, 3}}, {{4, 3}, true}, {{4, 3, 5}, true}, {{1, 3, 2}, true},
    {{2, 100}}};

}  // namespace

TEST_CASE("ops: sum, mean and max over every axis") {
    for (const Marked& of : kReduced) {
        const Tensor x = marked(random_tensor(of.shape, 4), of.mark);
        const int dims = static_cast<int>(of.part().size());
        for (int axis = -dims; axis < dims; ++axis) {
            CAPTURE(to_string(of.shape));
            CAPTURE(axis);
            const auto check = [&](const Tensor& y, double (*f)(const Values&),
                                   double (*bound)(const Values&), double relative) {
                check_parts(
                    y, of.members(),
                    [&](int64_t m) { return expect_reduced(part_of(x, m), axis, f, bound); },
                    relative);
            };
            check(sum(x, axis), sum_of, sum_bound, kUnit);
            check(mean(x, axis), mean_of, sum_bound, kUnit);
            check(max(x, axis), max_of, no_bound, 0);
        }
        const auto check_all = [&](const Tensor& y, double (*f)(const Values&)) {
            check_parts(
                y, of.members(),
                [&](int64_t m) {
                    const Values all = part_of(x, m).at;
                    return Expected{{}, {f(all)}, {sum_bound(all)}};
                },
                kUnit);
        };
        check_all(sum(x), sum_of);
        check_all(mean(x), mean_of);
    }
    const Tensor one = per_member(tensor({3}, {1, 2, 3}));  // parts are scalars
    CHECK(host(sum(one)) == std::vector<float>{1, 2, 3});
    CHECK(sum(one).is_per_member());
    CHECK(sum(full({}, 5.0f)).item() == 5.0f);
}

TEST_CASE("ops: sums are accumulated in double") {
    CHECK(sum(tensor({3}, {1e8f, 1, -1e8f})).item() == 1.0f);
    CHECK(mean(tensor({3}, {1e8f, 3, -1e8f}), 0).item() == 1.0f);
    CHECK(sum(tensor({3}, {kLargest, kLargest, -kLargest})).item() == kLargest);
    CHECK(mean(tensor({2}, {kLargest, kLargest})).item() == kLargest);
    CHECK(sum(tensor({2}, {kLargest, kLargest})).item() == kInf);
    CHECK(sum(full({1000, 1000}, 0.1f)).item() == static_cast<float>(1e6 * wide(0.1f)));
}

TEST_CASE("ops: NaN and infinities in reductions") {
    for (const int64_t n : {1, 2, 8, 9, 40}) {
        for (int64_t i = 0; i < n; ++i) {
            CAPTURE(n);
            CAPTURE(i);
            Tensor x = random_tensor({n});
            set(x, i, kNan);
            CHECK(std::isnan(sum(x).item()));
            CHECK(std::isnan(mean(x, 0).item()));
            CHECK(std::isnan(max(x, 0).item()));
            for (const float v : host(softmax(x))) CHECK(std::isnan(v));
            for (const float v : host(log_softmax(x))) CHECK(std::isnan(v));
            set(x, i, kInf);
            CHECK(max(x, 0).item() == kInf);
            CHECK(sum(x).item() == kInf);
            CHECK(argmax(x).item() == static_cast<float>(i));
        }
    }
    CHECK(max(full({3}, -kInf), 0).item() == -kInf);
    CHECK(std::isnan(sum(tensor({2}, {kInf, -kInf})).item()));
    // Only the row that has it.
    const Tensor rows = max(tensor({2, 2}, {1, kNan, 3, 4}), 1);
    CHECK(std::isnan(host(rows)[0]));
    CHECK(host(rows)[1] == 4.0f);
}

TEST_CASE("ops: argmax of a row with a NaN is NaN, so that no score rewards it") {
    const float nan = std::nanf("");
    const Tensor y = argmax(tensor({3, 2}, {1, nan, nan, 1, 1, 2}));
    CHECK(std::isnan(host(y)[0]));
    CHECK(std::isnan(host(y)[1]));
    CHECK(host(y)[2] == 1);
}

TEST_CASE("ops: argmax is the first largest") {
    const Tensor x =
        tensor({5, 3}, {1, 3, 2, 2, 2, 2, -1, -2, -1, -kInf, -kInf, -kInf, 0, -0.0f, 0});
    CHECK(host(argmax(x)) == std::vector<float>{1, 0, 0, 0, 0});
    for (const Marked& of : kReduced) {
        CAPTURE(to_string(of.shape));
        const Tensor y = marked(random_tensor(of.shape, 4), of.mark);
        check_parts(argmax(y), of.members(), [&](int64_t m) {
            return expect_reduced(
                part_of(y, m), -1,
                [](const Values& row) {
                    return static_cast<double>(std::max_element(row.begin(), row.end()) -
                                               row.begin());
                },
                no_bound);
        });
    }
}

namespace {

/// softmax or its logarithm of each row of n, with its bound.
void check_softmax(const Tensor& x, size_t n) {
    const Tensor y = softmax(x), l = log_softmax(x);
    REQUIRE(y.shape() == x.shape());
    REQUIRE(l.shape() == x.shape());
    REQUIRE(y.is_per_member() == x.is_per_member());
    const std::vector<float> from = host(x), share = host(y), logarithm = host(l);
    for (size_t first = 0; first < static_cast<size_t>(x.size()); first += n) {
        double largest = wide(from[first]), sum = 0;
        for (size_t i = 0; i < n; ++i) largest = std::max(largest, wide(from[first + i]));
        for (size_t i = 0; i < n; ++i) sum += std::exp(wide(from[first + i]) - largest);
        for (size_t i = 0; i < n; ++i) {
            const double d = wide(from[first + i]) - largest;
            const double want = std::exp(d) / sum;
            CAPTURE(d);
            CAPTURE(want);
            // x − max is rounded, which exp turns into a relative error of u·|x − max| in the
            // element and, weighted, in the sum (at most u·n/e there); then the functions' own.
            const double relative =
                (std::min(std::fabs(d), 100.0) + static_cast<double>(n) + 16) * kUnit;
            CHECK(close(share[first + i], want, relative, wide(kSmallest)));
            // x − max and the shift are rounded once each, and their difference.
            const double shift = std::log(sum);
            CHECK(close(logarithm[first + i], d - shift, 3 * kUnit,
                        (4 * shift + static_cast<double>(n) * 0.5) * kUnit));
        }
    }
}

}  // namespace

TEST_CASE("ops: softmax and log_softmax") {
    for (const int64_t n : {1, 2, 3, 10, 16, 33, 1000, 1500}) {
        CAPTURE(n);
        check_softmax(random_tensor({3, n}), static_cast<size_t>(n));
        check_softmax(random_tensor({3, n}) * 20.0f, static_cast<size_t>(n));
        check_softmax(random_tensor({3, n}) * 1e4f, static_cast<size_t>(n));
        check_softmax(random_tensor({3, n}) + 1e6f, static_cast<size_t>(n));
        check_softmax(random_tensor({3, n}) * 1e37f, static_cast<size_t>(n));
        check_softmax(per_member(random_tensor({2, 3, n})), static_cast<size_t>(n));
    }
    for (const float huge : {100.0f, 1e30f, kLargest}) {
        check_softmax(tensor({4}, {huge, 0, -huge, huge}), 4);
        check_softmax(full({5}, huge), 5);
        check_softmax(full({5}, -huge), 5);
    }
    // A masked entry has no share and the others have all of it.
    const Tensor masked = tensor({3}, {-kInf, 1, 1});
    CHECK(close(host(softmax(masked))[0], 0.0, 0, wide(kSmallest)));
    CHECK(close(host(softmax(masked))[1], 0.5, 4 * kUnit));
    CHECK(host(log_softmax(masked))[0] == -kInf);
    CHECK(close(host(log_softmax(masked))[2], -std::log(2.0), 4 * kUnit));
}

TEST_CASE("ops: gather picks one entry of each row") {
    const auto check = [](const Tensor& x, const Tensor& ids) {
        check_parts(gather(x, ids), x.members(), [&](int64_t m) {
            const Part px = part_of(x, m), pi = part_of(ids, m);
            Expected expected{pi.shape, {}};
            for_each_index(pi.shape, [&](const Shape& row) {
                Shape full = row;
                full.push_back(static_cast<int64_t>(at(pi, row)));
                expected.at.push_back(at(px, full));
            });
            return expected;
        });
    };
    check(random_tensor({4}), int_tensor({}, {2}));
    check(random_tensor({3, 4}), int_tensor({3}, {3, 0, 1}));
    check(random_tensor({2, 3, 2}), int_tensor({2, 3}, {1, 0, 1, 0, 0, 1}));
    check(per_member(random_tensor({2, 3, 4})), int_tensor({3}, {3, 0, 1}));
    check(per_member(random_tensor({2, 3, 4})), per_member(int_tensor({2, 3}, {3, 0, 1, 2, 2, 0})));
    check(per_member(random_tensor({2, 4})), per_member(int_tensor({2}, {3, 1})));
    check(zeros({0, 3}), int_tensor({0}, {}));
}

// --- Shape --------------------------------------------------------------------------------------

TEST_CASE("ops: reshape is of one member's part and shares the storage") {
    Tensor x = random_tensor({4, 6});
    const Tensor y = reshape(x, {2, -1, 3});
    CHECK(y.shape() == Shape{2, 4, 3});
    CHECK(host(y) == host(x));
    set(x, 5, 42.0f);
    CHECK(host(y)[5] == 42.0f);
    const Tensor z = reshape(per_member(x), {3, 2});
    CHECK(z.shape() == Shape{4, 3, 2});
    CHECK(z.is_per_member());
    CHECK(host(z)[5] == 42.0f);
    CHECK(reshape(per_member(x), {-1}).shape() == Shape{4, 6});
    CHECK(reshape(per_member(zeros({4, 1})), {}).shape() == Shape{4});
    CHECK(reshape(zeros({1, 1}), {}).shape() == Shape{});
    CHECK(reshape(zeros({0, 3}), {3, 0}).shape() == Shape{3, 0});
    CHECK(reshape(zeros({0, 3}), {-1, 3}).shape() == Shape{0, 3});
    const Tensor ids = reshape(int_tensor({4}, {1, 2, 3, 4}), {2, 2});
    CHECK(ids.dtype() == Dtype::i32);
    CHECK(host_ints(ids)[3] == 4);
}

TEST_CASE("ops: slice, transpose and concat move elements and nothing else") {
    const std::vector<Marked> shapes = {
        {{7}},          {{3, 5}},          {{2, 3, 4}},         {{2, 3, 4, 5}},
        {{4, 3}, true}, {{4, 3, 5}, true}, {{2, 3, 4, 5}, true}};
    for (const Marked& of : shapes) {
        const Tensor x = marked(random_tensor(of.shape), of.mark);
        const Shape part = of.part();
        const int dims = static_cast<int>(part.size());
        CAPTURE(to_string(of.shape));
        for (int axis = -dims; axis < dims; ++axis) {
            CAPTURE(axis);
            const auto d = static_cast<size_t>(axis < 0 ? axis + dims : axis);
            for (int64_t begin = 0; begin <= part[d]; ++begin) {
                for (int64_t end = begin; end <= part[d]; ++end) {
                    check_parts(slice(x, axis, begin, end), of.members(), [&](int64_t m) {
                        Expected expected{part, {}};
                        expected.shape[d] = end - begin;
                        const Part from = part_of(x, m);
                        for_each_index(expected.shape, [&](Shape i) {
                            i[d] += begin;
                            expected.at.push_back(at(from, i));
                        });
                        return expected;
                    });
                }
                // What was cut is put together again.
                const Tensor parts[] = {slice(x, axis, 0, begin), slice(x, axis, begin, part[d])};
                CHECK(host(concat(parts, axis)) == host(x));
            }
            for (int other = -dims; other < dims; ++other) {
                const auto e = static_cast<size_t>(other < 0 ? other + dims : other);
                check_parts(transpose(x, axis, other), of.members(), [&](int64_t m) {
                    Expected expected{part, {}};
                    std::swap(expected.shape[d], expected.shape[e]);
                    const Part from = part_of(x, m);
                    for_each_index(expected.shape, [&](Shape i) {
                        std::swap(i[d], i[e]);
                        expected.at.push_back(at(from, i));
                    });
                    return expected;
                });
            }
        }
    }
    // Integers too, and the copies are copies.
    Tensor ids = int_tensor({2, 2}, {1, 2, 3, 4});
    const Tensor turned = transpose(ids, 0, 1);
    set(ids, 1, 9);
    CHECK(turned.dtype() == Dtype::i32);
    CHECK(host_ints(turned)[2] == 2);
    CHECK(host_ints(slice(ids, 1, 1, 2))[0] == 9);
}

TEST_CASE("ops: concat joins shared and members' parts along any axis") {
    struct Case {
        std::vector<Marked> parts;
        int axis;
        int64_t members;
        Shape part;
    };
    const std::vector<Case> cases = {
        {{{{3}}}, 0, 0, {3}},
        {{{{3}}, {{2}}, {{0}}, {{1}}}, 0, 0, {6}},
        {{{{2, 3}}, {{2, 1}}}, 1, 0, {2, 4}},
        {{{{2, 3}}, {{4, 3}}}, -2, 0, {6, 3}},
        {{{{2, 1, 3}}, {{2, 5, 3}}}, 1, 0, {2, 6, 3}},
        {{{{4, 2, 3}, true}, {{4, 2, 5}, true}}, 1, 4, {2, 8}},
        {{{{4, 2, 3}, true}, {{4, 1, 3}, true}}, 0, 4, {3, 3}},
        {{{{2, 3}}, {{4, 2, 5}, true}}, -1, 4, {2, 8}},
        {{{{4, 2, 3}, true}, {{2, 5}}, {{4, 2, 1}, true}}, 1, 4, {2, 9}},
        {{{{1, 3}}, {{2, 3}}, {{4, 3, 3}, true}}, 0, 4, {6, 3}},
        {{{{3}}, {{1, 2}, true}}, 0, 1, {5}},
        {{{{0, 3}}, {{0, 2}}}, 1, 0, {0, 5}},
    };
    for (const Case& of : cases) {
        std::vector<Tensor> parts;
        for (const Marked& p : of.parts) {
            parts.push_back(
                marked(random_tensor(p.shape, static_cast<uint32_t>(parts.size())), p.mark));
        }
        CAPTURE(to_string(of.part));
        const auto d =
            static_cast<size_t>(of.axis < 0 ? of.axis + static_cast<int>(of.part.size()) : of.axis);
        check_parts(concat(parts, of.axis), of.members, [&](int64_t m) {
            Expected expected{of.part, {}};
            for_each_index(of.part, [&](Shape i) {
                size_t k = 0;
                while (i[d] >= parts[k].part_shape()[d]) i[d] -= parts[k++].part_shape()[d];
                expected.at.push_back(at(part_of(parts[k], m), i));
            });
            return expected;
        });
    }
    const Tensor ids = concat({int_tensor({2}, {1, 2}), int_tensor({1}, {3})}, 0);
    CHECK(ids.dtype() == Dtype::i32);
    CHECK(host_ints(ids)[2] == 3);
}

TEST_CASE("ops: matmul over members and leading axes") {
    struct Case {
        Marked a, b;
        int64_t members;
        Shape part;
    };
    const std::vector<Case> cases = {
        {{{1, 1}}, {{1, 1}}, 0, {1, 1}},
        {{{3, 4}}, {{4, 5}}, 0, {3, 5}},
        {{{17, 33}}, {{33, 9}}, 0, {17, 9}},
        {{{2, 3, 4}}, {{2, 4, 5}}, 0, {2, 3, 5}},
        {{{2, 3, 4}}, {{4, 5}}, 0, {2, 3, 5}},
        {{{3, 4}}, {{2, 4, 5}}, 0, {2, 3, 5}},
        {{{2, 6, 3, 4}}, {{2, 6, 4, 1}}, 0, {2, 6, 3, 1}},
        {{{7, 3, 4}, true}, {{7, 4, 5}, true}, 7, {3, 5}},
        {{{7, 3, 4}, true}, {{4, 5}}, 7, {3, 5}},
        {{{3, 4}}, {{7, 4, 5}, true}, 7, {3, 5}},
        {{{7, 2, 3, 4}, true}, {{4, 5}}, 7, {2, 3, 5}},
        {{{7, 2, 3, 4}, true}, {{2, 4, 5}}, 7, {2, 3, 5}},
        {{{7, 3, 4}, true}, {{2, 4, 5}}, 7, {2, 3, 5}},
        {{{2, 3, 4}}, {{7, 4, 5}, true}, 7, {2, 3, 5}},
        {{{7, 2, 3, 4}, true}, {{7, 2, 4, 5}, true}, 7, {2, 3, 5}},
        {{{1, 3, 4}, true}, {{4, 5}}, 1, {3, 5}},
        {{{0, 3}}, {{3, 2}}, 0, {0, 2}},
        {{{2, 3}}, {{3, 0}}, 0, {2, 0}},
        {{{2, 0}}, {{0, 3}}, 0, {2, 3}},  // sums of nothing
        {{{0, 2, 3}}, {{3, 4}}, 0, {0, 2, 4}},
    };
    for (const Case& of : cases) {
        CAPTURE(to_string(of.a.shape));
        CAPTURE(to_string(of.b.shape));
        const Tensor a = marked(random_tensor(of.a.shape, 1), of.a.mark);
        const Tensor b = marked(random_tensor(of.b.shape, 2), of.b.mark);
        check_parts(matmul(a, b), of.members, [&](int64_t m) {
            const Part pa = part_of(a, m), pb = part_of(b, m);
            const int64_t inner = pa.shape.back();
            Expected expected{of.part, {}};
            for_each_index(of.part, [&](const Shape& i) {
                const auto cut = [&](const Part& p) {  // the axes of i that p has
                    return Shape(i.end() - static_cast<std::ptrdiff_t>(p.shape.size()), i.end());
                };
                Shape ia = cut(pa), ib = cut(pb);
                double sum = 0, size = 0;
                for (int64_t k = 0; k < inner; ++k) {
                    ia.back() = k;
                    ib[ib.size() - 2] = k;
                    sum += at(pa, ia) * at(pb, ib);
                    size += std::fabs(at(pa, ia) * at(pb, ib));
                }
                expected.at.push_back(sum);
                // A sum of n products in any order (Higham, §3.1).
                expected.absolute.push_back(static_cast<double>(inner) * kUnit * size);
            });
            return expected;
        });
    }
    Tensor a = random_tensor({3, 4});
    set(a, 5, kNan);
    const Tensor y = matmul(a, random_tensor({4, 5}));
    for (size_t i = 0; i < 15; ++i) CHECK(std::isnan(host(y)[i]) == (i / 5 == 1));
}

// --- The centre of the perturbed ones -----------------------------------------------------------

TEST_CASE("ops: linear at the centre") {
    namespace ref = eggroll::test::reference;
    struct Case {
        Marked x;
        int64_t outputs;
        bool bias;
    };
    const std::vector<Case> cases = {{{{6}}, 3, true},           {{{5, 6}}, 3, true},
                                     {{{5, 6}}, 1, false},       {{{40, 6}}, 37, true},
                                     {{{2, 3, 6}}, 4, true},     {{{4, 5, 6}, true}, 3, true},
                                     {{{4, 6}, true}, 3, false}, {{{4, 2, 3, 6}, true}, 17, true}};
    for (const Case& of : cases) {
        for (const Act act :
             {Act::none, Act::relu, Act::tanh, Act::sigmoid, Act::gelu, Act::silu}) {
            CAPTURE(to_string(of.x.shape));
            CAPTURE(static_cast<int>(act));
            const Tensor x = marked(random_tensor(of.x.shape, 1), of.x.mark);
            const Tensor w = random_tensor({of.outputs, 6}, 2);
            const Tensor b = of.bias ? random_tensor({of.outputs}, 3) : Tensor();
            const auto weights = [](const Tensor& t) {
                ref::MemberParameter p;
                for (const float v : host(t)) {
                    p.value.push_back(wide(v));
                    p.magnitude.push_back(std::fabs(wide(v)));
                }
                return p;
            };
            const ref::MemberParameter pw = weights(w), pb = weights(b);
            std::vector<ref::Bounded> want;
            for (size_t row = 0; row < static_cast<size_t>(x.size()); row += 6) {
                std::vector<ref::Bounded> in;
                for (size_t i = 0; i < 6; ++i) in.push_back({wide(host(x)[row + i]), 0});
                for (const ref::Bounded& v : ref::linear(in, pw, of.bias ? &pb : nullptr)) {
                    want.push_back(ref::activation(act, v));
                }
            }
            const Tensor y = linear(x, w, b, View::centre(), act);
            Shape shape = of.x.shape;
            shape.back() = of.outputs;
            CHECK(y.shape() == shape);
            CHECK(y.is_per_member() == of.x.mark);
            CHECK(ref::excess(host(y), want) <= 1);
        }
    }
}

TEST_CASE("ops: perturbed, add and embedding at the centre") {
    const View centre = View::centre();
    const Tensor b = random_tensor({3}, 1);
    CHECK(host(perturbed(b, centre)) == host(b));
    CHECK_FALSE(perturbed(b, centre).is_per_member());
    for (const bool mark : {false, true}) {
        const Tensor x = marked(random_tensor({4, 2, 3}), mark);
        check_parts(add(x, b, centre), x.members(), [&](int64_t m) {
            return expect_binary(x, b, m, x.part_shape(), [](double u, double v) { return u + v; });
        });
    }
    const Tensor table = random_tensor({5, 3}, 2);
    const auto check = [&](const Tensor& ids) {
        check_parts(embedding(ids, table, centre), ids.members(), [&](int64_t m) {
            const Part pi = part_of(ids, m), pt = part_of(table, 0);
            Expected expected{pi.shape, {}};
            expected.shape.push_back(3);
            for (const double id : pi.at) {
                for (int64_t e = 0; e < 3; ++e) {
                    expected.at.push_back(at(pt, {static_cast<int64_t>(id), e}));
                }
            }
            return expected;
        });
    };
    check(int_tensor({}, {4}));
    check(int_tensor({4}, {4, 0, 4, 1}));
    check(int_tensor({2, 2}, {4, 0, 3, 1}));
    check(per_member(int_tensor({2, 3}, {4, 0, 3, 1, 2, 2})));
    check(int_tensor({0}, {}));
    check(int_tensor({2, 0}, {}));
}

TEST_CASE("ops: layer_norm with and without gain and bias") {
    namespace ref = eggroll::test::reference;
    const Tensor x = per_member(random_tensor({2, 3, 5})), gain = random_tensor({5}, 1),
                 bias = random_tensor({5}, 2);
    const auto weights = [](const Tensor& t, float missing) {
        ref::MemberParameter p;
        for (size_t i = 0; i < 5; ++i) {
            p.value.push_back(wide(t.size() > 0 ? host(t)[i] : missing));
            p.magnitude.push_back(std::fabs(p.value.back()));
        }
        return p;
    };
    for (const Tensor& g : {gain, Tensor()}) {
        for (const Tensor& b : {bias, Tensor()}) {
            std::vector<ref::Bounded> want;
            for (size_t row = 0; row < 30; row += 5) {
                std::vector<ref::Bounded> in;
                for (size_t i = 0; i < 5; ++i) in.push_back({wide(host(x)[row + i]), 0});
                for (const ref::Bounded& v : ref::layer_norm(in, weights(g, 1), weights(b, 0))) {
                    want.push_back(v);
                }
            }
            const Tensor y = layer_norm(x, g, b, View::centre());
            CHECK(y.is_per_member());
            CHECK(ref::excess(host(y), want) <= 1);
        }
    }
}

// --- Nothing to do ------------------------------------------------------------------------------

TEST_CASE("ops: zero-size tensors") {
    const View centre = View::centre();
    for (const Shape& shape : {Shape{0}, Shape{0, 3}, Shape{3, 0}}) {
        const Tensor x = zeros(shape);
        CHECK(relu(x).shape() == shape);
        CHECK(exp(x).shape() == shape);
        CHECK((-x).shape() == shape);
        CHECK((x + 1.0f).shape() == shape);
        CHECK(softmax(x).shape() == shape);
        CHECK(log_softmax(x).shape() == shape);
        CHECK(layer_norm(x, Tensor(), Tensor(), centre).shape() == shape);
        CHECK(transpose(x, 0, -1).size() == 0);
        CHECK(x.clone().shape() == shape);
        check_refused([&] { sum(x); }, {"[sum]", to_string(shape)});
        check_refused([&] { mean(x); }, {"[mean]", to_string(shape)});
    }
    const Tensor rows = zeros({3, 0}), none = zeros({0, 3});
    CHECK(sum(none, 1).shape() == Shape{0});
    CHECK(max(none, -1).shape() == Shape{0});
    CHECK(mean(rows, 0).shape() == Shape{0});
    CHECK(argmax(none).shape() == Shape{0});
    check_refused([&] { sum(rows, 1); }, {"[sum]", "(3,0)"});
    check_refused([&] { max(none, 0); }, {"[max]", "(0,3)"});
    check_refused([&] { argmax(rows); }, {"[argmax]", "(3,0)"});
    CHECK(linear(none, random_tensor({4, 3}), random_tensor({4}), centre).shape() == Shape{0, 4});
    const Tensor b = random_tensor({4});
    const Tensor y = linear(zeros({2, 0}), zeros({4, 0}), b, centre);
    REQUIRE(y.shape() == Shape{2, 4});
    for (size_t i = 0; i < 8; ++i) CHECK(host(y)[i] == host(b)[i % 4]);
    nn::Linear layer = here(nn::Linear(3, 2));
    Eggroll es(layer, {.pop_size = 4});
    CHECK(es.ask().forward(none).shape() == Shape{4, 0, 2});
}

TEST_CASE("ops: linear with no outputs") {
    const Tensor y = linear(random_tensor({2, 3}), zeros({0, 3}), Tensor(), View::centre());
    CHECK(y.shape() == Shape{2, 0});
}

/// A tensor marked as having members but none of them: refused, or results without members.
TEST_CASE("ops: no members") {  // reads past its memory at the time of writing
    Tensor x, ids;
    try {
        x = per_member(zeros({0, 2, 3}));
        ids = per_member(int_tensor({0, 2}, {}));
    } catch (const Error&) {
        return;
    }
    const std::vector<std::pair<std::string, std::function<Tensor()>>> all = {
        {"linear",
         [&] {
             return linear(x, random_tensor({4, 3}), Tensor(), View::centre());
         }},
        {"embedding",
         [&] {
             return embedding(ids, random_tensor({4, 3}), View::centre());
         }},
        {"add", [&] { return x + random_tensor({3}); }},
        {"sum", [&] { return sum(x); }},
        {"sum axis", [&] { return sum(x, 1); }},
        {"gather", [&] { return gather(x, ids); }},
        {"concat",
         [&] {
             return concat({x, random_tensor({2, 3})}, 0);
         }},
        {"matmul",
         [&] {
             return matmul(x, random_tensor({3, 3}));
         }},
        {"mse",
         [&] {
             return mse(x, random_tensor({2, 3}));
         }},
    };
    for (const auto& operation : all) {
        const auto& name = operation.first;
        const auto& run = operation.second;
        CAPTURE(name);
        try {
            const Tensor y = run();
            CHECK(y.is_per_member());
            CHECK(y.size() == 0);
        } catch (const Error& e) {
            CHECK(std::string(e.what()).find("[") == 0);
        }
    }
}

// --- Refusals -----------------------------------------------------------------------------------

namespace {

using Unary = Tensor (*)(const Tensor&);

/// All functions of one tensor of floats.
std::vector<std::pair<std::string, std::function<Tensor(const Tensor&)>>> unaries() {
    return {{"negate", [](const Tensor& x) { return -x; }},
            {"relu", static_cast<Unary>(relu)},
            {"tanh", static_cast<Unary>(tanh)},
            {"sigmoid", static_cast<Unary>(sigmoid)},
            {"gelu", static_cast<Unary>(gelu)},
            {"silu", static_cast<Unary>(silu)},
            {"exp", static_cast<Unary>(exp)},
            {"log", static_cast<Unary>(log)},
            {"sqrt", static_cast<Unary>(sqrt)},
            {"abs", static_cast<Unary>(abs)},
            {"sin", static_cast<Unary>(sin)},
            {"cos", static_cast<Unary>(cos)},
            {"square", static_cast<Unary>(square)},
            {"sum", [](const Tensor& x) { return sum(x); }},
            {"mean", [](const Tensor& x) { return mean(x); }},
            {"sum", [](const Tensor& x) { return sum(x, 0); }},
            {"mean", [](const Tensor& x) { return mean(x, 0); }},
            {"max", [](const Tensor& x) { return max(x, 0); }},
            {"argmax", static_cast<Unary>(argmax)},
            {"softmax", static_cast<Unary>(softmax)},
            {"log_softmax", static_cast<Unary>(log_softmax)}};
}

}  // namespace

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

TEST_CASE("ops: an element type that does not fit is refused") {
    const Tensor ids = int_tensor({2, 2}, {0, 1, 1, 0}), x = random_tensor({2, 2});
    const View centre = View::centre();
    for (const auto& unary : unaries()) {
        const auto& name = unary.first;
        const auto& op = unary.second;
        check_refused([&] { op(ids); }, {"[" + name + "]", "int32"});
    }
    for (const BinaryCase& binary : binaries()) {
        const std::string name = "[" + binary.name + "]";
        check_refused([&] { binary.op(ids, x); }, {name, "int32", "left"});
        check_refused([&] { binary.op(x, ids); }, {name, "int32", "right"});
    }
    check_refused([&] { where(ids, x, x); }, {"[where]", "condition", "int32"});
    check_refused([&] { where(x, ids, x); }, {"[where]", "first", "int32"});
    check_refused([&] { where(x, x, ids); }, {"[where]", "second", "int32"});
    check_refused([&] { gather(ids, ids); }, {"[gather]", "x", "int32"});
    check_refused([&] { gather(x, x); }, {"[gather]", "ids", "int32"});
    check_refused([&] { concat({x, ids}, 0); }, {"[concat]", "int32"});
    check_refused([&] { concat({ids, x}, 0); }, {"[concat]", "int32"});
    check_refused([&] { matmul(ids, x); }, {"[matmul]", "left", "int32"});
    check_refused([&] { matmul(x, ids); }, {"[matmul]", "right", "int32"});
    check_refused([&] { linear(ids, x, Tensor(), centre); }, {"[linear]", "x", "int32"});
    check_refused([&] { linear(x, ids, Tensor(), centre); }, {"[linear]", "weight", "int32"});
    check_refused(
        [&] {
            linear(x, x, int_tensor({2}, {1, 2}), centre);
        },
        {"[linear]", "bias", "int32"});
    check_refused([&] { perturbed(ids, centre); }, {"[perturbed]", "int32"});
    check_refused([&] { add(ids, x, centre); }, {"[add]", "int32"});
    check_refused([&] { add(x, int_tensor({2}, {1, 2}), centre); }, {"[add]", "int32"});
    check_refused([&] { embedding(x, x, centre); }, {"[embedding]", "ids", "int32"});
    check_refused([&] { embedding(ids, ids, centre); }, {"[embedding]", "table", "int32"});
    check_refused([&] { layer_norm(ids, Tensor(), Tensor(), centre); }, {"[layer_norm]", "int32"});
    check_refused(
        [&] {
            layer_norm(x, int_tensor({2}, {1, 2}), Tensor(), centre);
        },
        {"layer_norm", "int32"});
}

TEST_CASE("ops: an empty tensor is refused by name") {
    const Tensor none, x = random_tensor({2, 2});
    const View centre = View::centre();
    for (const auto& unary : unaries()) {
        const auto& name = unary.first;
        const auto& op = unary.second;
        check_refused([&] { op(none); }, {"[" + name + "]", "empty"});
    }
    for (const BinaryCase& binary : binaries()) {
        const std::string name = "[" + binary.name + "]";
        check_refused([&] { binary.op(none, x); }, {name, "empty"});
        check_refused([&] { binary.op(x, none); }, {name, "empty"});
    }
    check_refused([&] { where(none, x, x); }, {"[where]", "empty"});
    check_refused([&] { gather(x, none); }, {"[gather]", "empty"});
    check_refused([&] { concat({none, none}, 0); }, {"[concat]", "empty"});
    check_refused([&] { matmul(none, x); }, {"[matmul]", "empty"});
    check_refused([&] { linear(none, x, none, centre); }, {"[linear]", "empty"});
    check_refused([&] { linear(x, none, none, centre); }, {"[linear]", "empty"});
    check_refused([&] { perturbed(none, centre); }, {"[perturbed]", "empty"});
    check_refused([&] { add(x, none, centre); }, {"[add]", "empty"});
    check_refused([&] { embedding(none, x, centre); }, {"[embedding]", "empty"});
    check_refused([&] { embedding(int_tensor({1}, {0}), none, centre); }, {"[embedding]", "empty"});
    check_refused([&] { layer_norm(none, x, x, centre); }, {"[layer_norm]", "empty"});
}

TEST_CASE("ops: an empty tensor has no slice and no transpose" *
          doctest::skip()) {  // SIGSEGV at the time of writing
    const Tensor none;
    check_refused([&] { slice(none, 0, 0, 0); }, {"[slice]", "empty"});
    check_refused([&] { transpose(none, 0, 0); }, {"[transpose]", "empty"});
}

TEST_CASE("ops: axes that do not exist are refused") {
    for (const bool mark : {false, true}) {
        const Tensor x = marked(random_tensor({4, 2, 3}), mark);
        const std::string part = mark ? "(2,3)" : "(4,2,3)";
        const int dims = mark ? 2 : 3;
        for (const int axis : {dims, -dims - 1, 100, -100, std::numeric_limits<int>::min(),
                               std::numeric_limits<int>::max()}) {
            const std::string text = "axis " + std::to_string(axis);
            check_refused([&] { sum(x, axis); }, {"[sum]", text, part});
            check_refused([&] { mean(x, axis); }, {"[mean]", text, part});
            check_refused([&] { max(x, axis); }, {"[max]", text, part});
            check_refused([&] { slice(x, axis, 0, 1); }, {"[slice]", text, part});
            check_refused([&] { transpose(x, 0, axis); }, {"[transpose]", text, part});
            check_refused([&] { concat({x, x}, axis); }, {"[concat]", text, part});
        }
    }
    const Tensor scalar = zeros({}), scalars = per_member(zeros({4}));
    for (const Tensor& x : {scalar, scalars}) {
        check_refused([&] { sum(x, 0); }, {"[sum]", "()"});
        check_refused([&] { softmax(x); }, {"[softmax]", to_string(x.shape())});
        check_refused([&] { log_softmax(x); }, {"[log_softmax]"});
        check_refused([&] { argmax(x); }, {"[argmax]"});
        check_refused([&] { gather(x, int_tensor({}, {0})); }, {"[gather]"});
        check_refused([&] { layer_norm(x, Tensor(), Tensor(), View::centre()); }, {"[layer_norm]"});
        check_refused([&] { add(x, scalar, View::centre()); }, {"[add]"});
    }
}

TEST_CASE("ops: entries that do not exist are refused") {
    const Tensor x = random_tensor({2, 3});
    for (const auto& [begin, end] : std::vector<std::pair<int64_t, int64_t>>{
             {-1, 2}, {0, 4}, {2, 1}, {4, 4}, {0, std::numeric_limits<int64_t>::max()}}) {
        const int64_t first = begin, last = end;
        check_refused([&] { slice(x, 1, first, last); },
                      {"[slice]", std::to_string(first) + ".." + std::to_string(last), "(2,3)"});
    }
    for (const int32_t id :
         {-1, 3, std::numeric_limits<int32_t>::max(), std::numeric_limits<int32_t>::min()}) {
        // Ids of the host are looked at; on a device one that does not exist gives NaN.
        const Tensor ids = Tensor::from_ints({2}, {0, id});
        check_refused([&] { gather(x.to(Device::cpu()), ids); },
                      {"[gather]", std::to_string(id), "0..2"});
        check_refused(
            [&] {
                embedding(ids, host_random_tensor({3, 2}), View::centre());
            },
            {"[embedding]", std::to_string(id), "(3,2)"});
        if (!on_cuda()) continue;
        const Tensor there = ids.to(test_device());
        CHECK(std::isnan(host(gather(x, there))[1]));
        const std::vector<float> rows =
            host(embedding(there, random_tensor({3, 2}), View::centre()));
        CHECK_FALSE(std::isnan(rows[1]));
        CHECK((std::isnan(rows[2]) && std::isnan(rows[3])));
    }
    check_refused(
        [&] {
            gather(Tensor::zeros({2, 0}), Tensor::from_ints({2}, {0, 0}));
        },
        {"[gather]"});
}

TEST_CASE("ops: shapes that do not fit together are refused with both") {
    const View centre = View::centre();
    const Tensor x = random_tensor({2, 3});
    const Tensor many = per_member(random_tensor({4, 2, 3}));
    const Tensor more = per_member(random_tensor({5, 2, 3}));
    // reshape
    check_refused([&] { reshape(x, {4}); }, {"[reshape]", "(2,3)", "(4)"});
    check_refused([&] { reshape(x, {-1, 4}); }, {"[reshape]", "(2,3)", "(-1,4)"});
    check_refused([&] { reshape(many, {4, 6}); }, {"[reshape]", "(4,2,3)"});
    check_refused([&] { reshape(x, {-1, -1}); }, {"(-1,-1)"});
    check_refused([&] { reshape(x, {-2, -3}); }, {"(-2,-3)"});
    // concat
    check_refused([&] { concat(std::span<const Tensor>(), 0); }, {"[concat]"});
    check_refused([&] { concat({x, random_tensor({3, 3})}, 1); }, {"[concat]", "(2,3)", "(3,3)"});
    check_refused([&] { concat({x, random_tensor({3})}, 0); }, {"[concat]", "(2,3)", "(3)"});
    check_refused([&] { concat({many, more}, 0); }, {"[concat]", "(4,2,3)", "(5,2,3)"});
    // matmul
    check_refused([&] { matmul(x, x); }, {"[matmul]", "(2,3)", "(2,3)"});
    check_refused([&] { matmul(x, random_tensor({3})); }, {"[matmul]", "(2,3)", "(3)"});
    check_refused(
        [&] {
            matmul(random_tensor({3}), random_tensor({3, 2}));
        },
        {"[matmul]", "(3)", "(3,2)"});
    check_refused(
        [&] {
            matmul(random_tensor({2, 2, 3}), random_tensor({3, 3, 2}));
        },
        {"[matmul]", "(2,2,3)", "(3,3,2)"});
    check_refused([&] { matmul(many, transpose(more, 0, 1)); }, {"[matmul]", "(4,2,3)", "(5,3,2)"});
    check_refused(
        [&] {
            matmul(per_member(random_tensor({4, 3})), random_tensor({3, 2}));
        },
        {"[matmul]", "(4,3)", "(3,2)"});
    // gather
    check_refused([&] { gather(x, int_tensor({3}, {0, 0, 0})); }, {"[gather]", "(2,3)", "(3)"});
    check_refused(
        [&] {
            gather(many, per_member(int_tensor({5, 2}, std::vector<int32_t>(10))));
        },
        {"[gather]", "(4,2,3)", "(5,2)"});
    // linear
    check_refused(
        [&] {
            linear(x, random_tensor({4, 5}), Tensor(), centre);
        },
        {"[linear]", "(4,5)", "3 columns"});
    check_refused([&] { linear(x, random_tensor({3}), Tensor(), centre); }, {"[linear]", "(3)"});
    check_refused(
        [&] {
            linear(x, random_tensor({4, 3}), random_tensor({3}), centre);
        },
        {"[linear]", "(3)", "(4,3)"});
    // the rest of the perturbed ones
    check_refused([&] { add(x, random_tensor({2}), centre); }, {"[add]", "(2)", "(2,3)"});
    check_refused([&] { embedding(int_tensor({1}, {0}), random_tensor({3}), centre); },
                  {"[embedding]", "(3)"});
    check_refused([&] { layer_norm(x, random_tensor({2}), Tensor(), centre); },
                  {"[layer_norm]", "(2)", "(2,3)"});
    check_refused([&] { layer_norm(x, Tensor(), random_tensor({4}), centre); },
                  {"[layer_norm]", "(4)", "(2,3)"});
}

/// What each member has of its own is no matrix or vector of all; the bias of a single member would
/// pass for one.
TEST_CASE("ops: a parameter marked as members' own is refused") {
    const Tensor x = random_tensor({2, 3}), w = random_tensor({4, 3}), b = random_tensor({1, 4});
    const Tensor ids = int_tensor({2}, {0, 1});
    const View centre = View::centre();
    check_refused([&] { linear(x, per_member(w), Tensor(), centre); }, {"[linear]", "(4,3)"});
    check_refused([&] { linear(x, w, per_member(b), centre); }, {"[linear]", "(1,4)"});
    check_refused([&] { embedding(ids, per_member(w), centre); }, {"[embedding]", "(4,3)"});
}

/// A vector parameter is (n): with further axes it would broadcast along another axis than n.
TEST_CASE("ops: a vector parameter with more axes is refused") {
    const Tensor x = random_tensor({3, 3}), column = random_tensor({3, 1});
    check_refused([&] { add(x, column, View::centre()); }, {"[add]", "(3,1)", "(3,3)"});
    check_refused([&] { layer_norm(x, column, Tensor(), View::centre()); },
                  {"[layer_norm]", "(3,1)", "(3,3)"});
}

TEST_CASE("ops: inside a population, inputs and parameters that do not fit are refused") {
    /// Calls an operation with a parameter in a way the operation or its noise does not allow.
    class Wrong : public nn::Module {
    public:
        explicit Wrong(std::function<Tensor(const Tensor&, const Tensor&, const View&)> f)
            : f_(std::move(f)) {
            w_ = register_parameter("w", {3, 3}, nn::init::ones());
        }
        Tensor forward(const Tensor& x, const View& v) const override { return f_(x, w_, v); }

    private:
        std::function<Tensor(const Tensor&, const Tensor&, const View&)> f_;
        Tensor w_;
    };
    const Tensor x = random_tensor({3, 3});  // 3 is no chunk's number of members
    const auto refused = [&](auto f, const std::vector<std::string>& parts) {
        Wrong model = here(Wrong(f));
        Eggroll es(model, {.pop_size = 4});
        check_refused([&] { es.ask().forward(x); }, parts);
    };
    // A matrix as a vector, under another shape than its noise, and for other members.
    refused([](const Tensor&, const Tensor& w, const View& v) { return perturbed(w, v); },
            {"[perturbed]", "\"w\"", "(3,3)"});
    refused(
        [](const Tensor& in, const Tensor& w, const View& v) {
            return linear(in, w.reshape({9, 1}), Tensor(), v);
        },
        {"[linear]", "(9,1)", "3 columns"});
    refused(
        [](const Tensor& in, const Tensor& w, const View& v) {
            return linear(reshape(in, {-1, 1}), w.reshape({9, 1}), Tensor(), v);
        },
        {"[linear]", "\"w\"", "(9,1)", "(3,3)"});
    refused([](const Tensor& in, const Tensor& w,
               const View& v) { return linear(per_member(in), w, Tensor(), v); },
            {"[linear]", "(3,3)", "members"});
}
