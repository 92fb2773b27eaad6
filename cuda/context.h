// SPDX-License-Identifier: MIT
#pragma once

// What the backend knows of a device: its stream, its cuBLAS handles, its memory. Rows of the table
// find it as `current()`: the table of each device wraps them in a `Use` of it.

#include "core/backend.h"
#include "cuda/lt.h"
#include "cuda/memory.h"

#include <cublas_v2.h>
#include <cuda_runtime_api.h>

#include <atomic>
#include <cstddef>
#include <mutex>
#include <string>
#include <vector>

namespace eggroll::cuda {

/// Most devices of one process; each has a table of its own.
inline constexpr int kMaxDevices = 16;

class Context {
public:
    /// Throws Error with the reason when there is no such device.
    explicit Context(int device);
    ~Context();
    Context(const Context&) = delete;
    Context& operator=(const Context&) = delete;

    int device() const { return device_; }
    cudaStream_t stream() const { return stream_; }
    /// Work goes on in another stream, after all that the last one holds; null: the own one. Throws
    /// Error when the stream is not this device's or is being captured.
    void use_stream(cudaStream_t stream);
    Memory& memory() { return memory_; }

    /// Whether its tensor cores take bfloat16 (and TF32).
    bool has_bf16() const { return has_bf16_; }

    /// Exact float32 without an epilogue by cuBLAS; all else by cuBLASLt.
    void multiply(const Product& product);
    /// Whether `multiply` can do that.
    bool takes(const Product& product);
    void multiply(const detail::MatmulArgs& args);

    /// Remembers a launch, to be named when it turns out to have failed.
    void launched(const char* kernel);
    /// Waits for all work; throws Error naming the kernels it may have failed in, or while work is
    /// recorded.
    void synchronize();
    /// Throws the Error that says so, for a status that a kernel left behind.
    [[noreturn]] void kernel_failed(cudaError_t status);
    /// Throws the Error for a wait while work is recorded.
    [[noreturn]] static void refuse_to_wait();
    /// How often the host has waited.
    int64_t waits() const { return waits_; }

    /// What `body` would enqueue, as a graph; see Backend::record. (graph.cpp)
    detail::Recording* record(void (*body)(void*), void* context);
    void replay(detail::Recording& recording);
    void forget(detail::Recording* recording) noexcept;

private:
    /// Has cuBLAS use the stream and, which changing it takes away, the workspace.
    void attach_blas();

    int device_;
    cudaStream_t own_stream_ = nullptr;
    cudaStream_t stream_ = nullptr;  // the own one, or the caller's
    bool has_bf16_ = false;
    cublasHandle_t blas_ = nullptr;
    Lt lt_;
    void* workspace_ = nullptr;
    Memory memory_;
    std::mutex mutex_;                   // of cuBLAS and of what follows
    std::vector<const char*> launched_;  // since the last synchronisation, each kernel once
    std::atomic<bool> recording_{false};
    std::atomic<bool> waited_while_recording_{false};
    std::atomic<int64_t> waits_{0};
};

/// Of the device whose row is running on this thread.
Context& current();

/// Makes a device the thread's own as long as it lives.
class Use {
public:
    explicit Use(int device);
    ~Use();
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;

private:
    Context* before_;
    int device_before_ = -1;
};

/// Whether any call may return this for a kernel that was started before it.
bool is_of_kernel(cudaError_t status);

/// Whether any device has come into use; until then the driver is left alone.
bool in_use_by_process();

/// What cudaGetDeviceCount means that failed so; versions as cudaDriverGetVersion gives them, 0:
/// none.
std::string why_no_device(cudaError_t status, int driver, int runtime);

/// Whether the current device can run the kernels that were built. (run.cu)
cudaError_t probe_kernels();

/// Throws Error unless the call succeeded.
void check(cudaError_t status, const char* call, const char* file, int line);
void check(cublasStatus_t status, const char* call, const char* file, int line);
#define EGGROLL_CUDA_CHECK(call) ::eggroll::cuda::check((call), #call, __FILE__, __LINE__)

}  // namespace eggroll::cuda
