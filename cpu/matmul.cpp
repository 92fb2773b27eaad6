// SPDX-License-Identifier: MIT
#include "cpu/eigen.h"
#include "cpu/kernels.h"

namespace eggroll::EGGROLL_CPU_NS {

void matmul(const MatmulArgs& args) {
    using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
    for (int64_t i = 0; i < args.batches; ++i) {
        Eigen::Map<Matrix>(args.c + i * args.m * args.n, args.m, args.n).noalias() =
            Eigen::Map<const Matrix>(args.a + i * args.stride_a, args.m, args.k) *
            Eigen::Map<const Matrix>(args.b + i * args.stride_b, args.k, args.n);
    }
}

}  // namespace eggroll::EGGROLL_CPU_NS
