// SPDX-License-Identifier: MIT
// DLPack in and out: the same memory on both sides, deleters called once, bad tensors refused and
// left to the caller.
#include "core/storage.h"
#include "tests/backend_array.h"
#include "tests/cases.h"
#include "tests/errors.h"

#include <eggroll/dlpack.h>

#include <doctest/doctest.h>

#ifdef EGGROLL_TEST_DLPACK
#include <dlpack/dlpack.h>
#endif

#include <memory>
#include <string>
#include <vector>

using namespace eggroll;
using namespace eggroll::test;
using detail::TensorAccess;

#ifndef EGGROLL_TEST_DLPACK

TEST_CASE("without DLPack its functions say so") {
    CHECK_THROWS_WITH_AS(to_dlpack(Tensor::zeros({2})), doctest::Contains("[to_dlpack] DLPack"),
                         Error);
    CHECK_THROWS_WITH_AS(from_dlpack(nullptr), doctest::Contains("[from_dlpack] DLPack"), Error);
}

#else

namespace {

/// A tensor as another library gives it out; counts the calls of its deleter.
class Foreign {
public:
    Foreign(std::vector<float> values, Shape shape)
        : memory_(detail::backend_of(test_device()), values), shape_(std::move(shape)) {
        DLTensor& x = managed.dl_tensor;
        x.data = memory_.data();
        x.device = {on_cuda() ? kDLCUDA : kDLCPU, 0};
        x.ndim = static_cast<int>(shape_.size());
        x.dtype = {kDLFloat, 32, 1};
        x.shape = shape_.data();
        managed.manager_ctx = this;
        managed.deleter = [](DLManagedTensor* self) {
            ++static_cast<Foreign*>(self->manager_ctx)->deleted;
        };
    }
    Foreign(const Foreign&) = delete;
    Foreign& operator=(const Foreign&) = delete;

    DLTensor& x() { return managed.dl_tensor; }
    std::vector<float> host() const { return memory_.host(); }

    DLManagedTensor managed{};
    int deleted = 0;

private:
    BackendArray<float> memory_;
    Shape shape_;
};

/// How from_dlpack refuses it, having been changed by f.
template <class F>
std::string refusal(const F& change) {
    Foreign foreign({1, 2, 3, 4, 5, 6}, {2, 3});
    change(foreign.x());
    try {
        from_dlpack(&foreign.managed);
        FAIL_CHECK("it was taken");
    } catch (const Error& error) {
        CHECK(foreign.deleted == 0);
        return error.what();
    }
    return "";
}

}  // namespace

TEST_CASE("cuda: a tensor of DLPack is its memory and deletes it once") {
    Foreign foreign({1, 2, 3, 4, 5, 6}, {2, 3});
    {
        Tensor x = from_dlpack(&foreign.managed);
        const Tensor copy = x;
        CHECK(x.shape() == Shape{2, 3});
        CHECK(x.device() == test_device());
        CHECK(TensorAccess::raw(x) == foreign.x().data);
        CHECK(host(x) == std::vector<float>{1, 2, 3, 4, 5, 6});
        x.assign(tensor({2, 3}, {6, 5, 4, 3, 2, 1}));
        CHECK(foreign.host() == std::vector<float>{6, 5, 4, 3, 2, 1});
        x = Tensor();
        CHECK(foreign.deleted == 0);
    }
    CHECK(foreign.deleted == 1);
}

TEST_CASE("strides of dense tensors, offsets and missing deleters are taken") {
    Foreign foreign({0, 1, 2, 3, 4, 5, 6}, {1, 3, 2});
    Shape strides{77, 2, 1};  // that of an axis of one element says nothing
    foreign.x().strides = strides.data();
    foreign.x().byte_offset = 4;
    foreign.managed.deleter = nullptr;
    CHECK(host(from_dlpack(&foreign.managed)) == std::vector<float>{1, 2, 3, 4, 5, 6});

    foreign.x().ndim = 0;
    const Tensor scalar = from_dlpack(&foreign.managed);
    CHECK(scalar.shape() == Shape{});
    CHECK(scalar.item() == 1);

    Shape empty{0, 3, 2};
    foreign.x().ndim = 3;
    foreign.x().shape = empty.data();
    foreign.x().data = nullptr;
    CHECK(from_dlpack(&foreign.managed).shape() == empty);
}

TEST_CASE("cuda: what goes out through DLPack comes back as the same memory") {
    Tensor x = tensor({2, 3}, {1, 2, 3, 4, 5, 6});
    DLManagedTensor* out = to_dlpack(x.reshape({3, 2}));
    const DLTensor& seen = out->dl_tensor;
    CHECK(seen.data == TensorAccess::raw(x));
    CHECK(seen.byte_offset == 0);
    CHECK(seen.device.device_type == (on_cuda() ? kDLCUDA : kDLCPU));
    CHECK(seen.device.device_id == 0);
    REQUIRE(seen.ndim == 2);
    CHECK(Shape(seen.shape, seen.shape + 2) == Shape{3, 2});
    CHECK(Shape(seen.strides, seen.strides + 2) == Shape{2, 1});
    CHECK(seen.dtype.code == kDLFloat);
    CHECK(seen.dtype.bits == 32);
    CHECK(seen.dtype.lanes == 1);

    CHECK(!TensorAccess::is_sole_owner(x));
    {
        Tensor back = from_dlpack(out);  // deletes it at its end
        CHECK(TensorAccess::raw(back) == TensorAccess::raw(x));
        x.assign(full({2, 3}, 8));
        CHECK(host(back) == std::vector<float>(6, 8.0f));
    }
    CHECK(TensorAccess::is_sole_owner(x));
}

TEST_CASE("what went out through DLPack outlives its tensor") {
    DLManagedTensor* out = to_dlpack(int_tensor({3}, {3, 1, 2}));
    CHECK(out->dl_tensor.dtype.code == kDLInt);
    CHECK(host_ints(from_dlpack(out)) == std::vector<int32_t>{3, 1, 2});

    // A part of a tensor, members 1 and 2 of 3.
    const Tensor all = per_member(tensor({3, 2}, {1, 2, 3, 4, 5, 6}));
    out = to_dlpack(TensorAccess::member_range(all, 1, 2));
    CHECK(host(from_dlpack(out)) == std::vector<float>{3, 4, 5, 6});

    for (const Tensor& empty : {Tensor(), zeros({0, 3})}) {
        out = to_dlpack(empty);
        CHECK(out->dl_tensor.data == nullptr);
        out->deleter(out);
    }
}

TEST_CASE("a parameter that is out through DLPack stays on its device") {
    nn::Linear model = here(nn::Linear(3, 2));
    Tensor bias = model.parameters()[1].value;
    DLManagedTensor* out = to_dlpack(bias);
    CHECK_NOTHROW(model.to(test_device()));
    if (on_cuda()) {
        CHECK_THROWS_WITH_AS(model.to(Device::cpu()),
                             doctest::Contains("\"bias\" is in use through DLPack on cuda:0"),
                             Error);
        for (const Parameter& parameter : model.parameters()) {
            CHECK(parameter.value.device() == test_device());
        }
    }
    out->deleter(out);
    CHECK_NOTHROW(model.to(Device::cpu()));
}

TEST_CASE("tensors of DLPack that cannot be ours are refused by name") {
    CHECK_THROWS_WITH_AS(from_dlpack(nullptr), "[from_dlpack] the tensor is null", Error);
    CHECK(contains(refusal([](DLTensor& x) { x.dtype = {kDLFloat, 64, 1}; }), "64 bits"));
    CHECK(contains(refusal([](DLTensor& x) { x.dtype = {kDLUInt, 32, 1}; }), "code 1,"));
    CHECK(contains(refusal([](DLTensor& x) { x.dtype = {kDLFloat, 32, 4}; }), "4 lanes"));
    CHECK(contains(refusal([](DLTensor& x) { x.device.device_type = kDLROCM; }),
                   "a device of type 10"));
    CHECK(contains(refusal([](DLTensor& x) { x.device = {kDLCUDA, 99}; }), "[Device::cuda]"));
    CHECK(contains(refusal([](DLTensor& x) { x.ndim = -1; }), "-1 axes"));
    CHECK(contains(refusal([](DLTensor& x) { x.shape = nullptr; }), "the shape of 2 axes is null"));
    CHECK(contains(refusal([](DLTensor& x) { x.data = nullptr; }), "is null"));
    CHECK(contains(refusal([](DLTensor& x) { x.byte_offset = 1; }), "not aligned to 4 bytes"));
    Shape negative{2, -3}, huge{int64_t{1} << 40, int64_t{1} << 40}, transposed{1, 2};
    CHECK(contains(refusal([&](DLTensor& x) { x.shape = negative.data(); }), "(2,-3)"));
    CHECK(contains(refusal([&](DLTensor& x) { x.shape = huge.data(); }), "more elements"));
    const std::string text = refusal([&](DLTensor& x) { x.strides = transposed.data(); });
    CHECK(contains(text, "strides (1,2)"));
    CHECK(contains(text, "must be dense: (3,1)"));
    if (on_cuda()) {
        std::vector<float> there(6);
        CHECK(contains(refusal([&](DLTensor& x) { x.data = there.data(); }), "is the host's"));
        CHECK(contains(refusal([&](DLTensor& x) { x.device = {kDLCPU, 0}; }), "that of cuda:0"));
    }
}

#endif
