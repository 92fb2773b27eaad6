// SPDX-License-Identifier: MIT
// The CPU's table of operations: memory and threads, and the kernels this processor runs best.
#include "core/backend.h"

#include "cpu/kernel_set.h"
#include "cpu/memory.h"
#include "cpu/plan.h"
#include "cpu/threads.h"

#include <eggroll/error.h>

#include <cstring>

namespace eggroll {

namespace {

void copy(void* to, const void* from, size_t bytes) {
    if (bytes > 0) std::memmove(to, from, bytes);
}

void begin(detail::RunState* run, const detail::GenerationBlock& block, bool known) {
    const int64_t updates = known ? block.updates : run->block.updates;
    if (known) *run = {};
    run->block = block;
    run->block.updates = updates;
}

void commit(const detail::RunState* run, void* to, const void* from, int64_t n) {
    if (run->commits()) copy(to, from, static_cast<size_t>(n) * 4);
}

void finish(detail::RunState* run) {
    if (run->commits()) ++run->block.updates;
}

/// As exact as can be, whatever was asked for.
Precision precision(Precision) {
    return Precision::f32;
}

void synchronize() {}

void* stream() {
    return nullptr;
}

void set_stream(void* stream) {
    if (stream != nullptr) throw Error("[set_stream] the CPU has no streams: only null is its");
}

}  // namespace

detail::Backend cpu::backend_of(const KernelSet& kernels) {
    detail::Backend table{};
    table.kernels = kernels.name;
    table.keeps_noise = true;
    table.allocate = allocate;
    table.release = release;
    table.copy_from_host = copy;
    table.copy_to_host = copy;
    table.copy = copy;
    table.synchronize = synchronize;
    table.stream = stream;
    table.set_stream = set_stream;
    table.plan_chunk = plan_chunk;
    table.run_chunks = run_chunks;
    table.precision = precision;
    table.begin = begin;
    table.commit = commit;
    table.finish = finish;
    kernels.fill_rows(table);
    return table;
}

const detail::Backend& detail::cpu_backend() {
    static const Backend table = cpu::backend_of(cpu::kernels_in_use());
    return table;
}

}  // namespace eggroll
