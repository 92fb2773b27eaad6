// SPDX-License-Identifier: MIT
// The caller's stream. On the emulator's -async the work of a stream is done as late as its order
// allows, so what is not in order gives other results.
#include "tests/cases.h"

#include <doctest/doctest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#ifdef EGGROLL_TEST_CUDA
#include "tests/user_kernels.h"
#endif

using namespace eggroll;
using namespace eggroll::test;

TEST_CASE("the CPU has no streams and nothing to wait for") {
    int something = 0;
    const Device cpu = Device::cpu();
    CHECK(current_stream(cpu) == nullptr);
    CHECK_NOTHROW(set_stream(cpu, nullptr));
    CHECK_THROWS_WITH_AS(set_stream(cpu, &something),
                         "[set_stream] the CPU has no streams: only null is its", Error);
    CHECK_THROWS_AS(StreamScope(cpu, &something), Error);
    { const StreamScope scope(cpu, nullptr); }
    CHECK_NOTHROW(synchronize(cpu));
}

#ifdef EGGROLL_TEST_CUDA

namespace {

class Stream {
public:
    Stream() { REQUIRE(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking) == cudaSuccess); }
    ~Stream() { cudaStreamDestroy(stream_); }
    Stream(const Stream&) = delete;
    Stream& operator=(const Stream&) = delete;

    cudaStream_t get() const { return stream_; }

private:
    cudaStream_t stream_ = nullptr;
};

class DeviceArray {
public:
    explicit DeviceArray(int64_t n) {
        REQUIRE(cudaMalloc(&data_, static_cast<size_t>(n) * sizeof(float)) == cudaSuccess);
    }
    ~DeviceArray() { cudaFree(data_); }
    DeviceArray(const DeviceArray&) = delete;
    DeviceArray& operator=(const DeviceArray&) = delete;

    float* data() const { return static_cast<float*>(data_); }

private:
    void* data_ = nullptr;
};

constexpr int64_t kPopSize = 34, kBatch = 3, kInputs = 7, kOutputs = 5;

nn::Sequential make_model() {
    return here(nn::Sequential(nn::Linear(kInputs, 9), nn::Tanh(), nn::Linear(9, kOutputs)));
}

/// Generations whose inputs and fitness are a user's kernels' in the stream of the library; what
/// the host waits for is in ask and tell alone.
std::vector<std::vector<float>> train(const std::function<void(int)>& before_generation) {
    nn::Sequential model = make_model();
    Eggroll es(model, {.pop_size = kPopSize, .sigma = 0.1f, .lr = 0.1f});
    const DeviceArray x(kPopSize * kBatch * kInputs), fitness(kPopSize);
    const Tensor input =
        per_member(Tensor::from_blob(x.data(), {kPopSize, kBatch, kInputs}, test_device()));
    const Tensor result = Tensor::from_blob(fitness.data(), {kPopSize}, test_device());
    for (int generation = 0; generation < 3; ++generation) {
        before_generation(generation);
        const Population members = es.ask();
        const auto stream = static_cast<cudaStream_t>(current_stream(test_device()));
        for (int step = 0; step < 2; ++step) {
            launch_ramp(x.data(), input.size(), static_cast<float>(generation + step), 0.001f,
                        stream);
            const Tensor y = members.forward(input);
            launch_fitness(static_cast<const float*>(y.device_data()), fitness.data(), kPopSize,
                           kBatch * kOutputs, stream);
        }
        es.tell(result);
    }
    synchronize(test_device());  // before the arrays go
    return values_of(model);
}

}  // namespace

TEST_CASE("cuda: the library works in the stream it is given" * doctest::skip(!on_cuda())) {
    const std::vector<std::vector<float>> want = train([](int) {});
    void* own = current_stream(test_device());
    const Stream stream;
    {
        const StreamScope scope(test_device(), stream.get());
        CHECK(current_stream(test_device()) == stream.get());
        CHECK(train([](int) {}) == want);
    }
    CHECK(current_stream(test_device()) == own);
}

TEST_CASE("cuda: from stream to stream work stays in order" * doctest::skip(!on_cuda())) {
    const std::vector<std::vector<float>> want = train([](int) {});
    {
        const Stream a, b;
        CHECK(train([&](int generation) {
                  set_stream(test_device(), generation == 1 ? b.get() : a.get());
              }) == want);
        set_stream(test_device(), nullptr);
    }
    CHECK(train([&](int generation) {
              set_stream(test_device(), generation == 1 ? cudaStreamLegacy : nullptr);
          }) == want);
}

TEST_CASE("cuda: memory let go in one stream serves in the next" * doctest::skip(!on_cuda())) {
    constexpr int64_t kSize = 1000;
    const Stream stream;
    DeviceArray seen(kSize);
    Tensor result = Tensor::from_blob(seen.data(), {kSize}, test_device());
    {
        const StreamScope scope(test_device(), stream.get());
        Tensor x = Tensor::zeros({kSize}, test_device());
        launch_ramp(static_cast<float*>(x.device_data()), kSize, 1, 1, stream.get());
        result.assign(x);
    }
    // Takes the memory of x, which the other stream reads.
    const Tensor other = Tensor::full({kSize}, -1, test_device());
    const std::vector<float> got = host(result);
    for (int64_t i = 0; i < kSize; ++i) {
        REQUIRE(got[static_cast<size_t>(i)] == static_cast<float>(i + 1));
    }
}

TEST_CASE("cuda: external memory is let go after the work with it" * doctest::skip(!on_cuda())) {
    constexpr int64_t kSize = 1000;
    const Stream stream;
    const StreamScope scope(test_device(), stream.get());
    auto memory = std::make_unique<DeviceArray>(kSize);
    Tensor sum;
    {
        launch_ramp(memory->data(), kSize, 0, 1, stream.get());
        const Tensor x = Tensor::from_blob(memory->data(), {kSize}, test_device(), Dtype::f32, [&] {
            CHECK(cudaStreamQuery(stream.get()) == cudaSuccess);
            memory.reset();
        });
        sum = eggroll::sum(x);
    }
    CHECK(sum.item() == 499500.0f);  // exact: below 2²⁴
}

TEST_CASE("cuda: streams that cannot be the library's are refused" * doctest::skip(!on_cuda())) {
    void* before = current_stream(test_device());
    CHECK_THROWS_WITH_AS(set_stream(test_device(), cudaStreamPerThread),
                         doctest::Contains("cudaStreamPerThread"), Error);
    const Stream stream;
    REQUIRE(cudaStreamBeginCapture(stream.get(), cudaStreamCaptureModeRelaxed) == cudaSuccess);
    CHECK_THROWS_WITH_AS(set_stream(test_device(), stream.get()),
                         doctest::Contains("is being captured"), Error);
    cudaGraph_t graph = nullptr;
    REQUIRE(cudaStreamEndCapture(stream.get(), &graph) == cudaSuccess);
    cudaGraphDestroy(graph);
    CHECK(current_stream(test_device()) == before);
    CHECK_NOTHROW(set_stream(test_device(), stream.get()));
    CHECK_NOTHROW(set_stream(test_device(), nullptr));
}

/// By itself: no call of this process works afterwards.
TEST_CASE("failure: synchronize names the kernel that failed" * doctest::skip()) {
    REQUIRE(on_cuda());
    constexpr int64_t kSize = int64_t{1} << 22;
    auto memory = std::make_unique<DeviceArray>(kSize);
    const Tensor x = Tensor::from_blob(memory->data(), {kSize}, test_device());
    tanh(x);  // leaves its memory to the next one, which then is not that of x
    synchronize(test_device());
    memory.reset();
    const Tensor y = tanh(x);
    try {
        synchronize(test_device());
        FAIL_CHECK("nothing was said");
    } catch (const Error& error) {
        const std::string message = error.what();
        CHECK(message.find("a kernel failed") != std::string::npos);
        CHECK(message.find("unary") != std::string::npos);
    }
}

#endif
