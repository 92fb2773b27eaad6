// SPDX-License-Identifier: MIT
#include "cuda/context.h"
#include "cuda/kernels.h"

namespace eggroll::cuda {

void matmul(const MatmulArgs& args) {
    current().multiply(args);
}

}  // namespace eggroll::cuda
