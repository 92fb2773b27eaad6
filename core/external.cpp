// SPDX-License-Identifier: MIT
// Tensors of memory that is somebody else's.
#include "core/storage.h"

#include <cstdint>
#include <string>
#include <utility>

namespace eggroll {

namespace {

std::string owner_of(const detail::Reach& reach) {
    return reach.host ? "the host's" : "that of cuda:" + std::to_string(reach.device);
}

bool is_within(const detail::Reach& reach, const Device& device) {
    if (device.kind() == Device::Kind::cpu) return reach.host;
    return reach.any_device || reach.device == device.index();
}

}  // namespace

Tensor detail::TensorAccess::make_external(const char* caller, void* memory, const Shape& shape,
                                           Device device, Dtype dtype,
                                           std::function<void()> release) {
    const auto refuse = [&](const std::string& why) {
        throw Error(std::string("[") + caller + "] the memory of a tensor of shape " +
                    to_string(shape) + " on " + device.name() + " " + why);
    };
    Tensor x;
    x.size_ = element_count(shape);
    x.shape_ = shape;
    if (x.size_ > 0) {
        if (memory == nullptr) refuse("is null");
        const size_t size = element_bytes(dtype);
        const auto past = reinterpret_cast<uintptr_t>(memory) % size;
        if (past != 0) {
            refuse("is not aligned to " + std::to_string(size) + " bytes: its address is " +
                   std::to_string(past) + " past a multiple of " + std::to_string(size));
        }
        const Reach reach = reach_of(memory);
        if (!is_within(reach, device)) refuse("is " + owner_of(reach));
    }
    x.storage_ = std::make_shared<Storage>(device, dtype, x.size_, memory, std::move(release));
    return x;
}

Tensor Tensor::from_blob(void* memory, const Shape& shape, Device device, Dtype dtype,
                         std::function<void()> release) {
    return detail::TensorAccess::make_external("Tensor::from_blob", memory, shape, device, dtype,
                                               std::move(release));
}

}  // namespace eggroll
