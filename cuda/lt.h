// SPDX-License-Identifier: MIT
#pragma once

// Products with what comes after them: cuBLASLt.

#include <eggroll/precision.h>

#include <cublasLt.h>
#include <cuda_runtime_api.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>

namespace eggroll::cuda {

/// y (rows,O) = act(x (rows,I) Wᵀ + β y + bias). bf16: x, w and bias hold bfloat16.
struct Product {
    const void* x;
    const void* w;
    void* y;
    int64_t rows, inputs, outputs;
    Precision precision = Precision::f32;
    bool bf16_y = false;  // only with bf16
    bool add = false;     // β is 1, else 0
    const void* bias = nullptr;
    bool relu = false;
};

/// Not for several threads at once.
class Lt {
public:
    Lt() = default;
    ~Lt();
    Lt(const Lt&) = delete;
    Lt& operator=(const Lt&) = delete;

    void begin(size_t workspace_bytes);
    void end() noexcept;

    /// Whether cuBLASLt has an algorithm for it.
    bool takes(const Product& product) { return find(product).has_value(); }
    /// Throws Error when it has none.
    void multiply(const Product& product, void* workspace, cudaStream_t stream);

private:
    /// Shape, kind, and how the arrays are aligned: what decides the algorithm.
    using Key = std::array<int64_t, 5>;
    using Algorithm = std::optional<cublasLtMatmulAlgo_t>;

    /// The first that the library proposes: the same for the same library and GPU. Asked for once.
    const Algorithm& find(const Product& product);

    cublasLtHandle_t handle_ = nullptr;
    size_t workspace_bytes_ = 0;
    std::map<Key, Algorithm> known_;
};

}  // namespace eggroll::cuda
