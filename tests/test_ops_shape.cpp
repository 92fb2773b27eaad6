// SPDX-License-Identifier: MIT
// Operations that move elements, and products of matrices, against the naive reference.
#include "tests/parts.h"
#include "tests/reference.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

using namespace eggroll;
using namespace eggroll::test;
using eggroll::test::reference::kUnit;

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
