// SPDX-License-Identifier: MIT
// The CPU's table of operations.
#include "core/backend.h"

#include "cpu/kernels.h"
#include "cpu/memory.h"
#include "cpu/noise.h"
#include "cpu/threads.h"

#include <algorithm>
#include <cstring>

namespace eggroll::detail {

namespace {

void copy(void* to, const void* from, size_t bytes) {
    if (bytes > 0) std::memmove(to, from, bytes);
}

/// Chunks of about 256 rows, fewer where rows are long, so that the activations of two layers stay
/// in a core's second-level cache; small populations still make several chunks.
int64_t plan_chunk(const PlanArgs& args) {
    constexpr int64_t kActivationBytes = 512 * 1024;
    constexpr int64_t kMinRows = 64, kMaxRows = 256, kMinChunks = 4, kFewestRows = 16;
    const int64_t batch = std::max<int64_t>(args.rows, 1);
    const int64_t widest = std::max<int64_t>(args.widest, 1);
    const int64_t rows = std::clamp(kActivationBytes / (4 * widest), kMinRows, kMaxRows);
    int64_t members = rows / batch;
    members = std::min(members, std::max(args.pop_size / kMinChunks, kFewestRows / batch));
    return std::max<int64_t>(2, members / 2 * 2);
}

}  // namespace

const Backend& cpu_backend() {
    namespace isa = EGGROLL_CPU_NS;
    static const Backend table = {
        .name = "cpu",
        .allocate = cpu::allocate,
        .release = cpu::release,
        .copy_from_host = copy,
        .copy_to_host = copy,
        .copy = copy,
        .fill = isa::fill,
        .plan_chunk = plan_chunk,
        .run_chunks = cpu::run_chunks,
        .fill_words = isa::fill_words,
        .fill_normal = isa::fill_normal,
        .product = isa::product,
        .linear = isa::linear,
        .perturb_vector = isa::perturb_vector,
        .embedding = isa::embedding,
        .unary = isa::unary,
        .binary = isa::binary,
        .where = isa::where,
        .copy_strided = isa::copy_strided,
        .reduce = isa::reduce,
        .argmax = isa::argmax,
        .softmax = isa::softmax,
        .standardize = isa::standardize,
        .gather = isa::gather,
        .matmul = isa::matmul,
        .loss = isa::loss,
        .shape_fitness = isa::shape_fitness,
        .update = isa::update,
        .all_finite = isa::all_finite,
        .optimize = isa::optimize,
    };
    return table;
}

}  // namespace eggroll::detail
