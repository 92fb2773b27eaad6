// SPDX-License-Identifier: MIT
// The CUDA table of operations, one for each device: memory, chunks one after another, and the
// kernels.
#include "core/backend.h"

#include "cuda/context.h"
#include "cuda/kernels.h"

#include <eggroll/error.h>

#include <algorithm>
#include <array>
#include <string>
#include <utility>

namespace eggroll::cuda {

namespace {

/// The whole population, if the activations of two layers are within the budget.
int64_t plan_chunk(const PlanArgs& args) {
    constexpr int64_t kActivationBytes = int64_t{2} << 30;
    const int64_t rows = std::max<int64_t>(args.rows, 1);
    const int64_t widest = std::max<int64_t>(args.widest, 1);
    const int64_t most = kActivationBytes / (2 * 4 * widest) / rows;
    const int64_t chunks = args.pop_size / std::max<int64_t>(most, 2) + 1;
    return std::max<int64_t>(2, ((args.pop_size + chunks - 1) / chunks + 1) / 2 * 2);
}

void run_chunks(int64_t count, ChunkFunction function, void* context) {
    for (int64_t i = 0; i < count; ++i) function(context, i);
}

void synchronize() {
    current().synchronize();
}

void* stream() {
    return current().stream();
}

void set_stream(void* stream) {
    current().use_stream(static_cast<cudaStream_t>(stream));
}

/// A row of the table of one device.
template <int kDevice, auto kFunction>
struct Row;
template <int kDevice, class R, class... A, R (*kFunction)(A...)>
struct Row<kDevice, kFunction> {
    static R call(A... args) {
        const Use device(kDevice);
        return kFunction(args...);
    }
};
template <int kDevice, class R, class... A, R (*kFunction)(A...) noexcept>
struct Row<kDevice, kFunction> : Row<kDevice, static_cast<R (*)(A...)>(kFunction)> {};

/// Called by destructors, at the end of a process too, when there is nothing left to give back.
template <int kDevice>
void release_row(void* memory, size_t bytes) {
    try {
        const Use device(kDevice);
        release(memory, bytes);
    } catch (const Error&) {
    }
}

template <int kDevice>
void forget_row(Recording* recording) {
    try {
        const Use device(kDevice);
        forget(recording);
    } catch (const Error&) {
    }
}

template <int kDevice>
Backend table_of() {
    Backend table{};
    table.keeps_noise = false;  // drawing it again in registers takes less than reading it
    table.allocate = Row<kDevice, &allocate>::call;
    table.release = release_row<kDevice>;
    table.copy_from_host = Row<kDevice, &copy_from_host>::call;
    table.copy_to_host = Row<kDevice, &copy_to_host>::call;
    table.copy = Row<kDevice, &copy>::call;
    table.fill = Row<kDevice, &fill>::call;
    table.synchronize = Row<kDevice, &synchronize>::call;
    table.stream = Row<kDevice, &stream>::call;
    table.set_stream = Row<kDevice, &set_stream>::call;
    table.plan_chunk = plan_chunk;
    table.run_chunks = run_chunks;
    table.fill_words = Row<kDevice, &fill_words>::call;
    table.fill_normal = Row<kDevice, &fill_normal>::call;
    table.precision = Row<kDevice, &precision>::call;
    table.packed_size = packed_size;
    table.pack = Row<kDevice, &pack>::call;
    table.product = Row<kDevice, &product>::call;
    table.linear = Row<kDevice, &linear>::call;
    table.perturb_vector = Row<kDevice, &perturb_vector>::call;
    table.embedding = Row<kDevice, &embedding>::call;
    table.unary = Row<kDevice, &unary>::call;
    table.binary = Row<kDevice, &binary>::call;
    table.where = Row<kDevice, &where>::call;
    table.copy_strided = Row<kDevice, &copy_strided>::call;
    table.reduce = Row<kDevice, &reduce>::call;
    table.argmax = Row<kDevice, &argmax>::call;
    table.softmax = Row<kDevice, &softmax>::call;
    table.standardize = Row<kDevice, &standardize>::call;
    table.gather = Row<kDevice, &gather>::call;
    table.matmul = Row<kDevice, &matmul>::call;
    table.unfold = Row<kDevice, &unfold>::call;
    table.pool = Row<kDevice, &pool>::call;
    table.round_bf16 = Row<kDevice, &round_bf16>::call;
    table.widen_bf16 = Row<kDevice, &widen_bf16>::call;
    table.loss = Row<kDevice, &loss>::call;
    table.mean_evaluations = Row<kDevice, &mean_evaluations>::call;
    table.shape_fitness = Row<kDevice, &shape_fitness>::call;
    table.update = Row<kDevice, &update>::call;
    table.optimize = Row<kDevice, &optimize>::call;
    table.add_squares = Row<kDevice, &add_squares>::call;
    table.clip = Row<kDevice, &clip>::call;
    table.begin = Row<kDevice, &begin>::call;
    table.check_finite = Row<kDevice, &check_finite>::call;
    table.commit = Row<kDevice, &commit>::call;
    table.finish = Row<kDevice, &finish>::call;
    table.record = Row<kDevice, &record>::call;
    table.replay = Row<kDevice, &replay>::call;
    table.forget = forget_row<kDevice>;
    return table;
}

template <int... kDevice>
std::array<Backend, sizeof...(kDevice)> tables(std::integer_sequence<int, kDevice...>) {
    return {table_of<kDevice>()...};
}

}  // namespace

}  // namespace eggroll::cuda

const eggroll::detail::Backend& eggroll::detail::cuda_backend(int device) {
    static const auto all = cuda::tables(std::make_integer_sequence<int, cuda::kMaxDevices>());
    if (device < 0 || device >= cuda::kMaxDevices) {
        throw Error("[Device::cuda] index " + std::to_string(device) + " is outside 0.." +
                    std::to_string(cuda::kMaxDevices - 1));
    }
    const cuda::Use found(device);  // throws when there is none
    return all[static_cast<size_t>(device)];
}

eggroll::detail::Reach eggroll::detail::reach_of(const void* memory) {
    if (!cuda::in_use_by_process()) return {};  // no tensor of a device can have been asked for
    cudaPointerAttributes found{};
    EGGROLL_CUDA_CHECK(cudaPointerGetAttributes(&found, memory));
    switch (found.type) {
        case cudaMemoryTypeDevice:
            return {.host = false, .device = found.device};
        case cudaMemoryTypeManaged:
            return {.any_device = true};
        case cudaMemoryTypeHost:  // page-locked; kernels may know it by another address
            return {.any_device = found.devicePointer == memory};
        default:
            return {};
    }
}
