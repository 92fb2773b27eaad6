// SPDX-License-Identifier: MIT
// The CPU's table of operations: memory and threads, and the kernels this processor runs best.
#include "core/backend.h"

#include "cpu/kernel_set.h"
#include "cpu/memory.h"
#include "cpu/plan.h"
#include "cpu/threads.h"

#include <cstring>

namespace eggroll {

namespace {

void copy(void* to, const void* from, size_t bytes) {
    if (bytes > 0) std::memmove(to, from, bytes);
}

}  // namespace

detail::Backend cpu::backend_of(const KernelSet& kernels) {
    detail::Backend table{};
    table.keeps_noise = true;
    table.allocate = allocate;
    table.release = release;
    table.copy_from_host = copy;
    table.copy_to_host = copy;
    table.copy = copy;
    table.plan_chunk = plan_chunk;
    table.run_chunks = run_chunks;
    kernels.fill_rows(table);
    return table;
}

const detail::Backend& detail::cpu_backend() {
    static const Backend table = cpu::backend_of(cpu::kernels_in_use());
    return table;
}

}  // namespace eggroll
