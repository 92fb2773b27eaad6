// SPDX-License-Identifier: MIT
#include "cuda/lt.h"

#include "cuda/context.h"

#include <eggroll/error.h>

#include <cmath>
#include <string>

namespace eggroll::cuda {

namespace {

/// Extents of a product that is asked for its relu, and bytes of a matrix of float.
constexpr int64_t kProbe = 32;
constexpr size_t kProbeBytes = kProbe * kProbe * sizeof(float);

/// Largest power of two up to 256 that divides the address.
uint32_t alignment_of(const void* memory) {
    const auto address = reinterpret_cast<uintptr_t>(memory) | 256;
    return static_cast<uint32_t>(address & (~address + 1));
}

/// A product as cuBLASLt describes it. It counts by columns: our (rows,O) is its (O,rows), and W
/// (O,I) its (I,O), to be transposed.
struct Description {
    explicit Description(const Product& p) {
        const bool bf16 = p.precision == Precision::bf16;
        const cudaDataType_t of_x = bf16 ? CUDA_R_16BF : CUDA_R_32F;
        const cudaDataType_t of_y = p.bf16_y ? CUDA_R_16BF : CUDA_R_32F;
        const cublasComputeType_t compute = bf16 ? CUBLAS_COMPUTE_32F
                                            : p.precision == Precision::tf32
                                                ? CUBLAS_COMPUTE_32F_FAST_TF32
                                                : CUBLAS_COMPUTE_32F_PEDANTIC;
        EGGROLL_CUDA_CHECK(cublasLtMatmulDescInit(&operation, compute, CUDA_R_32F));
        const cublasOperation_t transposed = CUBLAS_OP_T;
        set(CUBLASLT_MATMUL_DESC_TRANSA, transposed);
        const cublasLtEpilogue_t epilogue =
            p.bias != nullptr ? (p.relu ? CUBLASLT_EPILOGUE_RELU_BIAS : CUBLASLT_EPILOGUE_BIAS)
                              : (p.relu ? CUBLASLT_EPILOGUE_RELU : CUBLASLT_EPILOGUE_DEFAULT);
        set(CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue);
        if (p.bias != nullptr) {
            set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, p.bias);
            set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, of_x);
        }
        const auto rows = static_cast<uint64_t>(p.rows), inputs = static_cast<uint64_t>(p.inputs),
                   outputs = static_cast<uint64_t>(p.outputs);
        EGGROLL_CUDA_CHECK(cublasLtMatrixLayoutInit(&w, of_x, inputs, outputs, p.inputs));
        EGGROLL_CUDA_CHECK(cublasLtMatrixLayoutInit(&x, of_x, inputs, rows, p.inputs));
        EGGROLL_CUDA_CHECK(cublasLtMatrixLayoutInit(&y, of_y, outputs, rows, p.outputs));
    }

    template <class T>
    void set(cublasLtMatmulDescAttributes_t attribute, const T& value) {
        EGGROLL_CUDA_CHECK(
            cublasLtMatmulDescSetAttribute(&operation, attribute, &value, sizeof(value)));
    }

    cublasLtMatmulDescOpaque_t operation;
    cublasLtMatrixLayoutOpaque_t w, x, y;
};

}  // namespace

Lt::~Lt() {
    end();
}

void Lt::begin(void* workspace, size_t bytes, cudaStream_t stream, bool bf16) {
    EGGROLL_CUDA_CHECK(cublasLtCreate(&handle_));
    auto* memory = static_cast<char*>(workspace);
    workspace_bytes_ = bytes - 3 * kProbeBytes;
    char* rest = memory + 3 * kProbeBytes;
    relu_keeps_nan_ = keeps_nan(Precision::f32, memory, rest, stream) &&
                      keeps_nan(Precision::tf32, memory, rest, stream) &&
                      (!bf16 || keeps_nan(Precision::bf16, memory, rest, stream));
    workspace_bytes_ = bytes;
}

bool Lt::keeps_nan(Precision precision, char* memory, void* workspace, cudaStream_t stream) {
    const Product product{.x = memory,
                          .w = memory + kProbeBytes,
                          .y = memory + 2 * kProbeBytes,
                          .rows = kProbe,
                          .inputs = kProbe,
                          .outputs = kProbe,
                          .precision = precision,
                          .bf16_y = precision == Precision::bf16,
                          .relu = true};
    if (!find(product)) return true;  // never asked for
    // All ones are a NaN of either type, and two bfloat16 of them one of float.
    EGGROLL_CUDA_CHECK(cudaMemsetAsync(memory, 0xff, kProbeBytes, stream));
    EGGROLL_CUDA_CHECK(cudaMemsetAsync(memory + kProbeBytes, 0, 2 * kProbeBytes, stream));
    multiply(product, workspace, stream);
    float y = 0;
    EGGROLL_CUDA_CHECK(cudaMemcpyAsync(&y, product.y, sizeof(y), cudaMemcpyDeviceToHost, stream));
    EGGROLL_CUDA_CHECK(cudaStreamSynchronize(stream));
    return std::isnan(y);
}

void Lt::end() noexcept {
    if (handle_ != nullptr) cublasLtDestroy(handle_);
    handle_ = nullptr;
}

const Lt::Algorithm& Lt::find(const Product& p) {
    const int64_t kind = static_cast<int64_t>(p.precision) * 16 + p.bf16_y * 8 + p.add * 4 +
                         (p.bias != nullptr) * 2 + p.relu;
    const uint32_t of_w = alignment_of(p.w), of_x = alignment_of(p.x), of_y = alignment_of(p.y);
    const auto [found, fresh] = known_.try_emplace(
        Key{p.rows, p.inputs, p.outputs, kind,
            (static_cast<int64_t>(of_w) << 40) + (static_cast<int64_t>(of_x) << 20) + of_y});
    if (!fresh || p.inputs == 0) return found->second;

    Description description(p);
    cublasLtMatmulPreferenceOpaque_t preference;
    EGGROLL_CUDA_CHECK(cublasLtMatmulPreferenceInit(&preference));
    const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t attribute, const auto& value) {
        EGGROLL_CUDA_CHECK(
            cublasLtMatmulPreferenceSetAttribute(&preference, attribute, &value, sizeof(value)));
    };
    prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, workspace_bytes_);
    // Parts of a sum are added in float32, by a kernel that follows.
    prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
           static_cast<uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, of_w);
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, of_x);
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, of_y);
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, of_y);
    cublasLtMatmulHeuristicResult_t result{};
    int count = 0;
    const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(
        handle_, &description.operation, &description.w, &description.x, &description.y,
        &description.y, &preference, 1, &result, &count);
    if (status == CUBLAS_STATUS_SUCCESS && count > 0 && result.state == CUBLAS_STATUS_SUCCESS) {
        found->second = result.algo;
    } else if (status != CUBLAS_STATUS_SUCCESS && status != CUBLAS_STATUS_NOT_SUPPORTED) {
        known_.erase(found);
        EGGROLL_CUDA_CHECK(status);
    }
    return found->second;
}

void Lt::multiply(const Product& p, void* workspace, cudaStream_t stream) {
    const Algorithm& algorithm = find(p);
    if (!algorithm) {
        throw Error("[cuda] cuBLASLt has no algorithm for a product of " + std::to_string(p.rows) +
                    " rows, " + std::to_string(p.inputs) + " columns of x and " +
                    std::to_string(p.outputs) + " columns");
    }
    Description description(p);
    const float one = 1.0f, zero = 0.0f;
    EGGROLL_CUDA_CHECK(cublasLtMatmul(handle_, &description.operation, &one, p.w, &description.w,
                                      p.x, &description.x, p.add ? &one : &zero, p.y,
                                      &description.y, p.y, &description.y, &*algorithm, workspace,
                                      workspace_bytes_, stream));
}

}  // namespace eggroll::cuda
