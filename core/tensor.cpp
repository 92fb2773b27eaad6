// SPDX-License-Identifier: MIT
#include <eggroll/tensor.h>

#include "core/storage.h"

#include <limits>
#include <utility>

namespace eggroll {

using detail::name_of;
using detail::Storage;
using detail::TensorAccess;

namespace {

void require_host(const Tensor& x, Dtype wanted, const char* caller) {
    if (x.device().kind() != Device::Kind::cpu) {
        throw Error(std::string("[") + caller + "] the tensor lives on " + x.device().name() +
                    ", not on cpu: use to(Device::cpu()) first");
    }
    if (x.dtype() != wanted) {
        throw Error(std::string("[") + caller + "] the tensor holds " + name_of(x.dtype()) +
                    ", not " + name_of(wanted));
    }
}

void require_gpu(const Tensor& x, const char* caller) {
    if (x.device().kind() == Device::Kind::cpu) {
        throw Error(std::string("[") + caller + "] the tensor lives on " + x.device().name() +
                    ", not on a GPU: use data() or ints()");
    }
}

template <class T>
Tensor from_host(const Shape& shape, std::span<const T> values, Dtype dtype, const char* caller) {
    const int64_t count = element_count(shape);
    if (count != static_cast<int64_t>(values.size())) {
        throw Error(std::string("[") + caller + "] shape " + to_string(shape) + " has " +
                    std::to_string(count) + " elements but " + std::to_string(values.size()) +
                    " values were given");
    }
    Tensor result = TensorAccess::make(shape, Device::cpu(), dtype);
    if (count > 0) {
        TensorAccess::backend(result).copy_from_host(TensorAccess::raw(result), values.data(),
                                                     values.size_bytes());
    }
    return result;
}

}  // namespace

const char* detail::name_of(Dtype dtype) {
    return dtype == Dtype::f32 ? "float32" : dtype == Dtype::i32 ? "int32" : "bfloat16";
}

std::string to_string(const Shape& shape) {
    std::string text = "(";
    for (size_t i = 0; i < shape.size(); ++i) {
        text += (i ? "," : "") + std::to_string(shape[i]);
    }
    return text + ")";
}

int64_t element_count(const Shape& shape) {
    constexpr int64_t kLimit = std::numeric_limits<int64_t>::max() / 8;
    bool empty = false;
    for (const int64_t extent : shape) {
        if (extent < 0) {
            throw Error("[Shape] " + to_string(shape) + " has a negative extent");
        }
        empty = empty || extent == 0;
    }
    if (empty) return 0;
    int64_t count = 1;
    for (const int64_t extent : shape) {
        if (count > kLimit / extent) {
            throw Error("[Shape] " + to_string(shape) + " has more elements than can be addressed");
        }
        count *= extent;
    }
    return count;
}

// --- Storage ------------------------------------------------------------------------------------

Storage::Storage(Device where, Dtype type, int64_t elements)
    : backend(&detail::backend_of(where)),
      device(where),
      dtype(type),
      count(elements),
      memory(backend->allocate(bytes())) {}

Storage::Storage(Device where, Dtype type, int64_t elements, void* external,
                 std::function<void()> release)
    : backend(&detail::backend_of(where)),
      device(where),
      dtype(type),
      count(elements),
      memory(external),
      written(true),
      external_(true),
      release_(std::move(release)) {}

Storage::~Storage() {
    let_go();
}

void Storage::let_go() noexcept {
    if (!external_) return backend->release(memory, bytes());
    external_ = false;
    const std::function<void()> release = std::exchange(release_, {});
    if (!release) return;
    try {
        backend->synchronize();  // nothing started earlier uses it any more
    } catch (const Error&) {
        // A kernel has failed, or a step is being captured: then the capture fails.
    }
    release();
}

void Storage::require_movable(const char* caller, Device target) const {
    if (target == device || exports == 0) return;
    throw Error(std::string("[") + caller + "] " +
                (name.empty() ? "a tensor" : "\"" + name + "\"") + " is in use through DLPack on " +
                device.name() + " and cannot move to " + target.name());
}

void Storage::move_to(Device target) {
    if (target == device) return;
    // From one GPU to another by way of the host.
    if (device != Device::cpu() && target != Device::cpu()) move_to(Device::cpu());
    const detail::Backend& to = detail::backend_of(target);
    void* moved = to.allocate(bytes());
    try {
        if (target == Device::cpu()) {
            backend->copy_to_host(moved, memory, bytes());
        } else {
            to.copy_from_host(moved, memory, bytes());
        }
    } catch (...) {
        to.release(moved, bytes());
        throw;
    }
    let_go();
    backend = &to;
    device = target;
    memory = moved;
}

// --- TensorAccess -------------------------------------------------------------------------------

Tensor TensorAccess::make(const Shape& shape, Device device, Dtype dtype, bool per_member) {
    Tensor x;
    x.size_ = element_count(shape);
    x.shape_ = shape;
    x.per_member_ = per_member;
    x.storage_ = std::make_shared<Storage>(device, dtype, x.size_);
    return x;
}

Tensor TensorAccess::with_shape(const Tensor& x, Shape shape, bool per_member) {
    Tensor y = x;
    y.shape_ = std::move(shape);
    y.per_member_ = per_member;
    return y;
}

Tensor TensorAccess::member_range(const Tensor& x, int64_t first, int64_t count) {
    Tensor y = x;
    const int64_t part = x.shape_[0] > 0 ? x.size_ / x.shape_[0] : 0;
    y.shape_[0] = count;
    y.offset_ += first * part;
    y.size_ = count * part;
    return y;
}

// --- Tensor -------------------------------------------------------------------------------------

Tensor::Tensor() : shape_{0} {}

Tensor Tensor::full(const Shape& shape, float value, Device device) {
    Tensor result = TensorAccess::make(shape, device);
    TensorAccess::backend(result).fill(TensorAccess::floats(result), value, result.size());
    return result;
}

Tensor Tensor::zeros(const Shape& shape, Device device) {
    return full(shape, 0.0f, device);
}

Tensor Tensor::from(const Shape& shape, std::span<const float> values) {
    return from_host(shape, values, Dtype::f32, "Tensor::from");
}

Tensor Tensor::from(const Shape& shape, std::initializer_list<float> values) {
    return from(shape, std::span<const float>(values.begin(), values.size()));
}

Tensor Tensor::from_ints(const Shape& shape, std::span<const int32_t> values) {
    return from_host(shape, values, Dtype::i32, "Tensor::from_ints");
}

Tensor Tensor::from_ints(const Shape& shape, std::initializer_list<int32_t> values) {
    return from_ints(shape, std::span<const int32_t>(values.begin(), values.size()));
}

int64_t Tensor::dim(int axis) const {
    const int dims = static_cast<int>(shape_.size());
    const int index = axis < 0 ? axis + dims : axis;
    if (index < 0 || index >= dims) {
        throw Error("[Tensor::dim] axis " + std::to_string(axis) + " of a tensor of shape " +
                    to_string(shape_));
    }
    return shape_[static_cast<size_t>(index)];
}

Dtype Tensor::dtype() const {
    return storage_ ? storage_->dtype : Dtype::f32;
}

Device Tensor::device() const {
    return storage_ ? storage_->device : Device::cpu();
}

Shape Tensor::part_shape() const {
    return per_member_ ? Shape(shape_.begin() + 1, shape_.end()) : shape_;
}

std::span<float> Tensor::data() {
    require_host(*this, Dtype::f32, "Tensor::data");
    if (!storage_) return {};
    storage_->written.store(true, std::memory_order_relaxed);
    return {TensorAccess::floats(*this), static_cast<size_t>(size_)};
}

std::span<const float> Tensor::data() const {
    require_host(*this, Dtype::f32, "Tensor::data");
    if (!storage_) return {};
    return {TensorAccess::floats(*this), static_cast<size_t>(size_)};
}

std::span<int32_t> Tensor::ints() {
    require_host(*this, Dtype::i32, "Tensor::ints");
    storage_->written.store(true, std::memory_order_relaxed);
    return {static_cast<int32_t*>(TensorAccess::raw(*this)), static_cast<size_t>(size_)};
}

std::span<const int32_t> Tensor::ints() const {
    require_host(*this, Dtype::i32, "Tensor::ints");
    return {TensorAccess::ints(*this), static_cast<size_t>(size_)};
}

void* Tensor::device_data() {
    require_gpu(*this, "Tensor::device_data");
    storage_->written.store(true, std::memory_order_relaxed);
    return TensorAccess::raw(*this);
}

const void* Tensor::device_data() const {
    require_gpu(*this, "Tensor::device_data");
    return TensorAccess::raw(*this);
}

float Tensor::item() const {
    if (size_ != 1 || !storage_) {
        throw Error("[Tensor::item] needs one element but the tensor has shape " +
                    to_string(shape_));
    }
    if (dtype() == Dtype::i32) return static_cast<float>(to(Device::cpu()).ints()[0]);
    const Tensor host = to(Device::cpu()).to(Dtype::f32);
    return host.data()[0];
}

Tensor Tensor::reshape(const Shape& shape) const {
    const auto refuse = [&](const char* why) {
        throw Error("[reshape] a tensor of shape " + to_string(shape_) + " cannot take shape " +
                    to_string(shape) + why);
    };
    Shape full = shape;
    int64_t known = 1;  // product of the extents given
    int64_t* open = nullptr;
    for (int64_t& extent : full) {
        if (extent == -1) {
            if (open != nullptr) refuse(": only one extent may be -1");
            open = &extent;
            continue;
        }
        if (extent < 0) refuse(": it has a negative extent");
        if (__builtin_mul_overflow(known, extent, &known)) refuse("");
    }
    if (open != nullptr) {
        *open = known > 0 ? size_ / known : 0;
        known *= *open;
    }
    if (known != size_) refuse("");
    const bool mark = per_member_ && !full.empty() && full[0] == shape_[0];
    return TensorAccess::with_shape(*this, std::move(full), mark);
}

Tensor Tensor::clone() const {
    if (!storage_) return *this;
    Tensor copy = TensorAccess::make(shape_, device(), dtype(), per_member_);
    TensorAccess::backend(copy).copy(TensorAccess::raw(copy), TensorAccess::raw(*this),
                                     static_cast<size_t>(size_) * detail::element_bytes(dtype()));
    return copy;
}

Tensor Tensor::to(Device target) const {
    if (!storage_ || target == device()) return *this;
    Tensor copy = TensorAccess::make(shape_, target, dtype(), per_member_);
    copy.assign(*this);
    return copy;
}

Tensor Tensor::to(Dtype wanted) const {
    if (!storage_ || wanted == dtype()) return *this;
    if (wanted == Dtype::i32 || dtype() == Dtype::i32) {
        throw Error("[Tensor::to] a tensor " + to_string(shape_) + " of " + name_of(dtype()) +
                    " cannot become one of " + name_of(wanted));
    }
    Tensor copy = TensorAccess::make(shape_, device(), wanted, per_member_);
    if (wanted == Dtype::bf16) {
        storage_->backend->round_bf16(TensorAccess::floats(*this), TensorAccess::halves(copy),
                                      size_);
    } else {
        storage_->backend->widen_bf16(TensorAccess::halves(*this), TensorAccess::floats(copy),
                                      size_);
    }
    return copy;
}

void Tensor::assign(const Tensor& source) {
    if (shape_ != source.shape_ || dtype() != source.dtype()) {
        throw Error("[Tensor::assign] this tensor is " + to_string(shape_) + " of " +
                    name_of(dtype()) + " but the source is " + to_string(source.shape_) + " of " +
                    name_of(source.dtype()));
    }
    if (size_ == 0) return;
    if (!storage_ || !source.storage_)
        throw Error("[Tensor::assign] of a tensor that was moved from");
    const size_t bytes = static_cast<size_t>(size_) * detail::element_bytes(dtype());
    void* to = TensorAccess::raw(*this);
    const void* from = TensorAccess::raw(source);
    if (device() == source.device()) {
        storage_->backend->copy(to, from, bytes);
    } else if (device().kind() == Device::Kind::cpu) {
        source.storage_->backend->copy_to_host(to, from, bytes);
    } else if (source.device().kind() == Device::Kind::cpu) {
        storage_->backend->copy_from_host(to, from, bytes);
    } else {
        assign(source.to(Device::cpu()));
    }
    storage_->written.store(true, std::memory_order_relaxed);
}

Tensor per_member(const Tensor& x) {
    if (x.shape().empty()) {
        throw Error("[per_member] a scalar has no leading axis of members");
    }
    if (x.shape()[0] == 0) {
        throw Error("[per_member] a tensor of shape " + to_string(x.shape()) + " has no members");
    }
    return TensorAccess::with_shape(x, x.shape(), true);
}

Tensor without_members(const Tensor& x) {
    return TensorAccess::with_shape(x, x.shape(), false);
}

}  // namespace eggroll
