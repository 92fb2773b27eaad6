// SPDX-License-Identifier: MIT
#pragma once

#include <eggroll/device.h>

namespace eggroll {

// The order of work on a GPU. All that the library does on a device goes into one stream, of its
// own at first, and is there done in the order of the calls. A stream is a cudaStream_t, passed as
// void*. The CPU works while it is called: it has no stream and nothing to wait for.

/// The stream that work on the device goes into; null for the CPU.
EGGROLL_API void* current_stream(Device device);

/// Has all further work on the device, from every thread, go into a stream of the caller's, after
/// what the last one holds; null gives it back to the library's own. The stream must be one of
/// `device` and last until another is set. cudaStreamLegacy is the default stream. Not while
/// another thread works on the device. Throws Error for a stream of another device, one that is
/// being captured, cudaStreamPerThread, and any but null for the CPU.
EGGROLL_API void set_stream(Device device, void* stream);

/// Waits for all work in the stream of the device. Throws Error when a kernel has failed since the
/// last wait, naming those it may have been. `data()` and all else that gives values to the host
/// waits by itself.
EGGROLL_API void synchronize(Device device);

/// Sets a stream, and the one before again at the end of the scope.
class EGGROLL_API StreamScope {
public:
    StreamScope(Device device, void* stream);
    ~StreamScope();
    StreamScope(const StreamScope&) = delete;
    StreamScope& operator=(const StreamScope&) = delete;

private:
    Device device_;
    void* before_;
};

}  // namespace eggroll
