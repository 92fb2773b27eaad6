// SPDX-License-Identifier: MIT
#pragma once

#include <eggroll/device.h>
#include <eggroll/error.h>

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace eggroll {

namespace detail {
struct Storage;
struct TensorAccess;
}  // namespace detail

using Shape = std::vector<int64_t>;

/// | | bytes | made by | used by |
/// |---|---|---|---|
/// | f32 | 4 | most things | all operations |
/// | i32 | 4 | `from_ints` | labels and ids |
/// | bf16 | 2 | `to(Dtype::bf16)`, `linear` of a population under Precision::bf16 on a GPU | all
/// operations: `linear` takes it as it is under that precision, all else as the same numbers in
/// f32 |
enum class Dtype { f32, i32, bf16 };

/// "(3,4)"; "()" for a scalar.
EGGROLL_API std::string to_string(const Shape& shape);
/// Product of the extents; 1 for a scalar. Throws Error when an extent is negative or it overflows.
EGGROLL_API int64_t element_count(const Shape& shape);

/// A dense row-major array of float, bfloat16, or int32 (for labels and ids) on one device.
///
/// Copying shares the storage, `clone()` copies it. A tensor is either *shared* (all members of a
/// population see the same values) or *per-member*: its leading axis then counts members, and every
/// operation carries that mark on.
class EGGROLL_API Tensor {
public:
    /// An empty tensor of shape (0).
    Tensor();

    static Tensor zeros(const Shape& shape, Device device = Device::cpu());
    static Tensor full(const Shape& shape, float value, Device device = Device::cpu());
    /// Throws Error unless `values` holds exactly the shape's number of elements.
    static Tensor from(const Shape& shape, std::span<const float> values);
    static Tensor from(const Shape& shape, std::initializer_list<float> values);
    static Tensor from_ints(const Shape& shape, std::span<const int32_t> values);
    static Tensor from_ints(const Shape& shape, std::initializer_list<int32_t> values);

    /// A tensor of memory that is already there and is not copied: dense, row-major, aligned to its
    /// elements, of `device`. It stays the caller's and must last as long as a tensor shares it,
    /// unless there is a `release`: that is called once, when the last tensor is gone or a
    /// parameter in it moves to another device, and after all that was started with the memory is
    /// done (on a GPU this waits for current_stream(device)). It must not throw and may run on any
    /// thread.
    ///
    /// On a GPU the library uses the memory in the order of current_stream(device): what other
    /// streams do with it is put in order by the caller (docs/embedding.md).
    ///
    /// Throws Error when the memory is null and the shape has elements, is not aligned, or is not
    /// of `device`; then `release` is not called. Managed and page-locked memory is of all devices.
    static Tensor from_blob(void* memory, const Shape& shape, Device device = Device::cpu(),
                            Dtype dtype = Dtype::f32, std::function<void()> release = {});

    const Shape& shape() const { return shape_; }
    int64_t size() const { return size_; }
    /// Extent of an axis; negative axes count from the end.
    int64_t dim(int axis) const;
    Dtype dtype() const;
    Device device() const;

    /// Marked as having a leading axis of members.
    bool is_per_member() const { return per_member_; }
    /// Extent of the axis of members; 0 for a shared tensor.
    int64_t members() const { return per_member_ ? shape_[0] : 0; }
    /// The shape of one member's part: shape() without the axis of members.
    Shape part_shape() const;

    /// The elements on the host. Throws Error on a device tensor or another element type.
    std::span<float> data();
    std::span<const float> data() const;
    std::span<int32_t> ints();
    std::span<const int32_t> ints() const;
    /// Where the elements are on the GPU, for kernels of one's own in current_stream(device()).
    /// Throws Error on a tensor of the CPU.
    void* device_data();
    const void* device_data() const;
    /// The value of a tensor of one element, from any device.
    float item() const;

    /// The same storage under another shape of equal size; one extent may be -1. The mark of a
    /// per-member tensor stays while the leading extent stays, and falls off otherwise.
    Tensor reshape(const Shape& shape) const;
    /// A copy with storage of its own.
    Tensor clone() const;
    /// This tensor if it already lives on `device`, else a copy there.
    Tensor to(Device device) const;
    /// This tensor if it already holds that type, else its values as f32 or, rounded to the nearest
    /// with ties to even, as bf16. Throws Error for int32.
    Tensor to(Dtype dtype) const;
    /// Copies the values of `source` (same shape and element type, any device) into this storage.
    void assign(const Tensor& source);

private:
    friend struct detail::TensorAccess;

    std::shared_ptr<detail::Storage> storage_;
    int64_t offset_ = 0;  // in elements
    int64_t size_ = 0;
    Shape shape_;
    bool per_member_ = false;
};

/// Marks `x` (P,...) as holding each member's own values along its leading axis. Shares the
/// storage.
EGGROLL_API Tensor per_member(const Tensor& x);
/// Takes the mark off: the axis of members becomes an ordinary one.
EGGROLL_API Tensor without_members(const Tensor& x);

}  // namespace eggroll
