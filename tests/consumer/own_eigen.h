// SPDX-License-Identifier: MIT
#pragma once

#include <vector>

/// a (n,k) times b (k,m), row-major, by this program's own Eigen.
std::vector<float> eigen_product(const float* a, const float* b, int n, int k, int m);
