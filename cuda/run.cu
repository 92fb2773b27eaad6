// SPDX-License-Identifier: MIT
// What the device knows of the run: kernels decide there what the host need not wait for.
#include "cuda/kernels.h"
#include "cuda/launch.h"

namespace eggroll::cuda {

namespace {

struct Begin {
    RunState* run;
    GenerationBlock block;
    bool known;
    __device__ void operator()(int64_t) const {
        const int64_t updates = known ? block.updates : run->block.updates;
        if (known) *run = RunState{};
        run->block = block;
        run->block.updates = updates;
    }
};

struct Commit {
    const RunState* run;
    uint32_t* to;
    const uint32_t* from;
    __device__ void operator()(int64_t i) const {
        if (run->commits()) to[i] = from[i];
    }
};

struct Finish {
    RunState* run;
    __device__ void operator()(int64_t) const {
        if (run->commits()) ++run->block.updates;
    }
};

}  // namespace

cudaError_t probe_kernels() {
    cudaFuncAttributes attributes{};
    return cudaFuncGetAttributes(&attributes, each_kernel<Begin>);
}

void begin(RunState* run, const GenerationBlock& block, bool known) {
    for_each("begin", 1, Begin{run, block, known});
}

void commit(const RunState* run, void* to, const void* from, int64_t n) {
    for_each("commit", n,
             Commit{run, static_cast<uint32_t*>(to), static_cast<const uint32_t*>(from)});
}

void finish(RunState* run) {
    for_each("finish", 1, Finish{run});
}

}  // namespace eggroll::cuda
