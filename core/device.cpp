// SPDX-License-Identifier: MIT
#include <eggroll/device.h>

#include "core/backend.h"

namespace eggroll {

Device Device::cpu() {
    return Device(Kind::cpu, 0);
}

Device Device::cuda(int index) {
    detail::cuda_backend(index);  // throws when there is none
    return Device(Kind::cuda, index);
}

std::string Device::name() const {
    return kind_ == Kind::cpu ? "cpu" : "cuda:" + std::to_string(index_);
}

const detail::Backend& detail::backend_of(const Device& device) {
    return device.kind() == Device::Kind::cpu ? cpu_backend() : cuda_backend(device.index());
}

}  // namespace eggroll
