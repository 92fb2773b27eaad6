// SPDX-License-Identifier: MIT
#include "cuda/context.h"

#include <eggroll/error.h>

#include <algorithm>
#include <array>
#include <limits>
#include <memory>

namespace eggroll::cuda {

namespace {

thread_local Context* in_use = nullptr;

/// With it, and one stream, cuBLAS gives the same bits in every run.
constexpr size_t kWorkspaceBytes = size_t{32} << 20;

/// Set when a device has come into use.
std::atomic<bool> any_context = false;

/// Set when the process has come to its end and the contexts are gone.
bool gone = false;

struct Contexts {
    ~Contexts() { gone = true; }
    std::array<std::unique_ptr<Context>, kMaxDevices> of;
    std::mutex mutex;
};

Context& context_of(int device) {
    if (gone) throw Error("[cuda] used after the end of main");
    static Contexts all;
    const std::scoped_lock lock(all.mutex);
    std::unique_ptr<Context>& context = all.of[static_cast<size_t>(device)];
    if (!context) context = std::make_unique<Context>(device);
    return *context;
}

[[noreturn]] void no_device(const std::string& why) {
    throw Error("[Device::cuda] no CUDA device: " + why);
}

int device_count() {
    int count = 0, driver = 0, runtime = 0;
    const cudaError_t status = cudaGetDeviceCount(&count);
    cudaGetLastError();  // takes the error off
    if (status == cudaSuccess) return count;
    if (cudaDriverGetVersion(&driver) != cudaSuccess) driver = 0;
    cudaRuntimeGetVersion(&runtime);
    no_device(why_no_device(status, driver, runtime));
}

/// Throws Error unless the kernels run on the device.
void require_kernels(int device) {
    const cudaError_t status = probe_kernels();
    if (status == cudaSuccess) return;
    cudaGetLastError();
    cudaDeviceProp properties{};
    EGGROLL_CUDA_CHECK(cudaGetDeviceProperties(&properties, device));
    throw Error("[Device::cuda] cuda:" + std::to_string(device) + ", " + properties.name +
                ", has compute capability " + std::to_string(properties.major) + "." +
                std::to_string(properties.minor) +
                " but this library was built for the architectures \"" +
                EGGROLL_CUDA_ARCHITECTURES + "\": " + cudaGetErrorString(status));
}

/// The thread's device is another one to the end of the scope, however that is left.
class CurrentDevice {
public:
    explicit CurrentDevice(int device) {
        EGGROLL_CUDA_CHECK(cudaGetDevice(&before_));
        EGGROLL_CUDA_CHECK(cudaSetDevice(device));
    }
    ~CurrentDevice() { cudaSetDevice(before_); }
    CurrentDevice(const CurrentDevice&) = delete;
    CurrentDevice& operator=(const CurrentDevice&) = delete;

private:
    int before_ = 0;
};

class Event {
public:
    Event() { EGGROLL_CUDA_CHECK(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming)); }
    ~Event() { cudaEventDestroy(event_); }
    Event(const Event&) = delete;
    Event& operator=(const Event&) = delete;

    cudaEvent_t get() const { return event_; }

private:
    cudaEvent_t event_ = nullptr;
};

int as_int(int64_t extent, const char* what) {
    if (extent > std::numeric_limits<int>::max()) {
        throw Error(std::string("[cuda] a product has ") + std::to_string(extent) + " " + what +
                    " but cuBLAS takes up to " + std::to_string(std::numeric_limits<int>::max()));
    }
    return static_cast<int>(extent);
}

}  // namespace

bool is_of_kernel(cudaError_t status) {
    switch (status) {
        case cudaErrorIllegalAddress:
        case cudaErrorMisalignedAddress:
        case cudaErrorInvalidAddressSpace:
        case cudaErrorIllegalInstruction:
        case cudaErrorInvalidPc:
        case cudaErrorHardwareStackError:
        case cudaErrorAssert:
        case cudaErrorLaunchTimeout:
        case cudaErrorLaunchFailure:
            return true;
        default:
            return false;
    }
}

bool in_use_by_process() {
    return any_context;
}

std::string why_no_device(cudaError_t status, int driver, int runtime) {
    const auto version = [](int v) {
        return std::to_string(v / 1000) + "." + std::to_string(v % 1000 / 10);
    };
    if (status == cudaErrorInsufficientDriver) {
        if (driver == 0) return "driver not found";
        return "the driver is for CUDA " + version(driver) + " but this library was built with " +
               version(runtime);
    }
    if (status == cudaErrorNoDevice) return "the driver finds none";
    return cudaGetErrorString(status);
}

void check(cudaError_t status, const char* call, const char* file, int line) {
    if (status == cudaSuccess) return;
    if (in_use != nullptr && is_of_kernel(status)) in_use->kernel_failed(status);
    throw Error(std::string("[cuda] ") + call + " failed: " + cudaGetErrorString(status) + " (" +
                cudaGetErrorName(status) + ", " + file + ":" + std::to_string(line) + ")");
}

void check(cublasStatus_t status, const char* call, const char* file, int line) {
    if (status == CUBLAS_STATUS_SUCCESS) return;
    throw Error(std::string("[cuda] ") + call + " failed: " + cublasGetStatusString(status) + " (" +
                file + ":" + std::to_string(line) + ")");
}

Context::Context(int device) : device_(device) {
    const int count = device_count();
    if (device < 0 || device >= std::min(count, kMaxDevices)) {
        no_device("index " + std::to_string(device) + " is not among the " + std::to_string(count) +
                  " there are");
    }
    const CurrentDevice scope(device);
    require_kernels(device);
    EGGROLL_CUDA_CHECK(cudaStreamCreateWithFlags(&own_stream_, cudaStreamNonBlocking));
    stream_ = own_stream_;
    memory_.begin(stream_);
    EGGROLL_CUDA_CHECK(cublasCreate(&blas_));
    int major = 0;
    EGGROLL_CUDA_CHECK(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device));
    has_bf16_ = major >= 8;
    workspace_ = memory_.allocate(kWorkspaceBytes);
    attach_blas();
    lt_.begin(workspace_, kWorkspaceBytes, stream_, has_bf16_);
    EGGROLL_CUDA_CHECK(cublasSetMathMode(blas_, CUBLAS_PEDANTIC_MATH));
    any_context = true;
}

/// At the end of a process the driver may be gone already; what it says is not heard.
Context::~Context() {
    int before = 0;
    cudaGetDevice(&before);
    cudaSetDevice(device_);
    cudaDeviceSynchronize();  // a stream of the caller's may be gone
    cublasDestroy(blas_);
    lt_.end();
    memory_.begin(own_stream_);
    memory_.release(workspace_, kWorkspaceBytes);
    memory_.trim();
    memory_.begin(nullptr);
    cudaStreamDestroy(own_stream_);
    cudaSetDevice(before);
}

void Context::attach_blas() {
    EGGROLL_CUDA_CHECK(cublasSetStream(blas_, stream_));
    EGGROLL_CUDA_CHECK(cublasSetWorkspace(blas_, workspace_, kWorkspaceBytes));
}

void Context::use_stream(cudaStream_t stream) {
    if (stream == nullptr) stream = own_stream_;
    if (stream == stream_) return;
    if (recording_) throw Error("[set_stream] not while a step is captured");
    if (stream == cudaStreamPerThread) {
        throw Error(
            "[set_stream] cudaStreamPerThread is another stream in each thread: give one "
            "that is the same in all");
    }
    cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
    EGGROLL_CUDA_CHECK(cudaStreamIsCapturing(stream, &capture));
    if (capture != cudaStreamCaptureStatusNone) {
        throw Error("[set_stream] the stream is being captured: give it before or after");
    }
    const Event event;
    const cudaError_t status = cudaEventRecord(event.get(), stream);
    if (is_of_kernel(status)) kernel_failed(status);
    if (status != cudaSuccess) {
        cudaGetLastError();  // takes the error off
        throw Error("[set_stream] not a stream of cuda:" + std::to_string(device_) + ": " +
                    cudaGetErrorString(status) + " (" + cudaGetErrorName(status) + ")");
    }
    // Memory that is handed out again was last used in the old stream.
    EGGROLL_CUDA_CHECK(cudaEventRecord(event.get(), stream_));
    EGGROLL_CUDA_CHECK(cudaStreamWaitEvent(stream, event.get()));
    const std::scoped_lock lock(mutex_);
    stream_ = stream;
    memory_.begin(stream_);
    attach_blas();
}

void Context::launched(const char* kernel) {
    const std::scoped_lock lock(mutex_);
    if (std::find(launched_.begin(), launched_.end(), kernel) == launched_.end()) {
        launched_.push_back(kernel);
    }
}

void Context::refuse_to_wait() {
    throw Error(
        "[cuda] the host cannot wait for a value while a step is captured: the model or the "
        "objective reads a tensor of the device or makes one from host values");
}

void Context::synchronize() {
    if (recording_) {
        waited_while_recording_ = true;
        refuse_to_wait();
    }
    ++waits_;
    const cudaError_t status = cudaStreamSynchronize(stream_);
    if (is_of_kernel(status)) kernel_failed(status);
    EGGROLL_CUDA_CHECK(status);
    const std::scoped_lock lock(mutex_);
    launched_.clear();
}

void Context::kernel_failed(cudaError_t status) {
    const std::scoped_lock lock(mutex_);
    std::string names;
    for (const char* name : launched_) names += (names.empty() ? "" : ", ") + std::string(name);
    throw Error("[cuda] a kernel failed: " + std::string(cudaGetErrorString(status)) + " (" +
                cudaGetErrorName(status) +
                "); launched since the last synchronisation: " + (names.empty() ? "none" : names));
}

namespace {

bool needs_lt(const Product& p) {
    return p.precision == Precision::bf16 || p.bias != nullptr || p.relu;
}

}  // namespace

// cuBLAS counts by columns: our (rows,O) is its (O,rows).

void Context::multiply(const Product& p) {
    if (p.rows == 0 || p.outputs == 0) return;
    const std::scoped_lock lock(mutex_);
    if (needs_lt(p) || (p.precision == Precision::tf32 && lt_.takes(p))) {
        return lt_.multiply(p, workspace_, stream_);
    }
    const int rows = as_int(p.rows, "rows"), inputs = as_int(p.inputs, "columns of x"),
              outputs = as_int(p.outputs, "columns");
    const float one = 1.0f, beta = p.add ? 1.0f : 0.0f;
    EGGROLL_CUDA_CHECK(cublasSgemm(blas_, CUBLAS_OP_T, CUBLAS_OP_N, outputs, rows, inputs, &one,
                                   static_cast<const float*>(p.w), std::max(1, inputs),
                                   static_cast<const float*>(p.x), std::max(1, inputs), &beta,
                                   static_cast<float*>(p.y), outputs));
}

bool Context::takes(const Product& p) {
    if (!needs_lt(p)) return true;
    const std::scoped_lock lock(mutex_);
    return lt_.takes(p);
}

void Context::multiply(const detail::MatmulArgs& a) {
    if (a.m == 0 || a.n == 0 || a.batches == 0) return;
    const int m = as_int(a.m, "rows"), k = as_int(a.k, "columns of x"), n = as_int(a.n, "columns"),
              batches = as_int(a.batches, "batches");
    const float one = 1.0f, zero = 0.0f;
    const std::scoped_lock lock(mutex_);
    EGGROLL_CUDA_CHECK(cublasSgemmStridedBatched(blas_, CUBLAS_OP_N, CUBLAS_OP_N, n, m, k, &one,
                                                 a.b, n, a.stride_b, a.a, std::max(1, k),
                                                 a.stride_a, &zero, a.c, n, a.m * a.n, batches));
}

Context& current() {
    return *in_use;
}

Use::Use(int device) : before_(in_use) {
    Context& wanted = context_of(device);
    int now = 0;
    const cudaError_t status = cudaGetDevice(&now);
    if (is_of_kernel(status)) wanted.kernel_failed(status);
    EGGROLL_CUDA_CHECK(status);
    if (now != device) {
        EGGROLL_CUDA_CHECK(cudaSetDevice(device));
        device_before_ = now;
    }
    in_use = &wanted;
}

Use::~Use() {
    in_use = before_;
    if (device_before_ >= 0) cudaSetDevice(device_before_);
}

}  // namespace eggroll::cuda
