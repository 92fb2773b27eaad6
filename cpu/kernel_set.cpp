// SPDX-License-Identifier: MIT
#include "cpu/kernel_set.h"

#include "core/text.h"
#include "cpu/features.h"

#include <eggroll/error.h>

#include <cpuid.h>
#include <cstdlib>
#include <vector>

// As in cpu/CMakeLists.txt, the most capable last.
#ifdef EGGROLL_NATIVE_KERNELS
#define EGGROLL_KERNEL_SETS(X) X(native)
#else
#define EGGROLL_KERNEL_SETS(X) X(baseline) X(avx2) X(avx512)
#endif

#define EGGROLL_KERNEL_SET(isa) extern "C" const eggroll::cpu::KernelSet eggroll_kernels_##isa;
EGGROLL_KERNEL_SETS(EGGROLL_KERNEL_SET)
#undef EGGROLL_KERNEL_SET

namespace eggroll::cpu {

namespace {

struct Feature {
    const char* name;
    bool here;
};

/// Whether the operating system saves the registers of AVX (and of AVX-512).
bool registers_saved(bool avx512) {
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
    if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) == 0 || (ecx >> 27 & 1) == 0) return false;
    unsigned low = 0, high = 0;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    const unsigned wanted = avx512 ? 0xE6 : 0x06;
    return (low & wanted) == wanted;
}

/// Whether CPUID reports a feature, by the letter of its register.
bool reported(unsigned leaf, unsigned subleaf, char which, int bit) {
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
    if (__get_cpuid_count(leaf, subleaf, &eax, &ebx, &ecx, &edx) == 0) return false;
    const unsigned value = which == 'a' ? eax : which == 'b' ? ebx : which == 'c' ? ecx : edx;
    return (value >> bit & 1) != 0;
}

std::vector<Feature> features_here() {
    const bool avx = registers_saved(false), avx512 = registers_saved(true);
    const auto usable = [&](const std::string& name) {
        if (name.starts_with("avx512")) return avx512;
        return avx || !(name.starts_with("avx") || name == "fma" || name == "f16c" ||
                        name == "xop" || name == "fma4");
    };
    return {
#define EGGROLL_FEATURE(name, macro, leaf, subleaf, reg, bit) \
    {name, usable(name) && reported(leaf, subleaf, #reg[1], bit)},
        EGGROLL_CPU_FEATURES(EGGROLL_FEATURE)
#undef EGGROLL_FEATURE
    };
}

}  // namespace

std::span<const KernelSet* const> kernel_sets() {
    static const KernelSet* const sets[] = {
#define EGGROLL_KERNEL_SET(isa) &eggroll_kernels_##isa,
        EGGROLL_KERNEL_SETS(EGGROLL_KERNEL_SET)
#undef EGGROLL_KERNEL_SET
    };
    return sets;
}

std::string missing_features(const KernelSet& kernels) {
    static const std::vector<Feature> features = features_here();
    std::string missing;
    for (size_t i = 0; i < features.size(); ++i) {
        if ((kernels.needs >> i & 1) == 0 || features[i].here) continue;
        missing += (missing.empty() ? "" : ", ") + std::string(features[i].name);
    }
    return missing;
}

const KernelSet& choose_kernels(const std::string& name) {
    const std::span<const KernelSet* const> sets = kernel_sets();
    std::string names;
    for (size_t i = sets.size(); i-- > 0;) {
        const std::string missing = missing_features(*sets[i]);
        if (name.empty() && missing.empty()) return *sets[i];
        if (name == sets[i]->name) {
            if (missing.empty()) return *sets[i];
            throw Error("[EGGROLL_CPU_ISA] \"" + name +
                        "\" needs what this processor lacks: " + missing);
        }
        names = sets[i]->name + (names.empty() ? "" : ", " + names);
    }
    if (name.empty()) {
        throw Error(
            "[cpu] this library was built for another processor (EGGROLL_NATIVE); this one lacks " +
            missing_features(*sets.front()));
    }
    throw Error("[EGGROLL_CPU_ISA] must be one of " + names + " but is " + detail::in_quotes(name));
}

const KernelSet& kernels_in_use() {
    static const KernelSet& chosen = [&]() -> const KernelSet& {
        const char* wanted = std::getenv("EGGROLL_CPU_ISA");
        return choose_kernels(wanted != nullptr ? wanted : "");
    }();
    return chosen;
}

}  // namespace eggroll::cpu
