// SPDX-License-Identifier: MIT
// Stands in for the CUDA backend in a library built without it.
#include "core/backend.h"

#include <eggroll/error.h>

namespace eggroll::detail {

const Backend& cuda_backend(int) {
    throw Error("[Device::cuda] the CUDA backend is not built in: this library has the CPU only");
}

Reach reach_of(const void*) {
    return {};
}

}  // namespace eggroll::detail
