// SPDX-License-Identifier: MIT
#pragma once

#include <eggroll/tensor.h>
#include <eggroll/view.h>

#include <span>
#include <vector>

// The operations a layer is written with. Each works unperturbed, for one member and for a range of
// members, on every device, without the caller knowing which.
//
// Letters: V members in the view, B batch rows, I inputs, O outputs. A per-member tensor has a
// leading axis of V; *axes and shapes given to these functions are those of one member's part*,
// negative axes count from the end. Arithmetic broadcasts the parts as NumPy does and lines up the
// members. All throw Error naming the operation and both shapes.

namespace eggroll {

/// Extents along the rows (H) and the columns (W) of an image; one number stands for both.
struct Size2 {
    int64_t rows, cols;

    constexpr Size2(int64_t both) : rows(both), cols(both) {}
    constexpr Size2(int64_t of_rows, int64_t of_cols) : rows(of_rows), cols(of_cols) {}
};

/// How a window slides over an image (H,W): Ho = (H + 2·padding − kernel)/stride + 1 of them down,
/// likewise Wo across. Padding is of zeros, on every side.
struct Sliding {
    Size2 stride = 1, padding = 0;
};

/// An activation that may be folded into the operation before it.
enum class Act { none, relu, tanh, sigmoid, gelu, silu };

// --- Perturbed: these see the weights of the view -----------------------------------------------

/// y = act(x Wᵀ + b).  x (...,I) or (V,...,I), w (O,I), b (O) or empty -> y (...,O) for the centre,
/// (V,...,O) for members. Each member sees W + s σ/√r A Bᵀ and b + s σ ε; no member's matrix is
/// formed: the low-rank part is (x B) Aᵀ.
EGGROLL_API Tensor linear(const Tensor& x, const Tensor& w, const Tensor& b, const View& view,
                          Act act = Act::none);
/// A vector parameter as the view sees it: b itself for the centre, b + s σ ε (V,...) for members.
EGGROLL_API Tensor perturbed(const Tensor& b, const View& view);
/// x + b, where b (n) is a vector parameter and n the last extent of x.
EGGROLL_API Tensor add(const Tensor& x, const Tensor& b, const View& view);
/// Rows of a table: ids (...) of int32, table (N,E) -> (...,E) or (V,...,E).
EGGROLL_API Tensor embedding(const Tensor& ids, const Tensor& table, const View& view);
/// (x - mean)/sqrt(var + eps) · gain + bias over the last axis, biased variance (Ba et al. 2016).
/// gain (n) and bias (n) may be empty.
EGGROLL_API Tensor layer_norm(const Tensor& x, const Tensor& gain, const Tensor& bias,
                              const View& view, float eps = 1e-5f);
/// x/sqrt(mean(x²) + eps) · gain over the last axis (Zhang & Sennrich 2019). gain (n) may be empty.
EGGROLL_API Tensor rms_norm(const Tensor& x, const Tensor& gain, const View& view,
                            float eps = 1e-6f);
/// y = act(w ⋆ x + b), PyTorch's convolution: x (...,C,H,W), w (O,C,kh,kw), b (O) or empty ->
/// (...,O,Ho,Wo). Computed as `linear` of unfolded windows: w is perturbed as the matrix
/// (O,C·kh·kw), and a parameter must be registered with that NoiseShape.
EGGROLL_API Tensor conv2d(const Tensor& x, const Tensor& w, const Tensor& b, const View& view,
                          const Sliding& sliding = {}, Act act = Act::none);

// --- Arithmetic ---------------------------------------------------------------------------------

EGGROLL_API Tensor operator-(const Tensor& a);
EGGROLL_API Tensor operator+(const Tensor& a, const Tensor& b);
EGGROLL_API Tensor operator-(const Tensor& a, const Tensor& b);
EGGROLL_API Tensor operator*(const Tensor& a, const Tensor& b);
EGGROLL_API Tensor operator/(const Tensor& a, const Tensor& b);
EGGROLL_API Tensor operator+(const Tensor& a, float b);
EGGROLL_API Tensor operator-(const Tensor& a, float b);
EGGROLL_API Tensor operator*(const Tensor& a, float b);
EGGROLL_API Tensor operator/(const Tensor& a, float b);
EGGROLL_API Tensor operator+(float a, const Tensor& b);
EGGROLL_API Tensor operator-(float a, const Tensor& b);
EGGROLL_API Tensor operator*(float a, const Tensor& b);
EGGROLL_API Tensor operator/(float a, const Tensor& b);
EGGROLL_API Tensor maximum(const Tensor& a, const Tensor& b);
EGGROLL_API Tensor minimum(const Tensor& a, const Tensor& b);
/// 1 where the relation holds, else 0.
EGGROLL_API Tensor greater(const Tensor& a, const Tensor& b);
EGGROLL_API Tensor less(const Tensor& a, const Tensor& b);
EGGROLL_API Tensor equal(const Tensor& a, const Tensor& b);
/// a where the condition is not 0, else b.
EGGROLL_API Tensor where(const Tensor& condition, const Tensor& a, const Tensor& b);

EGGROLL_API Tensor relu(const Tensor& x);
EGGROLL_API Tensor tanh(const Tensor& x);
EGGROLL_API Tensor sigmoid(const Tensor& x);
/// x Φ(x), exact (erf), as PyTorch's default (Hendrycks & Gimpel 2016).
EGGROLL_API Tensor gelu(const Tensor& x);
/// x sigmoid(x).
EGGROLL_API Tensor silu(const Tensor& x);
EGGROLL_API Tensor exp(const Tensor& x);
EGGROLL_API Tensor log(const Tensor& x);
EGGROLL_API Tensor sqrt(const Tensor& x);
EGGROLL_API Tensor abs(const Tensor& x);
EGGROLL_API Tensor sin(const Tensor& x);
EGGROLL_API Tensor cos(const Tensor& x);
EGGROLL_API Tensor square(const Tensor& x);
/// x through the given activation.
EGGROLL_API Tensor activate(const Tensor& x, Act act);

// --- Reductions and rows ------------------------------------------------------------------------

/// Over all of a member's part: one value a member (V) for a per-member x, else a scalar ().
EGGROLL_API Tensor sum(const Tensor& x);
EGGROLL_API Tensor mean(const Tensor& x);
/// Over one axis, which disappears.
EGGROLL_API Tensor sum(const Tensor& x, int axis);
EGGROLL_API Tensor mean(const Tensor& x, int axis);
EGGROLL_API Tensor max(const Tensor& x, int axis);
/// Index of the first largest entry along the last axis, as floats; NaN for a row that holds one.
EGGROLL_API Tensor argmax(const Tensor& x);
EGGROLL_API Tensor softmax(const Tensor& x);      // over the last axis
EGGROLL_API Tensor log_softmax(const Tensor& x);  // over the last axis
/// Of each channel's windows: x (...,C,H,W) -> (...,C,Ho,Wo). Padding, at most half a kernel, is
/// never the largest; a NaN is.
EGGROLL_API Tensor max_pool2d(const Tensor& x, Size2 kernel, const Sliding& sliding);
/// Padding counts as zeros, as in PyTorch by default.
EGGROLL_API Tensor avg_pool2d(const Tensor& x, Size2 kernel, const Sliding& sliding);
/// x (...,N), ids (...) of int32 in 0..N-1 -> (...): the entry each row's id names.
EGGROLL_API Tensor gather(const Tensor& x, const Tensor& ids);

// --- Shape --------------------------------------------------------------------------------------

/// Each member's part under another shape; one extent may be -1. Shares the storage.
EGGROLL_API Tensor reshape(const Tensor& x, const Shape& part);
/// Entries begin..end-1 of one axis.
EGGROLL_API Tensor slice(const Tensor& x, int axis, int64_t begin, int64_t end);
/// Joined along one axis; shared tensors are repeated for each member where any is per-member.
EGGROLL_API Tensor concat(std::span<const Tensor> parts, int axis);
EGGROLL_API Tensor concat(std::initializer_list<Tensor> parts, int axis);
/// Two axes exchanged.
EGGROLL_API Tensor transpose(const Tensor& x, int axis_a, int axis_b);
/// (...,M,K) (...,K,N) -> (...,M,N); leading axes must be equal, or absent on one side.
EGGROLL_API Tensor matmul(const Tensor& a, const Tensor& b);

}  // namespace eggroll
