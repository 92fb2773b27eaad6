// SPDX-License-Identifier: MIT
#include <eggroll/dlpack.h>

#include "core/storage.h"

#include <dlpack/dlpack.h>

#include <memory>
#include <string>

namespace eggroll {

using detail::Storage;
using detail::TensorAccess;

namespace {

[[noreturn]] void refuse(const std::string& why) {
    throw Error("[from_dlpack] " + why);
}

Dtype dtype_of(const DLDataType& type) {
    if (type.lanes == 1 && type.bits == 32) {
        if (type.code == kDLFloat) return Dtype::f32;
        if (type.code == kDLInt) return Dtype::i32;
    }
    if (type.lanes == 1 && type.bits == 16 && type.code == kDLBfloat) return Dtype::bf16;
    refuse(
        "the elements have code " + std::to_string(type.code) + ", " + std::to_string(type.bits) +
        " bits and " + std::to_string(type.lanes) +
        " lanes but only float32 (2, 32, 1), int32 (0, 32, 1) and bfloat16 (4, 16, 1) are taken");
}

DLDataType type_of(Dtype dtype) {
    const auto code = dtype == Dtype::f32 ? kDLFloat : dtype == Dtype::i32 ? kDLInt : kDLBfloat;
    return {static_cast<uint8_t>(code), static_cast<uint8_t>(8 * detail::element_bytes(dtype)), 1};
}

Device device_of(const DLDevice& device) {
    if (device.device_type == kDLCPU) return Device::cpu();
    if (device.device_type == kDLCUDA) return Device::cuda(device.device_id);
    refuse("the memory is on a device of type " +
           std::to_string(static_cast<int>(device.device_type)) + " but only CPU (" +
           std::to_string(static_cast<int>(kDLCPU)) + ") and CUDA (" +
           std::to_string(static_cast<int>(kDLCUDA)) + ") are taken");
}

Shape shape_of(const DLTensor& x) {
    if (x.ndim < 0) refuse("the tensor has " + std::to_string(x.ndim) + " axes");
    if (x.ndim == 0) return {};
    if (x.shape == nullptr) refuse("the shape of " + std::to_string(x.ndim) + " axes is null");
    return Shape(x.shape, x.shape + x.ndim);
}

Shape dense_strides(const Shape& shape) {
    Shape strides(shape.size(), 1);
    if (element_count(shape) == 0) return strides;
    int64_t stride = 1;
    for (size_t i = shape.size(); i-- > 0;) {
        strides[i] = stride;
        stride *= shape[i];
    }
    return strides;
}

/// An axis of one element may have any stride.
void require_dense(const DLTensor& x, const Shape& shape) {
    if (x.strides == nullptr || element_count(shape) == 0) return;
    const Shape dense = dense_strides(shape);
    for (size_t i = 0; i < shape.size(); ++i) {
        if (shape[i] == 1 || x.strides[i] == dense[i]) continue;
        refuse("a tensor of shape " + to_string(shape) + " has strides " +
               to_string(Shape(x.strides, x.strides + x.ndim)) +
               " but must be dense: " + to_string(dense));
    }
}

/// A tensor that has gone out; lives until its deleter is called.
class Exported {
public:
    explicit Exported(const Tensor& x)
        : tensor_(x), shape_(x.shape()), strides_(dense_strides(shape_)) {
        DLTensor& out = managed_.dl_tensor;
        if (Storage* storage = TensorAccess::storage(tensor_)) {
            storage->written = true;
            ++storage->exports;
            out.data = x.size() > 0 ? TensorAccess::raw(tensor_) : nullptr;
        }
        const bool on_cpu = x.device().kind() == Device::Kind::cpu;
        out.device = {on_cpu ? kDLCPU : kDLCUDA, x.device().index()};
        out.ndim = static_cast<int>(shape_.size());
        out.dtype = type_of(x.dtype());
        out.shape = shape_.data();
        out.strides = strides_.data();
        managed_.manager_ctx = this;
        managed_.deleter = [](DLManagedTensor* self) {
            delete static_cast<Exported*>(self->manager_ctx);
        };
    }
    ~Exported() {
        if (Storage* storage = TensorAccess::storage(tensor_)) --storage->exports;
    }
    Exported(const Exported&) = delete;
    Exported& operator=(const Exported&) = delete;

    DLManagedTensor* managed() { return &managed_; }

private:
    Tensor tensor_;
    Shape shape_, strides_;
    DLManagedTensor managed_{};
};

}  // namespace

Tensor from_dlpack(DLManagedTensor* managed) {
    if (managed == nullptr) refuse("the tensor is null");
    const DLTensor& x = managed->dl_tensor;
    const Dtype dtype = dtype_of(x.dtype);
    const Device device = device_of(x.device);
    const Shape shape = shape_of(x);
    element_count(shape);  // throws for what is no shape
    require_dense(x, shape);
    void* memory = x.data == nullptr ? nullptr : static_cast<char*>(x.data) + x.byte_offset;
    return TensorAccess::make_external("from_dlpack", memory, shape, device, dtype, [managed] {
        if (managed->deleter != nullptr) managed->deleter(managed);
    });
}

DLManagedTensor* to_dlpack(const Tensor& x) {
    return std::make_unique<Exported>(x).release()->managed();
}

}  // namespace eggroll
