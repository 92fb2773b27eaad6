// SPDX-License-Identifier: MIT
// The kernels of one instruction set as the rows of the table; the only name they show to the rest.
#include "cpu/features.h"
#include "cpu/kernel_set.h"
#include "cpu/kernels.h"
#include "cpu/noise.h"

namespace eggroll::EGGROLL_CPU_NS {

namespace {

#define EGGROLL_TEXT2(text) #text
#define EGGROLL_TEXT(text) EGGROLL_TEXT2(text)

/// A macro that is not defined expands to its own name, any other to a number.
constexpr bool is_number(const char* text) {
    return text[0] >= '0' && text[0] <= '9';
}

/// The features that the compiler was told of, by their place in the list.
constexpr uint64_t compiled_for() {
    uint64_t bits = 0, bit = 1;
#define EGGROLL_FEATURE(name, macro, leaf, subleaf, reg, number) \
    bits |= is_number(EGGROLL_TEXT(macro)) ? bit : 0;            \
    bit <<= 1;
    EGGROLL_CPU_FEATURES(EGGROLL_FEATURE)
#undef EGGROLL_FEATURE
    return bits;
}

void fill_rows(Backend& table) {
    table.fill = fill;
    table.fill_words = fill_words;
    table.fill_normal = fill_normal;
    table.packed_size = packed_size;
    table.pack = pack;
    table.product = product;
    table.linear = linear;
    table.perturb_vector = perturb_vector;
    table.embedding = embedding;
    table.unary = unary;
    table.binary = binary;
    table.where = where;
    table.copy_strided = copy_strided;
    table.reduce = reduce;
    table.argmax = argmax;
    table.softmax = softmax;
    table.standardize = standardize;
    table.gather = gather;
    table.matmul = matmul;
    table.unfold = unfold;
    table.pool = pool;
    table.round_bf16 = round_bf16;
    table.widen_bf16 = widen_bf16;
    table.loss = loss;
    table.mean_evaluations = mean_evaluations;
    table.shape_fitness = shape_fitness;
    table.update = update;
    table.optimize = optimize;
    table.add_squares = add_squares;
    table.clip = clip;
    table.check_finite = check_finite;
}

}  // namespace

}  // namespace eggroll::EGGROLL_CPU_NS

namespace isa = eggroll::EGGROLL_CPU_NS;

extern "C" const eggroll::cpu::KernelSet EGGROLL_CPU_JOIN(eggroll_kernels_, EGGROLL_CPU_ISA);
const eggroll::cpu::KernelSet EGGROLL_CPU_JOIN(eggroll_kernels_, EGGROLL_CPU_ISA) = {
    .name = EGGROLL_TEXT(EGGROLL_CPU_ISA),
    .needs = isa::compiled_for(),
    .fill_rows = isa::fill_rows,
    .fill_normal_many = isa::fill_normal_many,
    .fill_factors = isa::fill_factors,
    .normals_from_words = isa::normals_from_words,
};
