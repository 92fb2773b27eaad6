// SPDX-License-Identifier: MIT
#pragma once

// The rows of the table that run kernels; see core/backend.h for what each does. One file a group:
// linear, parameter, embedding, windows, noise, elementwise, reduce, loss, matmul, update,
// optimize, shaping, run.

#include "core/backend.h"

namespace eggroll::cuda {

using namespace eggroll::detail;

// noise.cu
void fill_words(const NoiseStream& stream, uint64_t first, uint32_t* out, int64_t n);
void fill_normal(const NoiseStream& stream, uint64_t first, float* out, int64_t n);

// linear.cu
Precision precision(Precision wanted);
int64_t packed_size(int64_t outputs, int64_t inputs, int64_t rows, Precision precision);
void pack(const float* w, int64_t outputs, int64_t inputs, Precision precision, float* packed);
void product(const float* x, const float* w, float* y, int64_t rows, int64_t inputs,
             int64_t outputs, Precision precision);
void linear(const LinearArgs& args);

// parameter.cu
void perturb_vector(const Members& members, const Operand& b, int64_t n, float* y);

// embedding.cu, windows.cu
void embedding(const Members& members, const Operand& table, int64_t rows, const int32_t* ids,
               bool own_ids, int64_t batch, int64_t cols, float* y);
void unfold(const WindowArgs& args);
void pool(Pool kind, const WindowArgs& args);

// elementwise.cu
void fill(float* to, float value, int64_t n);
void unary(Unary kind, const float* x, float* y, int64_t n);
void binary(Binary kind, const float* a, const float* b, float* y, const Strided& layout);
void where(const float* condition, const float* a, const float* b, float* y, const Strided& layout);
void copy_strided(const void* x, void* y, const Strided& layout);
void round_bf16(const float* x, uint16_t* y, int64_t n);
void widen_bf16(const uint16_t* x, float* y, int64_t n);

// reduce.cu
void reduce(Reduce kind, const float* x, float* y, int64_t outer, int64_t n, int64_t inner);
void argmax(const float* x, float* y, int64_t rows, int64_t n);
void softmax(const float* x, float* y, int64_t rows, int64_t n, bool logarithm);
void standardize(const float* x, float* y, int64_t rows, int64_t n, float eps, bool centred);
void gather(const float* x, const int32_t* ids, float* y, int64_t rows, int64_t n, int64_t id_rows);

// matmul.cu, loss.cu
void matmul(const MatmulArgs& args);
void loss(const LossArgs& args);

// shaping.cu, update.cu, optimize.cu
void mean_evaluations(const float* fitness, float* mean, int64_t pop_size, int64_t evaluations);
void shape_fitness(const ShapingArgs& args);
void update(const UpdateArgs& args);
void optimize(const OptimizeArgs& args);
void add_squares(const float* x, int64_t n, double* sum);
void clip(const double* squares, float limit, float* x, int64_t n);
void check_finite(RunState* run, int64_t code, const float* x, int64_t n);

// run.cu
void begin(RunState* run, const GenerationBlock& block, bool known);
void commit(const RunState* run, void* to, const void* from, int64_t n);
void finish(RunState* run);

// graph.cpp
Recording* record(void (*body)(void* context), void* context);
void replay(Recording* recording);
void forget(Recording* recording);

}  // namespace eggroll::cuda
