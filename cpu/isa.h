// SPDX-License-Identifier: MIT
#pragma once

// The kernels of cpu/ are compiled once per instruction set. Each set lives in a namespace of its
// own, which the build names (cpu_baseline, cpu_avx2, …), and sees Eigen under a name of its own: a
// program that uses Eigen itself, built with other flags, cannot clash with ours.

#ifndef EGGROLL_CPU_ISA
#error "a kernel file: compiled by cpu/CMakeLists.txt, which names the instruction set"
#endif

#define EGGROLL_CPU_JOIN2(a, b) a##b
#define EGGROLL_CPU_JOIN(a, b) EGGROLL_CPU_JOIN2(a, b)
#define EGGROLL_CPU_NS EGGROLL_CPU_JOIN(cpu_, EGGROLL_CPU_ISA)

#define EGGROLL_INLINE inline __attribute__((always_inline))
