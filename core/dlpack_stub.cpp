// SPDX-License-Identifier: MIT
// Stands in for DLPack in a library built without its header.
#include <eggroll/dlpack.h>

#include <string>

namespace eggroll {

namespace {

[[noreturn]] void not_built(const char* caller) {
    throw Error(std::string("[") + caller +
                "] DLPack is not built in: its header was not there, or EGGROLL_DLPACK was OFF");
}

}  // namespace

Tensor from_dlpack(DLManagedTensor*) {
    not_built("from_dlpack");
}

DLManagedTensor* to_dlpack(const Tensor&) {
    not_built("to_dlpack");
}

}  // namespace eggroll
