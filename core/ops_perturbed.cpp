// SPDX-License-Identifier: MIT
// Operations that see the weights of the view.
#include <eggroll/ops.h>

#include "core/checks.h"
#include "core/noise_cache.h"

#include <algorithm>

namespace eggroll {

using detail::fail;
using detail::label;
using detail::last_extent;
using detail::product_of;
using detail::require;
using detail::require_floats;
using detail::require_members;
using detail::require_same_device;
using detail::TensorAccess;
using detail::ViewAccess;
using detail::with_members;

namespace {

/// A parameter is one for all members; what each of them has of it comes from the view.
void require_parameter(const char* op, const Tensor& x, const char* what) {
    require(op, x, what);
    if (x.is_per_member()) {
        fail(op, label(what, x) + " " + to_string(x.shape()) +
                     " is marked as per-member; a parameter is shared");
    }
}

const detail::KeptNoise* kept_noise(const View& view, const detail::TableEntry& entry) {
    const detail::NoiseCache* cache = ViewAccess::scope(view)->noise;
    return cache != nullptr ? cache->of(entry) : nullptr;
}

detail::Operand vector_operand(const char* op, const Tensor& b, const View& view) {
    detail::Operand operand{.value = TensorAccess::floats(b)};
    if (const detail::TableEntry* entry = ViewAccess::find(view, b)) {
        if (entry->parameter.noise.is_matrix()) {
            fail(op, "parameter \"" + entry->parameter.name + "\" " + to_string(b.shape()) +
                         " is perturbed as a matrix but used as a vector");
        }
        operand.parameter = entry->index;
        operand.perturbed = entry->perturbed;
        operand.sigma_scale = entry->sigma_scale;
        operand.kept = kept_noise(view, *entry);
    }
    return operand;
}

detail::Operand matrix_operand(const char* op, const Tensor& w, const View& view, int64_t rows,
                               int64_t cols) {
    detail::Operand operand{.value = TensorAccess::floats(w)};
    if (const detail::TableEntry* entry = ViewAccess::find(view, w)) {
        const NoiseShape noise = entry->parameter.noise;
        if (noise.rows != rows || noise.cols != cols) {
            fail(op, "parameter \"" + entry->parameter.name + "\" is used as a matrix " +
                         to_string({rows, cols}) + " but perturbed as " +
                         (noise.is_matrix() ? to_string({noise.rows, noise.cols}) : "a vector"));
        }
        operand.parameter = entry->index;
        operand.perturbed = entry->perturbed;
        operand.rank = entry->rank;
        operand.law = entry->law;
        operand.sigma_scale = entry->sigma_scale;
        operand.kept = kept_noise(view, *entry);
    }
    return operand;
}

/// What the backend makes of the precision asked for.
Precision precision_of(const Tensor& x, const View& view) {
    const detail::Scope* scope = ViewAccess::scope(view);
    return scope == nullptr ? Precision::f32 : TensorAccess::backend(x).precision(scope->precision);
}

/// x as `linear` takes it: members' own rows in bfloat16 under that precision, else float32.
Tensor as_input(const Tensor& x, const View& view) {
    detail::require_any("linear", x, "x");
    const bool bf16 = x.is_per_member() && precision_of(x, view) == Precision::bf16;
    if (bf16 && x.dtype() != Dtype::i32) return x.to(Dtype::bf16);
    return require_floats("linear", x, "x");
}

}  // namespace

Tensor linear(const Tensor& given, const Tensor& w, const Tensor& b, const View& view, Act act) {
    const Tensor x = as_input(given, view);
    require_parameter("linear", w, "weight");
    require_same_device("linear", x, w);
    require_members("linear", x, view);
    if (w.shape().size() != 2)
        fail("linear",
             label("weight", w) + " is " + to_string(w.shape()) + " but must be a matrix (O,I)");
    const int64_t outputs = w.dim(0), inputs = w.dim(1);
    if (const int64_t columns = last_extent("linear", x); columns != inputs) {
        fail("linear", label("weight", w) + " is " + to_string(w.shape()) + " but x has " +
                           std::to_string(columns) + " columns");
    }
    const bool has_bias = b.size() > 0;
    if (has_bias) {
        require_parameter("linear", b, "bias");
        require_same_device("linear", x, b);
        if (b.shape() != Shape{outputs}) {
            fail("linear", label("bias", b) + " is " + to_string(b.shape()) + " but " +
                               label("weight", w) + " is " + to_string(w.shape()));
        }
    }

    detail::LinearArgs args{};
    args.w = matrix_operand("linear", w, view, outputs, inputs);
    if (has_bias) args.b = vector_operand("linear", b, view);
    const bool perturbed = args.w.perturbed || args.b.perturbed;
    Shape part = x.part_shape();
    part.back() = outputs;
    const int64_t rows = product_of(part, 0, part.size() - 1);  // B
    const int64_t members = perturbed ? view.size() : x.members();

    args.members = perturbed ? ViewAccess::members(view) : detail::Members{};
    args.x = TensorAccess::floats(x);
    args.act = act;
    args.inputs = inputs;
    args.outputs = outputs;
    // Without perturbation all rows are alike, whoever they belong to.
    args.batch = perturbed ? rows : rows * std::max<int64_t>(members, 1);
    args.shared_x = !x.is_per_member();

    Tensor base, packed;
    if (const detail::Scope* scope = ViewAccess::scope(view)) {
        args.precision = precision_of(x, view);
        // Rows that all members share are few: they stay in float32.
        if (members == 0 && args.precision == Precision::bf16) args.precision = Precision::tf32;
        if (args.shared_x) {
            base = scope->shared_product(x, w, rows, inputs, outputs, args.precision);
            args.base = TensorAccess::floats(base);
        } else {
            packed = scope->packed(w, rows * x.members(), args.precision);
            if (packed.size() > 0) args.packed = TensorAccess::floats(packed);
        }
    }
    const Dtype dtype = args.precision == Precision::bf16 ? Dtype::bf16 : Dtype::f32;
    Tensor y = TensorAccess::make(with_members(members, part), x.device(), dtype, members > 0);
    args.y = TensorAccess::floats(y);
    if (y.size() > 0) TensorAccess::backend(x).linear(args);
    return y;
}

Tensor perturbed(const Tensor& b, const View& view) {
    require_parameter("perturbed", b, "parameter");
    const detail::Operand operand = vector_operand("perturbed", b, view);
    if (!operand.perturbed) return b;
    Tensor y =
        TensorAccess::make(with_members(view.size(), b.shape()), b.device(), Dtype::f32, true);
    TensorAccess::backend(b).perturb_vector(ViewAccess::members(view), operand, b.size(),
                                            TensorAccess::floats(y));
    return y;
}

Tensor add(const Tensor& given, const Tensor& b, const View& view) {
    const Tensor x = require_floats("add", given, "x");
    require_parameter("add", b, "parameter");
    require_members("add", x, view);
    if (b.shape() != Shape{last_extent("add", x)}) {
        fail("add", label("parameter", b) + " is " + to_string(b.shape()) + " but x is " +
                        to_string(x.shape()));
    }
    return x + perturbed(b, view);
}

Tensor embedding(const Tensor& ids, const Tensor& table, const View& view) {
    require("embedding", ids, "ids", Dtype::i32);
    require_parameter("embedding", table, "table");
    require_same_device("embedding", ids, table);
    require_members("embedding", ids, view);
    if (table.shape().size() != 2) {
        fail("embedding", label("table", table) + " is " + to_string(table.shape()) +
                              " but must be a matrix (N,E)");
    }
    const int64_t rows = table.dim(0), cols = table.dim(1);
    if (ids.device() == Device::cpu()) {
        for (const int32_t id : ids.ints()) {
            if (id < 0 || id >= rows) {
                fail("embedding", "id " + std::to_string(id) + " is not a row of " +
                                      label("table", table) + " " + to_string(table.shape()));
            }
        }
    }
    const detail::Operand operand = matrix_operand("embedding", table, view, rows, cols);
    const int64_t members = operand.perturbed ? view.size() : ids.members();
    Shape part = ids.part_shape();
    const int64_t batch = operand.perturbed ? element_count(part) : ids.size();
    part.push_back(cols);
    Tensor y =
        TensorAccess::make(with_members(members, part), table.device(), Dtype::f32, members > 0);
    TensorAccess::backend(table).embedding(
        operand.perturbed ? ViewAccess::members(view) : detail::Members{}, operand, rows,
        TensorAccess::ints(ids), ids.is_per_member(), batch, cols, TensorAccess::floats(y));
    return y;
}

namespace {

/// Rows over their root mean square, centred or not. Gain and bias (n) may be empty.
Tensor normalized(const char* op, const Tensor& given, const Tensor& gain, const Tensor& bias,
                  const View& view, float eps, bool centred) {
    const Tensor x = require_floats(op, given, "x");
    require_members(op, x, view);
    const int64_t n = last_extent(op, x);
    for (const Tensor* parameter : {&gain, &bias}) {
        if (parameter->size() == 0) continue;
        require_parameter(op, *parameter, "parameter");
        if (parameter->shape() != Shape{n}) {
            fail(op, label("parameter", *parameter) + " is " + to_string(parameter->shape()) +
                         " but x is " + to_string(x.shape()));
        }
    }
    Tensor y = TensorAccess::make(x.shape(), x.device(), Dtype::f32, x.is_per_member());
    if (n > 0) {
        TensorAccess::backend(x).standardize(TensorAccess::floats(x), TensorAccess::floats(y),
                                             x.size() / n, n, eps, centred);
    }
    if (gain.size() > 0) y = y * perturbed(gain, view);
    if (bias.size() > 0) y = y + perturbed(bias, view);
    return y;
}

}  // namespace

Tensor layer_norm(const Tensor& x, const Tensor& gain, const Tensor& bias, const View& view,
                  float eps) {
    return normalized("layer_norm", x, gain, bias, view, eps, true);
}

Tensor rms_norm(const Tensor& x, const Tensor& gain, const View& view, float eps) {
    return normalized("rms_norm", x, gain, Tensor(), view, eps, false);
}

}  // namespace eggroll
