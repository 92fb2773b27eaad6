// SPDX-License-Identifier: MIT
#pragma once

// What a compiler may use once it was told that the processor has it: name, the macro it defines
// then, and where CPUID reports it (leaf, subleaf, register, bit).

#define EGGROLL_CPU_FEATURES(X)                                   \
    X("sse3", __SSE3__, 1, 0, ecx, 0)                             \
    X("ssse3", __SSSE3__, 1, 0, ecx, 9)                           \
    X("fma", __FMA__, 1, 0, ecx, 12)                              \
    X("sse4.1", __SSE4_1__, 1, 0, ecx, 19)                        \
    X("sse4.2", __SSE4_2__, 1, 0, ecx, 20)                        \
    X("movbe", __MOVBE__, 1, 0, ecx, 22)                          \
    X("popcnt", __POPCNT__, 1, 0, ecx, 23)                        \
    X("avx", __AVX__, 1, 0, ecx, 28)                              \
    X("f16c", __F16C__, 1, 0, ecx, 29)                            \
    X("bmi", __BMI__, 7, 0, ebx, 3)                               \
    X("avx2", __AVX2__, 7, 0, ebx, 5)                             \
    X("bmi2", __BMI2__, 7, 0, ebx, 8)                             \
    X("avx512f", __AVX512F__, 7, 0, ebx, 16)                      \
    X("avx512dq", __AVX512DQ__, 7, 0, ebx, 17)                    \
    X("adx", __ADX__, 7, 0, ebx, 19)                              \
    X("avx512ifma", __AVX512IFMA__, 7, 0, ebx, 21)                \
    X("avx512cd", __AVX512CD__, 7, 0, ebx, 28)                    \
    X("avx512bw", __AVX512BW__, 7, 0, ebx, 30)                    \
    X("avx512vl", __AVX512VL__, 7, 0, ebx, 31)                    \
    X("avx512vbmi", __AVX512VBMI__, 7, 0, ecx, 1)                 \
    X("avx512vbmi2", __AVX512VBMI2__, 7, 0, ecx, 6)               \
    X("gfni", __GFNI__, 7, 0, ecx, 8)                             \
    X("avx512vnni", __AVX512VNNI__, 7, 0, ecx, 11)                \
    X("avx512bitalg", __AVX512BITALG__, 7, 0, ecx, 12)            \
    X("avx512vpopcntdq", __AVX512VPOPCNTDQ__, 7, 0, ecx, 14)      \
    X("avx512vp2intersect", __AVX512VP2INTERSECT__, 7, 0, edx, 8) \
    X("avx512fp16", __AVX512FP16__, 7, 0, edx, 23)                \
    X("avxvnni", __AVXVNNI__, 7, 1, eax, 4)                       \
    X("avxifma", __AVXIFMA__, 7, 1, eax, 23)                      \
    X("avxvnniint8", __AVXVNNIINT8__, 7, 1, edx, 4)               \
    X("avxneconvert", __AVXNECONVERT__, 7, 1, edx, 5)             \
    X("avxvnniint16", __AVXVNNIINT16__, 7, 1, edx, 10)            \
    X("apx", __APX_F__, 7, 1, edx, 21)                            \
    X("avx512bf16", __AVX512BF16__, 7, 1, eax, 5)                 \
    X("lzcnt", __LZCNT__, 0x80000001, 0, ecx, 5)                  \
    X("sse4a", __SSE4A__, 0x80000001, 0, ecx, 6)                  \
    X("xop", __XOP__, 0x80000001, 0, ecx, 11)                     \
    X("fma4", __FMA4__, 0x80000001, 0, ecx, 16)
