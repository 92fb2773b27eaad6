// SPDX-License-Identifier: MIT
#pragma once

// The kernels of cpu/ live in a namespace of their own per instruction set, and see Eigen under a
// name of their own: a program that uses Eigen itself, built with other flags, cannot clash with
// ours, and the same files can be compiled once per instruction set into one library.

#ifndef EGGROLL_CPU_NS
#define EGGROLL_CPU_NS cpu_native
#endif

#define EGGROLL_CPU_JOIN2(a, b) a##b
#define EGGROLL_CPU_JOIN(a, b) EGGROLL_CPU_JOIN2(a, b)
