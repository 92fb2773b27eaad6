// SPDX-License-Identifier: MIT
// Tensors as values: what they hold, who shares storage with whom, and what is refused.
#include "tests/errors.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

using namespace eggroll;
using namespace eggroll::test;

// Nothing turns into a tensor by itself, and a tensor into nothing.
static_assert(!std::is_convertible_v<std::vector<float>, Tensor>);
static_assert(!std::is_convertible_v<std::vector<int32_t>, Tensor>);
static_assert(!std::is_convertible_v<std::span<const float>, Tensor>);
static_assert(!std::is_convertible_v<std::initializer_list<float>, Tensor>);
static_assert(!std::is_convertible_v<Shape, Tensor>);
static_assert(!std::is_convertible_v<float, Tensor>);
static_assert(!std::is_convertible_v<int, Tensor>);
static_assert(!std::is_convertible_v<Tensor, float>);
static_assert(!std::is_constructible_v<Tensor, std::vector<float>>);
static_assert(!std::is_constructible_v<Tensor, Shape>);
static_assert(!std::is_constructible_v<Tensor, float>);
static_assert(!std::is_default_constructible_v<Device>);  // cpu() or cuda(), by name
// A const tensor gives out const elements only.
static_assert(std::is_same_v<decltype(std::declval<Tensor&>().data()), std::span<float>>);
static_assert(
    std::is_same_v<decltype(std::declval<const Tensor&>().data()), std::span<const float>>);
static_assert(
    std::is_same_v<decltype(std::declval<const Tensor&>().ints()), std::span<const int32_t>>);
static_assert(std::is_nothrow_move_constructible_v<Tensor>);

namespace {

constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
constexpr int64_t kMin = std::numeric_limits<int64_t>::min();

std::vector<float> counted(int n) {
    std::vector<float> values;
    for (int i = 0; i < n; ++i) values.push_back(static_cast<float>(i));
    return values;
}

}  // namespace

TEST_CASE("tensor: made from values") {
    const Tensor x = Tensor::from({2, 3}, {1, 2, 3, 4, 5, 6});
    CHECK(x.shape() == Shape{2, 3});
    CHECK(x.size() == 6);
    CHECK(x.dtype() == Dtype::f32);
    CHECK(x.device() == Device::cpu());
    CHECK_FALSE(x.is_per_member());
    CHECK(x.members() == 0);
    CHECK(host(x) == std::vector<float>{1, 2, 3, 4, 5, 6});

    std::vector<float> source = {7, 8};
    const Tensor copy = Tensor::from({2}, source);
    source[0] = 0;
    CHECK(host(copy) == std::vector<float>{7, 8});

    const std::vector<int32_t> ints = {std::numeric_limits<int32_t>::min(), -1,
                                       std::numeric_limits<int32_t>::max()};
    const Tensor ids = Tensor::from_ints({3}, ints);
    CHECK(ids.dtype() == Dtype::i32);
    CHECK(std::vector<int32_t>(ids.ints().begin(), ids.ints().end()) == ints);

    for (const float v : Tensor::zeros({3, 4}).data()) CHECK(v == 0.0f);
    for (const float v : Tensor::full({3, 4}, -2.5f).data()) CHECK(v == -2.5f);
    const Tensor scalar = Tensor::full({}, 3.0f);
    CHECK(scalar.size() == 1);
    CHECK(scalar.item() == 3.0f);
    CHECK(Tensor::from({}, {4.0f}).item() == 4.0f);
    CHECK(Tensor::from({0, 3}, std::initializer_list<float>{}).size() == 0);
}

TEST_CASE("tensor: a wrong number of values is refused") {
    check_refused(
        [] {
            Tensor::from({2, 3}, {1, 2});
        },
        {"[Tensor::from]", "(2,3)", "6", "2 values"});
    check_refused([] { Tensor::from({}, counted(2)); }, {"[Tensor::from]", "()", "1", "2 values"});
    check_refused([] { Tensor::from({0}, {1}); }, {"[Tensor::from]", "(0)", "1 values"});
    check_refused(
        [] {
            Tensor::from_ints({3}, {1, 2});
        },
        {"[Tensor::from_ints]", "(3)", "2 values"});
    check_refused([] { Tensor::from_ints({3, -1}, {1, 2, 3}); }, {"(3,-1)", "negative"});
}

TEST_CASE("tensor: text and number of elements of a shape") {
    CHECK(to_string(Shape{}) == "()");
    CHECK(to_string(Shape{3}) == "(3)");
    CHECK(to_string(Shape{3, 0, -1}) == "(3,0,-1)");
    CHECK(element_count({}) == 1);
    CHECK(element_count({3, 4, 5}) == 60);
    CHECK(element_count({3, 0, 5}) == 0);
    CHECK(element_count({kMax, kMax, 0}) == 0);
    CHECK(element_count({int64_t{1} << 30, int64_t{1} << 29}) == int64_t{1} << 59);
    check_refused([] { element_count({3, -1}); }, {"(3,-1)", "negative"});
    check_refused([] { element_count({0, -1}); }, {"(0,-1)", "negative"});
    check_refused([] { element_count({kMin}); }, {"negative"});
    for (const Shape& shape :
         {Shape{kMax}, Shape{kMax, 2}, Shape{int64_t{1} << 32, int64_t{1} << 32},
          Shape{3037000500, 3037000500}, Shape{int64_t{1} << 62, 4},
          Shape{2, 2, 2, int64_t{1} << 61}}) {
        CAPTURE(to_string(shape));
        check_refused([&] { element_count(shape); }, {to_string(shape), "more elements"});
        check_refused([&] { Tensor::zeros(shape); }, {to_string(shape)});
        check_refused([&] { Tensor::from(shape, counted(3)); }, {to_string(shape)});
        check_refused([&] { Tensor::zeros({1}).reshape(shape); }, {to_string(shape)});
    }
    check_refused([] { Tensor::zeros({-3}); }, {"(-3)", "negative"});
    check_refused([] { Tensor::full({2, -3}, 1.0f); }, {"(2,-3)", "negative"});
}

// The sanitizers' own allocators end the program instead.
#ifndef EGGROLL_TEST_SANITIZED
TEST_CASE("tensor: memory that is not there is refused") {
    check_refused([] { Tensor::zeros({int64_t{1} << 50}); }, {"out of memory"});
}
#endif

TEST_CASE("tensor: copies share, clones do not") {
    Tensor x = Tensor::from({3}, {1, 2, 3});
    Tensor copy = x;
    const Tensor clone = x.clone(), flat = x.reshape({3, 1});
    const Tensor same = x.to(Device::cpu()), own = per_member(x);
    copy.data()[1] = 20;
    CHECK(x.data()[1] == 20);
    CHECK(flat.data()[1] == 20);
    CHECK(same.data()[1] == 20);
    CHECK(own.data()[1] == 20);
    CHECK(clone.data()[1] == 2);
    x = Tensor::zeros({1});  // another tensor; the storage lives on
    CHECK(copy.data()[1] == 20);

    const Tensor marked = per_member(Tensor::from_ints({2}, {5, 6})).clone();
    CHECK(marked.is_per_member());
    CHECK(marked.dtype() == Dtype::i32);
    CHECK(marked.ints()[1] == 6);
    CHECK(Tensor::zeros({0, 4}).clone().shape() == Shape{0, 4});
}

TEST_CASE("tensor: the empty tensor") {
    Tensor x;
    CHECK(x.shape() == Shape{0});
    CHECK(x.size() == 0);
    CHECK(x.dtype() == Dtype::f32);
    CHECK(x.device() == Device::cpu());
    CHECK(x.data().empty());
    const Tensor& constant = x;
    CHECK(constant.data().empty());
    CHECK(x.clone().size() == 0);
    CHECK(x.to(Device::cpu()).size() == 0);
    CHECK(x.reshape({0, 3}).shape() == Shape{0, 3});
    check_refused([&] { x.item(); }, {"[Tensor::item]", "(0)"});
    check_refused([&] { x.ints(); }, {"[Tensor::ints]"});
    check_refused([&] { x.reshape({1}); }, {"[reshape]", "(0)", "(1)"});
    x.assign(Tensor::zeros({0}));
    check_refused([&] { x.assign(Tensor::zeros({1})); }, {"[Tensor::assign]", "(0)", "(1)"});
}

TEST_CASE("tensor: elements of another type are refused by the caller's name") {
    Tensor floats = Tensor::zeros({2}), ints = Tensor::from_ints({2}, {1, 2});
    const Tensor &const_floats = floats, &const_ints = ints;
    check_refused([&] { floats.ints(); }, {"[Tensor::ints]", "float32", "int32"});
    check_refused([&] { const_floats.ints(); }, {"[Tensor::ints]", "float32", "int32"});
    check_refused([&] { ints.data(); }, {"[Tensor::data]", "int32", "float32"});
    check_refused([&] { const_ints.data(); }, {"[Tensor::data]", "int32", "float32"});
}

TEST_CASE("tensor: extents by axis") {
    const Tensor x = Tensor::zeros({2, 3, 4});
    for (int axis = 0; axis < 3; ++axis) {
        CHECK(x.dim(axis) == axis + 2);
        CHECK(x.dim(axis - 3) == axis + 2);
    }
    for (const int axis :
         {3, -4, std::numeric_limits<int>::max(), std::numeric_limits<int>::min()}) {
        check_refused([&] { x.dim(axis); },
                      {"[Tensor::dim]", "axis " + std::to_string(axis), "(2,3,4)"});
    }
    check_refused([] { Tensor::zeros({}).dim(0); }, {"[Tensor::dim]", "()"});
}

TEST_CASE("tensor: item of one element") {
    CHECK(Tensor::from({1, 1, 1}, {2.5f}).item() == 2.5f);
    CHECK(Tensor::from_ints({1}, {7}).item() == 7.0f);
    CHECK(per_member(Tensor::from({1}, {2.5f})).item() == 2.5f);
    CHECK(std::isnan(Tensor::full({}, std::nanf("")).item()));
    check_refused([] { Tensor::zeros({2}).item(); }, {"[Tensor::item]", "(2)"});
    check_refused([] { Tensor::zeros({0}).item(); }, {"[Tensor::item]", "(0)"});
}

TEST_CASE("tensor: reshape, with one extent left open") {
    const Tensor x = Tensor::from({2, 6}, counted(12));
    for (const Shape& shape : {Shape{12}, Shape{3, 4}, Shape{1, 12, 1}, Shape{2, 3, 2}}) {
        CHECK(x.reshape(shape).shape() == shape);
        CHECK(host(x.reshape(shape)) == counted(12));
    }
    CHECK(x.reshape({-1}).shape() == Shape{12});
    CHECK(x.reshape({-1, 4}).shape() == Shape{3, 4});
    CHECK(x.reshape({2, -1, 3}).shape() == Shape{2, 2, 3});
    CHECK(x.reshape({12, -1}).shape() == Shape{12, 1});
    CHECK(Tensor::zeros({}).reshape({-1}).shape() == Shape{1});
    CHECK(Tensor::zeros({0, 3}).reshape({-1, 3}).shape() == Shape{0, 3});
    for (const Shape& shape : {Shape{}, Shape{11}, Shape{13}, Shape{-1, 5}, Shape{-1, 0},
                               Shape{0, -1}, Shape{-1, 24}, Shape{5, 2}}) {
        check_refused([&] { x.reshape(shape); }, {"[reshape]", "(2,6)", to_string(shape)});
    }
    check_refused([&] { x.reshape({-1, -1}); }, {"(-1,-1)"});
    check_refused([&] { x.reshape({-2, -6}); }, {"(-2,-6)", "negative"});
    check_refused([&] { x.reshape({-1, -12}); }, {"(-1,-12)"});
}

/// Extents whose product overflows are refused like any others; undefined behaviour is caught by
/// the sanitizer.
TEST_CASE("tensor: reshape to an open extent beside hostile ones") {
    const Tensor x = Tensor::zeros({2, 6});
    check_refused([&] { x.reshape({-1, kMax, kMax}); }, {"(2,6)"});
    check_refused([&] { x.reshape({-1, int64_t{1} << 32, int64_t{1} << 32}); }, {"(2,6)"});
    check_refused([&] { x.reshape({kMax, 2, -1}); }, {"(2,6)"});
}

TEST_CASE("tensor: the mark of members") {
    const Tensor x = Tensor::from({4, 6}, counted(24));
    const Tensor own = per_member(x);
    CHECK(own.is_per_member());
    CHECK(own.members() == 4);
    CHECK(own.shape() == Shape{4, 6});
    CHECK(own.part_shape() == Shape{6});
    CHECK_FALSE(x.is_per_member());
    CHECK(x.part_shape() == Shape{4, 6});
    CHECK(per_member(own).members() == 4);
    CHECK(per_member(Tensor::zeros({3})).part_shape() == Shape{});
    const Tensor plain = without_members(own);
    CHECK_FALSE(plain.is_per_member());
    CHECK(plain.shape() == Shape{4, 6});
    CHECK(host(plain) == counted(24));
    CHECK_FALSE(without_members(x).is_per_member());
    check_refused([] { per_member(Tensor::zeros({})); }, {"[per_member]", "scalar"});

    // Stays while the leading extent stays, falls off otherwise.
    CHECK(own.reshape({4, 2, 3}).is_per_member());
    CHECK(own.reshape({4, -1}).is_per_member());
    CHECK(own.reshape({-1, 6}).is_per_member());
    CHECK_FALSE(own.reshape({24}).is_per_member());
    CHECK_FALSE(own.reshape({2, 12}).is_per_member());
    CHECK_FALSE(per_member(Tensor::zeros({1})).reshape({}).is_per_member());
    CHECK_FALSE(x.reshape({4, 3, 2}).is_per_member());
}

TEST_CASE("tensor: assign copies values into the same storage") {
    Tensor x = Tensor::zeros({2, 3});
    const Tensor alias = x;
    Tensor source = Tensor::from({2, 3}, counted(6));
    x.assign(source);
    source.data()[0] = 100;
    CHECK(host(alias) == counted(6));
    x.assign(x);
    CHECK(host(alias) == counted(6));
    Tensor ids = Tensor::from_ints({2}, {1, 2});
    ids.assign(Tensor::from_ints({2}, {3, 4}));
    CHECK(ids.ints()[1] == 4);

    check_refused([&] { x.assign(Tensor::zeros({3, 2})); }, {"[Tensor::assign]", "(2,3)", "(3,2)"});
    check_refused([&] { x.assign(Tensor::zeros({6})); }, {"[Tensor::assign]", "(2,3)", "(6)"});
    check_refused([&] { x.assign(Tensor()); }, {"[Tensor::assign]", "(2,3)", "(0)"});
    check_refused([&] { ids.assign(Tensor::zeros({2})); },
                  {"[Tensor::assign]", "int32", "float32"});
    CHECK(host(alias) == counted(6));
    CHECK(ids.ints()[1] == 4);
}

TEST_CASE("device: a value like any other") {
    CHECK(Device::cpu() == Device::cpu());
    CHECK(Device::cpu().kind() == Device::Kind::cpu);
    CHECK(Device::cpu().index() == 0);
    CHECK(Device::cpu().name() == "cpu");
}

TEST_CASE("device: a CUDA device that is not there says why") {
#ifdef EGGROLL_TEST_CUDA
    if (on_cuda()) {
        CHECK(Device::cuda(0).name() == "cuda:0");
        check_refused([] { Device::cuda(15); }, {"[Device::cuda]", "15"});
    }
    for (const int index : {-1, 16}) {
        check_refused([&] { Device::cuda(index); }, {"[Device::cuda]", std::to_string(index)});
    }
#else
    for (const int index : {0, 1, -1}) {
        check_refused([&] { Device::cuda(index); }, {"[Device::cuda]", "CUDA", "not built in"});
    }
#endif
}
