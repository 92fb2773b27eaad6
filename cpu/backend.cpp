// SPDX-License-Identifier: MIT
// The CPU's table of operations.
#include "core/backend.h"

#include "cpu/kernels.h"
#include "cpu/memory.h"
#include "cpu/noise.h"
#include "cpu/plan.h"
#include "cpu/threads.h"

#include <cstring>

namespace eggroll::detail {

namespace {

void copy(void* to, const void* from, size_t bytes) {
    if (bytes > 0) std::memmove(to, from, bytes);
}

}  // namespace

const Backend& cpu_backend() {
    namespace isa = EGGROLL_CPU_NS;
    static const Backend table = {
        .allocate = cpu::allocate,
        .release = cpu::release,
        .copy_from_host = copy,
        .copy_to_host = copy,
        .copy = copy,
        .fill = isa::fill,
        .plan_chunk = cpu::plan_chunk,
        .run_chunks = cpu::run_chunks,
        .fill_words = isa::fill_words,
        .fill_normal = isa::fill_normal,
        .packed_size = isa::packed_size,
        .pack = isa::pack,
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
