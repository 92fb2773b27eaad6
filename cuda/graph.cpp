// SPDX-License-Identifier: MIT
// Recordings are CUDA graphs: what goes into the stream while it is captured.
#include "cuda/context.h"
#include "cuda/kernels.h"

#include <memory>

struct eggroll::detail::Recording {
    cudaGraphExec_t graph = nullptr;
    cuda::Memory::Kept memory;  // its own
    cuda::Memory::Kept held;    // of others, released while it was recorded
    std::vector<const char*> kernels;
};

namespace eggroll::cuda {

namespace {

/// Memory is asked for in a stream of its own: in the captured one it would belong to the graph.
class OtherStream {
public:
    OtherStream() {
        EGGROLL_CUDA_CHECK(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
    }
    ~OtherStream() { cudaStreamDestroy(stream_); }
    OtherStream(const OtherStream&) = delete;
    OtherStream& operator=(const OtherStream&) = delete;
    cudaStream_t get() const { return stream_; }

private:
    cudaStream_t stream_ = nullptr;
};

struct GraphDeleter {
    void operator()(cudaGraph_t graph) const { cudaGraphDestroy(graph); }
};
using Graph = std::unique_ptr<std::remove_pointer_t<cudaGraph_t>, GraphDeleter>;

}  // namespace

Recording* Context::record(void (*body)(void*), void* context) {
    synchronize();  // memory that earlier work uses may then be given back
    // The legacy default stream cannot be captured, and one that waits for it may not be.
    const cudaStream_t stream_before = stream_;
    use_stream(nullptr);
    auto made = std::make_unique<Recording>();
    const OtherStream other;
    memory_.begin_recording(made->memory, made->held, other.get());
    const auto end = [&] {
        recording_ = false;
        cudaGraph_t captured = nullptr;
        const cudaError_t status = cudaStreamEndCapture(stream_, &captured);
        memory_.end_recording();
        const std::scoped_lock lock(mutex_);
        made->kernels.swap(launched_);
        launched_.clear();
        return std::make_pair(Graph(captured), status);
    };
    try {
        EGGROLL_CUDA_CHECK(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeRelaxed));
        waited_while_recording_ = false;
        recording_ = true;
        body(context);
        const auto [graph, status] = end();
        if (waited_while_recording_) refuse_to_wait();  // and somebody has kept it to himself
        EGGROLL_CUDA_CHECK(status);
        EGGROLL_CUDA_CHECK(cudaGraphInstantiate(&made->graph, graph.get(), 0));
        use_stream(stream_before);
    } catch (...) {
        if (recording_) end();
        memory_.end_recording();
        cudaGetLastError();  // a capture that was broken off leaves one
        memory_.end_of(made->memory);
        memory_.end_of(made->held);
        use_stream(stream_before);
        throw;
    }
    return made.release();
}

void Context::replay(Recording& recording) {
    EGGROLL_CUDA_CHECK(cudaGraphLaunch(recording.graph, stream_));
    for (const char* kernel : recording.kernels) launched(kernel);
}

void Context::forget(Recording* recording) noexcept {
    cudaStreamSynchronize(stream_);
    cudaGraphExecDestroy(recording->graph);
    memory_.end_of(recording->memory);
    memory_.end_of(recording->held);
    delete recording;
}

Recording* record(void (*body)(void*), void* context) {
    return current().record(body, context);
}

void replay(Recording* recording) {
    current().replay(*recording);
}

void forget(Recording* recording) {
    current().forget(recording);
}

}  // namespace eggroll::cuda
