// SPDX-License-Identifier: MIT
// Reductions, and operations on rows, against the naive reference.
#include "tests/parts.h"
#include "tests/reference.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <vector>

using namespace eggroll;
using namespace eggroll::test;
using eggroll::test::reference::kUnit;

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
