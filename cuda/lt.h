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

    /// Uses the workspace and waits for the stream. bf16: the device takes it.
    void begin(void* workspace, size_t bytes, cudaStream_t stream, bool bf16);
    void end() noexcept;

    /// Whether cuBLASLt has an algorithm for it.
    bool takes(const Product& product) {
        return (!product.relu || relu_keeps_nan_) && find(product).has_value();
    }
    /// Throws Error when it has none.
    void multiply(const Product& product, void* workspace, cudaStream_t stream);

private:
    /// Shape, kind, and how the arrays are aligned: what decides the algorithm.
    using Key = std::array<int64_t, 5>;
    using Algorithm = std::optional<cublasLtMatmulAlgo_t>;

    /// The first that the library proposes: the same for the same library and GPU. Asked for once.
    const Algorithm& find(const Product& product);

    /// Whether a NaN passes its relu, as it passes ours: that is not documented.
    bool keeps_nan(Precision precision, char* memory, void* workspace, cudaStream_t stream);

    cublasLtHandle_t handle_ = nullptr;
    bool relu_keeps_nan_ = true;
    size_t workspace_bytes_ = 0;
    std::map<Key, Algorithm> known_;
};

}  // namespace eggroll::cuda
