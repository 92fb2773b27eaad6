// SPDX-License-Identifier: MIT
#pragma once

#include "tests/cases.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

// What the functions of <eggroll/ops.h> are compared with, in test_ops_*.cpp: a naive reference in
// double that reads one member's part at a time.
//
// Where a float operation rounds once, its result is the double result rounded to float (double
// rounding is harmless for +, −, ·, / and √: 53 >= 2·24 + 2 bits, Figueroa 1995), so equality is
// asked for. Other bounds are stated where they are used, in units of u = 2^-24.

namespace eggroll::test {

using Values = std::vector<double>;

inline constexpr float kLargest = std::numeric_limits<float>::max();
inline constexpr float kSmallest = std::numeric_limits<float>::min();  // normal

/// A float in double.
inline double wide(float v) {
    return static_cast<double>(v);
}

/// `got` is `want` within relative·|want| + absolute; infinities and NaN are themselves.
inline bool close(float got, double want, double relative = 0, double absolute = 0) {
    if (std::isnan(want)) return std::isnan(got);
    const auto rounded = static_cast<float>(want);
    if (got == rounded) return true;
    if (!std::isfinite(got) || !std::isfinite(rounded)) return false;
    return std::fabs(wide(got) - want) <= relative * std::fabs(want) + absolute;
}

// --- Parts of members ---------------------------------------------------------------------------

/// One member's part in double; all members of a shared tensor have the same.
struct Part {
    Shape shape;
    Values at;
};

/// The part of a member, of floats or ints; of a shared tensor all of it.
inline Part part_of(const Tensor& x, int64_t member) {
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
inline void for_each_index(const Shape& shape, const std::function<void(const Shape&)>& f) {
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
inline double at(const Part& part, const Shape& index) {
    const size_t skip = index.size() - part.shape.size();
    int64_t offset = 0;
    for (size_t d = 0; d < part.shape.size(); ++d) {
        offset = offset * part.shape[d] + (part.shape[d] == 1 ? 0 : index[skip + d]);
    }
    return part.at[static_cast<size_t>(offset)];
}

/// What a part should be.
struct Expected {
    Shape shape;  // of a part
    Values at;
    Values absolute = {};  // bound of each element; empty: none
};

/// Compares each member's part, and that y is marked as it should be: members 0 is shared.
inline void check_parts(const Tensor& y, int64_t members,
                        const std::function<Expected(int64_t)>& want, double relative = 0) {
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

/// A shape, and whether its leading axis counts members.
struct Marked {
    Shape shape;
    bool mark = false;

    int64_t members() const { return mark ? shape[0] : 0; }
    Shape part() const { return mark ? Shape(shape.begin() + 1, shape.end()) : shape; }
};

/// x, its leading axis marked as members if so said.
inline Tensor marked(const Tensor& x, bool mark) {
    return mark ? per_member(x) : x;
}

// --- Functions of two tensors -------------------------------------------------------------------

using Binary = Tensor (*)(const Tensor&, const Tensor&);

/// A function of two tensors by its name in messages, and what it does to two elements.
struct BinaryCase {
    std::string name;
    Binary op;
    double (*f)(double, double);
};

/// All of them.
inline const std::vector<BinaryCase>& binaries() {
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

/// f of the broadcast parts of a member; `shape` is that of the result.
inline Expected expect_binary(const Tensor& a, const Tensor& b, int64_t member, const Shape& shape,
                              double (*f)(double, double)) {
    const Part pa = part_of(a, member), pb = part_of(b, member);
    Expected expected{shape, {}};
    for_each_index(shape, [&](const Shape& i) { expected.at.push_back(f(at(pa, i), at(pb, i))); });
    return expected;
}

}  // namespace eggroll::test
