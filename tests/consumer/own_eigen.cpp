// SPDX-License-Identifier: MIT
#include "own_eigen.h"

#include <Eigen/Core>

using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

std::vector<float> eigen_product(const float* a, const float* b, int n, int k, int m) {
    std::vector<float> result(static_cast<size_t>(n) * static_cast<size_t>(m));
    Eigen::Map<Matrix>(result.data(), n, m).noalias() =
        Eigen::Map<const Matrix>(a, n, k) * Eigen::Map<const Matrix>(b, k, m);
    return result;
}
