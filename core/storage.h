// SPDX-License-Identifier: MIT
#pragma once

#include "core/backend.h"

#include <eggroll/tensor.h>

#include <atomic>
#include <functional>
#include <string>

namespace eggroll::detail {

/// "float32", "int32", "bfloat16".
const char* name_of(Dtype dtype);
constexpr size_t element_bytes(Dtype dtype) {
    return dtype == Dtype::bf16 ? 2 : 4;
}

/// The memory behind tensors. A parameter's storage moves between devices in place, so that all
/// tensors that alias it move along.
struct Storage {
    Storage(Device where, Dtype type, int64_t elements);
    /// Of memory that is somebody else's; `release` (may be empty) is called when it is let go.
    Storage(Device where, Dtype type, int64_t elements, void* external,
            std::function<void()> release);
    ~Storage();
    Storage(const Storage&) = delete;
    Storage& operator=(const Storage&) = delete;

    size_t bytes() const { return static_cast<size_t>(count) * element_bytes(dtype); }
    /// Throws Error when somebody outside knows the memory by its address.
    void require_movable(const char* caller, Device target) const;
    void move_to(Device target);

    const Backend* backend;
    Device device;
    Dtype dtype;
    int64_t count;  // elements
    void* memory;
    std::string name;  // of the parameter it holds, for messages
    /// Somebody outside has been handed mutable access: its values may not be redrawn unasked.
    std::atomic<bool> written{false};
    /// References that have gone out through DLPack.
    std::atomic<int> exports{0};

private:
    void let_go() noexcept;

    bool external_ = false;
    std::function<void()> release_;
};

/// What operations may do with a tensor and users may not.
struct TensorAccess {
    /// Uninitialised memory of that shape.
    static Tensor make(const Shape& shape, Device device, Dtype dtype = Dtype::f32,
                       bool per_member = false);
    /// Of memory of somebody else's; see Tensor::from_blob.
    static Tensor make_external(const char* caller, void* memory, const Shape& shape, Device device,
                                Dtype dtype, std::function<void()> release);
    static Tensor with_shape(const Tensor& x, Shape shape, bool per_member);
    /// Members first..first+count-1 of a per-member tensor; shares the storage.
    static Tensor member_range(const Tensor& x, int64_t first, int64_t count);

    /// Whether no other tensor shares the memory; false for a tensor without any. What those that
    /// did share it have read and written is over then.
    static bool is_sole_owner(const Tensor& x) {
        if (x.storage_.use_count() != 1) return false;
        // The count is read without order; letting go of a copy puts what others did before.
        [[maybe_unused]] const auto copy = x.storage_;
        return true;
    }

    static const Storage* storage(const Tensor& x) { return x.storage_.get(); }
    static Storage* storage(Tensor& x) { return x.storage_.get(); }
    static int64_t offset(const Tensor& x) { return x.offset_; }
    static const Backend& backend(const Tensor& x) { return *x.storage_->backend; }
    static const void* raw(const Tensor& x) {
        return static_cast<const char*>(x.storage_->memory) + offset_bytes(x);
    }
    static void* raw(Tensor& x) { return static_cast<char*>(x.storage_->memory) + offset_bytes(x); }
    static const float* floats(const Tensor& x) { return static_cast<const float*>(raw(x)); }
    static float* floats(Tensor& x) { return static_cast<float*>(raw(x)); }
    static const int32_t* ints(const Tensor& x) { return static_cast<const int32_t*>(raw(x)); }
    /// Of bfloat16, by its bits.
    static const uint16_t* halves(const Tensor& x) { return static_cast<const uint16_t*>(raw(x)); }
    static uint16_t* halves(Tensor& x) { return static_cast<uint16_t*>(raw(x)); }

private:
    static int64_t offset_bytes(const Tensor& x) {
        return x.offset_ * static_cast<int64_t>(element_bytes(x.storage_->dtype));
    }
};

}  // namespace eggroll::detail
