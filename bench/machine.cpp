// SPDX-License-Identifier: MIT
#include "bench/harness.h"
#include "cpu/kernel_set.h"

#include <eggroll/threads.h>
#include <eggroll/version.h>

#include <sys/utsname.h>

#include <fstream>
#include <string>

namespace eggroll::bench {

namespace {

/// The value of the first line of /proc/cpuinfo with that key.
std::string cpuinfo(const std::string& key) {
    std::ifstream file("/proc/cpuinfo");
    for (std::string line; std::getline(file, line);) {
        const size_t colon = line.find(':');
        if (colon != std::string::npos && line.starts_with(key) && colon + 2 < line.size()) {
            return line.substr(colon + 2);
        }
    }
    return "unknown";
}

/// What tells processors of one name apart.
std::string processor() {
    return cpuinfo("model name") + ", family " + cpuinfo("cpu family") + " model " +
           cpuinfo("model\t");
}

#define BENCH_QUOTE2(text) #text
#define BENCH_QUOTE(text) BENCH_QUOTE2(text)
constexpr const char* kCompiler =
#if defined(__clang__)
    "Clang " __clang_version__;
#elif defined(__GNUC__)
    "GCC " BENCH_QUOTE(__GNUC__) "." BENCH_QUOTE(__GNUC_MINOR__) "." BENCH_QUOTE(
        __GNUC_PATCHLEVEL__);
#else
    "unknown";
#endif

}  // namespace

void print_machine(std::string_view benchmark) {
    // In a process of its own: asking for the number of threads may start them.
    run_isolated("machine", [&] {
        utsname system{};
        uname(&system);
        JsonLine()
            .add("machine", processor())
            .add("cores", num_threads())
            .add("isa", cpu::kernels_in_use().name)
            .add("compiler", kCompiler)
#ifdef NDEBUG
            .add("build", "release")
#else
            .add("build", "debug")
#endif
            .add("system", std::string(system.sysname) + " " + system.release)
            .add("eggroll", EGGROLL_VERSION)
            .add("bench", benchmark)
            .print();
    });
}

}  // namespace eggroll::bench
