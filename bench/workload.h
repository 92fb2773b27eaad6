// SPDX-License-Identifier: MIT
#pragma once

#include "bench/arch.h"
#include "core/scope.h"

#include <eggroll/eggroll.h>

#include <cstdint>
#include <functional>
#include <vector>

// What the benchmarks of whole generations work on: MLPs, populations over them and their inputs.
// Letters as in core/eggroll/ops.h.

namespace eggroll::bench {

/// Linear layers with biases that are not zero, ReLU between them.
nn::Sequential make_mlp(const std::vector<int64_t>& widths, Device device = Device::cpu());

/// Weights of the matrices: multiply-adds of one row.
int64_t weight_count(const std::vector<int64_t>& widths);

/// Rows that all differ: (B,I) for all members, or per-member (P,B,I).
Tensor make_input(int64_t inputs, int64_t pop_size, int64_t batch, bool shared);

/// Labels 0..classes-1 for `loss::cross_entropy`: (B), or per-member (P,B).
Tensor make_labels(int64_t classes, int64_t pop_size, int64_t batch, bool shared);

/// Calls body(i) for i in 0..count-1: on all threads of the CPU, one after another on a GPU.
void in_parallel(int64_t count, const std::function<void(int64_t)>& body,
                 Device device = Device::cpu());

/// Waits until the device has done what was asked of it: before the clock is read.
void finish_work(Device device);

/// Our plain product y (rows,O) = x (rows,I) Wᵀ, W packed beforehand for blocks of rows.
class PlainProduct {
public:
    PlainProduct(const Tensor& x, const Tensor& w, int64_t block);

    /// Blocks on all threads; on the calling one inside `in_parallel`.
    void run();
    /// (rows,O), fully written by `run`.
    const Tensor& y() const { return y_; }

private:
    Tensor x_, w_, packed_, y_;
    int64_t block_;
};

/// Plain inference of the same rows by our own engine, through the centre view: all rows at once,
/// or in blocks, whichever `choose` finds faster. A shared input stands for P times its rows.
class PlainForward {
public:
    PlainForward(const nn::Module& model, const Tensor& x, int64_t pop_size, int64_t outputs,
                 Precision precision = Precision::f32);

    /// Times each form once and keeps the fastest that `most_bytes` of activations allow.
    void choose(const std::vector<int64_t>& widths, int64_t most_bytes = int64_t{512} << 20);
    void run();

    /// Rows of a block; 0: all at once.
    int64_t block() const { return block_; }
    /// (rows,O), fully written by `run`.
    const Tensor& y() const { return y_; }

private:
    void set_block(int64_t block);
    Tensor rows(const Tensor& of, int64_t first, int64_t count) const;
    /// y (rows,O) of x (rows,I). Other precisions than float32 are those of members: each row is
    /// one, and nothing is perturbed.
    Tensor apply(const Tensor& x) const;

    const nn::Module& model_;
    Tensor x_, y_;  // x (rows,I), y (P·B,O)
    int64_t block_ = 0;
    Tensor block_x_;  // of a shared input: as many copies as fit a block
    bool repeated_;
    detail::ParameterTable table_;
    detail::GenerationBlock generation_;
    detail::Scope scope_;  // copies of W in its precision, made once
};

}  // namespace eggroll::bench
