// SPDX-License-Identifier: MIT
#include "cuda/context.h"
#include "cuda/kernels.h"

namespace eggroll::cuda {

void matmul(const MatmulArgs& args) {
    current().multiply({.x = args.a,
                        .w = args.b,
                        .y = args.c,
                        .rows = args.m,
                        .inputs = args.k,
                        .outputs = args.n,
                        .w_transposed = false,
                        .batches = args.batches,
                        .stride_x = args.stride_a,
                        .stride_w = args.stride_b});
}

}  // namespace eggroll::cuda
