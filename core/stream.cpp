// SPDX-License-Identifier: MIT
#include <eggroll/stream.h>

#include "core/backend.h"

#include <eggroll/error.h>

namespace eggroll {

void* current_stream(Device device) {
    return detail::backend_of(device).stream();
}

void set_stream(Device device, void* stream) {
    detail::backend_of(device).set_stream(stream);
}

void synchronize(Device device) {
    detail::backend_of(device).synchronize();
}

StreamScope::StreamScope(Device device, void* stream)
    : device_(device), before_(current_stream(device)) {
    set_stream(device, stream);
}

StreamScope::~StreamScope() {
    try {
        set_stream(device_, before_);
    } catch (const Error&) {
        // A kernel has failed: so does every call from now on.
    }
}

}  // namespace eggroll
