// SPDX-License-Identifier: MIT
// Checks, shapes and marks of the free functions; the work is done by the backend's rows.
#include <eggroll/ops.h>

#include "core/layout.h"
#include "core/scope.h"

#include <algorithm>

namespace eggroll {

using detail::Backend;
using detail::TensorAccess;
using detail::ViewAccess;

namespace {

[[noreturn]] void fail(const char* op, const std::string& what) {
    throw Error(std::string("[") + op + "] " + what);
}

/// "weight "0.weight"" where the tensor is a parameter, else the plain word.
std::string label(const char* word, const Tensor& x) {
    const detail::Storage* storage = TensorAccess::storage(x);
    if (storage == nullptr || storage->name.empty()) return word;
    return std::string(word) + " \"" + storage->name + "\"";
}

void require(const char* op, const Tensor& x, const char* what, Dtype dtype = Dtype::f32) {
    if (TensorAccess::storage(x) == nullptr) fail(op, std::string(what) + " is an empty tensor");
    if (x.dtype() != dtype) {
        fail(op,
             std::string(what) + (dtype == Dtype::f32 ? " must hold float32, not int32"
                                                      : " must hold int32 (Tensor::from_ints)"));
    }
}

void require_same_device(const char* op, const Tensor& a, const Tensor& b) {
    if (a.device() != b.device()) {
        fail(op, "operands are on " + a.device().name() + " and " + b.device().name());
    }
}

void require_members(const char* op, const Tensor& x, const View& view) {
    if (!view.is_centre() && x.is_per_member() && x.members() != view.size()) {
        fail(op, "x " + to_string(x.shape()) + " is per-member with a leading axis of " +
                     std::to_string(x.members()) + " but the view has " +
                     std::to_string(view.size()) + " members");
    }
}

/// The shape with an axis of `members` in front if there are any.
Shape with_members(int64_t members, Shape part) {
    if (members > 0) part.insert(part.begin(), members);
    return part;
}

int64_t last_extent(const char* op, const Tensor& x) {
    const Shape& shape = x.shape();
    if (shape.size() <= (x.is_per_member() ? 1u : 0u)) {
        fail(op, "x " + to_string(shape) + " has no last axis");
    }
    return shape.back();
}

/// Position in shape() of an axis of one member's part.
size_t axis_index(const char* op, const Tensor& x, int axis) {
    const int mark = x.is_per_member() ? 1 : 0;
    const int dims = static_cast<int>(x.shape().size()) - mark;
    const int index = axis < 0 ? axis + dims : axis;
    if (index < 0 || index >= dims) {
        fail(op,
             "axis " + std::to_string(axis) + " of parts of shape " + to_string(x.part_shape()));
    }
    return static_cast<size_t>(index + mark);
}

int64_t product_of(const Shape& shape, size_t begin, size_t end) {
    int64_t product = 1;
    for (size_t i = begin; i < end; ++i) product *= shape[i];
    return product;
}

/// A parameter is one for all members; what each of them has of it comes from the view.
void require_parameter(const char* op, const Tensor& x, const char* what) {
    require(op, x, what);
    if (x.is_per_member()) {
        fail(op, label(what, x) + " " + to_string(x.shape()) +
                     " is marked as per-member; a parameter is shared");
    }
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
    }
    return operand;
}

}  // namespace

// --- Perturbed ----------------------------------------------------------------------------------

Tensor linear(const Tensor& x, const Tensor& w, const Tensor& b, const View& view, Act act) {
    require("linear", x, "x");
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
        if (args.shared_x) {
            base = scope->shared_product(x, w, rows, inputs, outputs);
            args.base = TensorAccess::floats(base);
        } else {
            packed = scope->packed(w);
            if (packed.size() > 0) args.packed = TensorAccess::floats(packed);
        }
    }
    Tensor y = TensorAccess::make(with_members(members, part), x.device(), Dtype::f32, members > 0);
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

Tensor add(const Tensor& x, const Tensor& b, const View& view) {
    require("add", x, "x");
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
        operand.perturbed ? ViewAccess::members(view) : detail::Members{}, operand,
        TensorAccess::ints(ids), ids.is_per_member(), batch, cols, TensorAccess::floats(y));
    return y;
}

Tensor layer_norm(const Tensor& x, const Tensor& gain, const Tensor& bias, const View& view,
                  float eps) {
    require("layer_norm", x, "x");
    require_members("layer_norm", x, view);
    const int64_t n = last_extent("layer_norm", x);
    for (const Tensor* parameter : {&gain, &bias}) {
        if (parameter->size() == 0) continue;
        require_parameter("layer_norm", *parameter, "parameter");
        if (parameter->shape() != Shape{n}) {
            fail("layer_norm", label("parameter", *parameter) + " is " +
                                   to_string(parameter->shape()) + " but x is " +
                                   to_string(x.shape()));
        }
    }
    Tensor y = TensorAccess::make(x.shape(), x.device(), Dtype::f32, x.is_per_member());
    if (n > 0) {
        TensorAccess::backend(x).standardize(TensorAccess::floats(x), TensorAccess::floats(y),
                                             x.size() / n, n, eps);
    }
    if (gain.size() > 0) y = y * perturbed(gain, view);
    if (bias.size() > 0) y = y + perturbed(bias, view);
    return y;
}

// --- Arithmetic ---------------------------------------------------------------------------------

namespace {

Tensor unary(const char* op, detail::Unary kind, const Tensor& x) {
    require(op, x, "x");
    Tensor y = TensorAccess::make(x.shape(), x.device(), Dtype::f32, x.is_per_member());
    TensorAccess::backend(x).unary(kind, TensorAccess::floats(x), TensorAccess::floats(y),
                                   x.size());
    return y;
}

Tensor binary(const char* op, detail::Binary kind, const Tensor& a, const Tensor& b) {
    require(op, a, "the left operand");
    require(op, b, "the right operand");
    require_same_device(op, a, b);
    const detail::Broadcast to = detail::broadcast(op, {&a, &b});
    Tensor y = TensorAccess::make(to.shape, a.device(), Dtype::f32, to.per_member);
    TensorAccess::backend(a).binary(kind, TensorAccess::floats(a), TensorAccess::floats(b),
                                    TensorAccess::floats(y), to.layout);
    return y;
}

Tensor scalar(float value, const Tensor& like) {
    return Tensor::full({}, value, like.device());
}

}  // namespace

Tensor operator-(const Tensor& a) {
    return unary("negate", detail::Unary::negate, a);
}
Tensor relu(const Tensor& x) {
    return unary("relu", detail::Unary::relu, x);
}
Tensor tanh(const Tensor& x) {
    return unary("tanh", detail::Unary::tanh, x);
}
Tensor sigmoid(const Tensor& x) {
    return unary("sigmoid", detail::Unary::sigmoid, x);
}
Tensor gelu(const Tensor& x) {
    return unary("gelu", detail::Unary::gelu, x);
}
Tensor silu(const Tensor& x) {
    return unary("silu", detail::Unary::silu, x);
}
Tensor exp(const Tensor& x) {
    return unary("exp", detail::Unary::exp, x);
}
Tensor log(const Tensor& x) {
    return unary("log", detail::Unary::log, x);
}
Tensor sqrt(const Tensor& x) {
    return unary("sqrt", detail::Unary::sqrt, x);
}
Tensor abs(const Tensor& x) {
    return unary("abs", detail::Unary::abs, x);
}
Tensor sin(const Tensor& x) {
    return unary("sin", detail::Unary::sin, x);
}
Tensor cos(const Tensor& x) {
    return unary("cos", detail::Unary::cos, x);
}
Tensor square(const Tensor& x) {
    return unary("square", detail::Unary::square, x);
}

Tensor activate(const Tensor& x, Act act) {
    switch (act) {
        case Act::none:
            return x;
        case Act::relu:
            return relu(x);
        case Act::tanh:
            return tanh(x);
        case Act::sigmoid:
            return sigmoid(x);
        case Act::gelu:
            return gelu(x);
        case Act::silu:
            return silu(x);
    }
    return x;
}

Tensor operator+(const Tensor& a, const Tensor& b) {
    return binary("add", detail::Binary::add, a, b);
}
Tensor operator-(const Tensor& a, const Tensor& b) {
    return binary("subtract", detail::Binary::sub, a, b);
}
Tensor operator*(const Tensor& a, const Tensor& b) {
    return binary("multiply", detail::Binary::mul, a, b);
}
Tensor operator/(const Tensor& a, const Tensor& b) {
    return binary("divide", detail::Binary::div, a, b);
}
Tensor operator+(const Tensor& a, float b) {
    return a + scalar(b, a);
}
Tensor operator-(const Tensor& a, float b) {
    return a - scalar(b, a);
}
Tensor operator*(const Tensor& a, float b) {
    return a * scalar(b, a);
}
Tensor operator/(const Tensor& a, float b) {
    return a / scalar(b, a);
}
Tensor operator+(float a, const Tensor& b) {
    return scalar(a, b) + b;
}
Tensor operator-(float a, const Tensor& b) {
    return scalar(a, b) - b;
}
Tensor operator*(float a, const Tensor& b) {
    return scalar(a, b) * b;
}
Tensor operator/(float a, const Tensor& b) {
    return scalar(a, b) / b;
}

Tensor maximum(const Tensor& a, const Tensor& b) {
    return binary("maximum", detail::Binary::maximum, a, b);
}
Tensor minimum(const Tensor& a, const Tensor& b) {
    return binary("minimum", detail::Binary::minimum, a, b);
}
Tensor greater(const Tensor& a, const Tensor& b) {
    return binary("greater", detail::Binary::greater, a, b);
}
Tensor less(const Tensor& a, const Tensor& b) {
    return binary("less", detail::Binary::less, a, b);
}
Tensor equal(const Tensor& a, const Tensor& b) {
    return binary("equal", detail::Binary::equal, a, b);
}

Tensor where(const Tensor& condition, const Tensor& a, const Tensor& b) {
    require("where", condition, "the condition");
    require("where", a, "the first choice");
    require("where", b, "the second choice");
    require_same_device("where", condition, a);
    require_same_device("where", a, b);
    const detail::Broadcast to = detail::broadcast("where", {&condition, &a, &b});
    Tensor y = TensorAccess::make(to.shape, a.device(), Dtype::f32, to.per_member);
    TensorAccess::backend(a).where(TensorAccess::floats(condition), TensorAccess::floats(a),
                                   TensorAccess::floats(b), TensorAccess::floats(y), to.layout);
    return y;
}

// --- Reductions and rows ------------------------------------------------------------------------

namespace {

Tensor reduce_all(const char* op, detail::Reduce kind, const Tensor& x) {
    require(op, x, "x");
    const int64_t members = x.members();
    const int64_t outer = x.is_per_member() ? members : 1;
    const int64_t n = outer > 0 ? x.size() / outer : 0;
    if (n == 0) fail(op, "x " + to_string(x.shape()) + " has no elements");
    Tensor y =
        TensorAccess::make(with_members(members, {}), x.device(), Dtype::f32, x.is_per_member());
    TensorAccess::backend(x).reduce(kind, TensorAccess::floats(x), TensorAccess::floats(y), outer,
                                    n, 1);
    return y;
}

Tensor reduce_axis(const char* op, detail::Reduce kind, const Tensor& x, int axis) {
    require(op, x, "x");
    const size_t index = axis_index(op, x, axis);
    Shape shape = x.shape();
    const int64_t n = shape[index];
    if (n == 0)
        fail(op, "x " + to_string(shape) + " has no elements along axis " + std::to_string(axis));
    const int64_t outer = product_of(shape, 0, index);
    const int64_t inner = product_of(shape, index + 1, shape.size());
    shape.erase(shape.begin() + static_cast<std::ptrdiff_t>(index));
    Tensor y = TensorAccess::make(shape, x.device(), Dtype::f32, x.is_per_member());
    TensorAccess::backend(x).reduce(kind, TensorAccess::floats(x), TensorAccess::floats(y), outer,
                                    n, inner);
    return y;
}

Tensor softmax_of(const char* op, const Tensor& x, bool logarithm) {
    require(op, x, "x");
    const int64_t n = last_extent(op, x);
    Tensor y = TensorAccess::make(x.shape(), x.device(), Dtype::f32, x.is_per_member());
    if (n > 0) {
        TensorAccess::backend(x).softmax(TensorAccess::floats(x), TensorAccess::floats(y),
                                         x.size() / n, n, logarithm);
    }
    return y;
}

}  // namespace

Tensor sum(const Tensor& x) {
    return reduce_all("sum", detail::Reduce::sum, x);
}
Tensor mean(const Tensor& x) {
    return reduce_all("mean", detail::Reduce::mean, x);
}
Tensor sum(const Tensor& x, int axis) {
    return reduce_axis("sum", detail::Reduce::sum, x, axis);
}
Tensor mean(const Tensor& x, int axis) {
    return reduce_axis("mean", detail::Reduce::mean, x, axis);
}
Tensor max(const Tensor& x, int axis) {
    return reduce_axis("max", detail::Reduce::max, x, axis);
}

Tensor argmax(const Tensor& x) {
    require("argmax", x, "x");
    const int64_t n = last_extent("argmax", x);
    if (n == 0) fail("argmax", "x " + to_string(x.shape()) + " has no elements in a row");
    Shape shape = x.shape();
    shape.pop_back();
    Tensor y = TensorAccess::make(shape, x.device(), Dtype::f32, x.is_per_member());
    TensorAccess::backend(x).argmax(TensorAccess::floats(x), TensorAccess::floats(y), x.size() / n,
                                    n);
    return y;
}

Tensor softmax(const Tensor& x) {
    return softmax_of("softmax", x, false);
}
Tensor log_softmax(const Tensor& x) {
    return softmax_of("log_softmax", x, true);
}

Tensor gather(const Tensor& x, const Tensor& ids) {
    require("gather", x, "x");
    require("gather", ids, "ids", Dtype::i32);
    require_same_device("gather", x, ids);
    const int64_t n = last_extent("gather", x);
    Shape rows = x.part_shape();
    rows.pop_back();
    if (ids.part_shape() != rows || (ids.is_per_member() && ids.members() != x.members())) {
        fail("gather", "x is " + to_string(x.shape()) + " but ids are " + to_string(ids.shape()));
    }
    if (ids.device() == Device::cpu()) {
        for (const int32_t id : ids.ints()) {
            if (id < 0 || id >= n) {
                fail("gather",
                     "id " + std::to_string(id) + " is outside 0.." + std::to_string(n - 1));
            }
        }
    }
    Tensor y = TensorAccess::make(with_members(x.members(), rows), x.device(), Dtype::f32,
                                  x.is_per_member());
    if (n > 0) {
        TensorAccess::backend(x).gather(TensorAccess::floats(x), TensorAccess::ints(ids),
                                        TensorAccess::floats(y), x.size() / n, n, ids.size());
    }
    return y;
}

// --- Shape --------------------------------------------------------------------------------------

Tensor reshape(const Tensor& x, const Shape& part) {
    Shape full = part;
    if (x.is_per_member()) full.insert(full.begin(), x.members());
    return x.reshape(full);
}

namespace {

/// A dense tensor of that shape, read from x with those strides (in elements).
Tensor copy_strided(const char* op, const Tensor& x, int64_t offset, const Shape& shape,
                    const std::vector<int64_t>& strides) {
    Tensor y = TensorAccess::make(shape, x.device(), x.dtype(), x.is_per_member());
    const auto* from = static_cast<const uint32_t*>(TensorAccess::raw(x)) + offset;
    TensorAccess::backend(x).copy_strided(from, TensorAccess::raw(y),
                                          detail::single_layout(op, shape, strides));
    return y;
}

}  // namespace

Tensor slice(const Tensor& x, int axis, int64_t begin, int64_t end) {
    const size_t index = axis_index("slice", x, axis);
    Shape shape = x.shape();
    if (begin < 0 || end < begin || end > shape[index]) {
        fail("slice", "entries " + std::to_string(begin) + ".." + std::to_string(end) +
                          " of axis " + std::to_string(axis) + " of parts of shape " +
                          to_string(x.part_shape()));
    }
    const std::vector<int64_t> strides = detail::dense_strides(shape);
    shape[index] = end - begin;
    return copy_strided("slice", x, begin * strides[index], shape, strides);
}

Tensor transpose(const Tensor& x, int axis_a, int axis_b) {
    const size_t a = axis_index("transpose", x, axis_a), b = axis_index("transpose", x, axis_b);
    Shape shape = x.shape();
    std::vector<int64_t> strides = detail::dense_strides(shape);
    std::swap(shape[a], shape[b]);
    std::swap(strides[a], strides[b]);
    return copy_strided("transpose", x, 0, shape, strides);
}

Tensor concat(std::span<const Tensor> parts, int axis) {
    if (parts.empty()) fail("concat", "needs at least one tensor");
    int64_t members = 0;
    for (const Tensor& x : parts) {
        require("concat", x, "a part", parts[0].dtype());
        require_same_device("concat", parts[0], x);
        if (!x.is_per_member()) continue;
        if (members > 0 && members != x.members()) {
            fail("concat", "parts are " + to_string(parts[0].shape()) + " and " +
                               to_string(x.shape()) + ", of different numbers of members");
        }
        members = x.members();
    }
    const size_t mark = parts[0].is_per_member() ? 1 : 0;
    const size_t index = axis_index("concat", parts[0], axis) - mark;
    Shape shape = parts[0].part_shape();
    int64_t joined = 0;
    for (const Tensor& x : parts) {
        Shape other = x.part_shape();
        const bool fits =
            other.size() == shape.size() && (!x.is_per_member() || x.members() == members);
        if (fits) {
            joined += other[index];
            other[index] = shape[index];
        }
        if (!fits || other != shape) {
            fail("concat", "parts are " + to_string(parts[0].shape()) + " and " +
                               to_string(x.shape()) + " along axis " + std::to_string(axis));
        }
    }
    // Each part is a run of `inner` elements in every one of `outer` rows.
    const int64_t outer = product_of(shape, 0, index);
    const int64_t below = product_of(shape, index + 1, shape.size());
    const int64_t copies = std::max<int64_t>(members, 1);
    shape[index] = joined;
    Tensor y = TensorAccess::make(with_members(members, shape), parts[0].device(), parts[0].dtype(),
                                  members > 0);
    detail::Strided layout;
    layout.dims = 3;
    int64_t at = 0;
    for (const Tensor& x : parts) {
        const int64_t inner = x.part_shape()[index] * below;
        layout.extent[0] = copies;
        layout.extent[1] = outer;
        layout.extent[2] = inner;
        layout.stride[0][0] = x.is_per_member() ? outer * inner : 0;
        layout.stride[0][1] = inner;
        layout.stride[0][2] = 1;
        layout.stride[1][0] = outer * joined * below;
        layout.stride[1][1] = joined * below;
        layout.stride[1][2] = 1;
        TensorAccess::backend(x).copy_strided(
            TensorAccess::raw(x), static_cast<uint32_t*>(TensorAccess::raw(y)) + at, layout);
        at += inner;
    }
    return y;
}

Tensor concat(std::initializer_list<Tensor> parts, int axis) {
    return concat(std::span<const Tensor>(parts.begin(), parts.size()), axis);
}

Tensor matmul(const Tensor& a, const Tensor& b) {
    require("matmul", a, "the left operand");
    require("matmul", b, "the right operand");
    require_same_device("matmul", a, b);
    const Shape pa = a.part_shape(), pb = b.part_shape();
    const auto refuse = [&] {
        fail("matmul", "operands are " + to_string(a.shape()) + " and " + to_string(b.shape()));
    };
    if (pa.size() < 2 || pb.size() < 2 || pa.back() != pb[pb.size() - 2]) refuse();
    if (a.is_per_member() && b.is_per_member() && a.members() != b.members()) refuse();
    const Shape lead_a(pa.begin(), pa.end() - 2), lead_b(pb.begin(), pb.end() - 2);
    if (!lead_a.empty() && !lead_b.empty() && lead_a != lead_b) refuse();
    const int64_t m = pa[pa.size() - 2], k = pa.back(), n = pb.back();
    const int64_t members = std::max(a.members(), b.members());
    const Shape& lead = lead_a.empty() ? lead_b : lead_a;
    const int64_t inner = element_count(lead);
    Shape shape = lead;
    shape.push_back(m);
    shape.push_back(n);
    Tensor y =
        TensorAccess::make(with_members(members, shape), a.device(), Dtype::f32, members > 0);
    // The members outside, the leading axes inside; a shared side stands still for the members.
    const int64_t step_a = lead_a.empty() ? 0 : m * k, step_b = lead_b.empty() ? 0 : k * n;
    const int64_t part_a = element_count(pa), part_b = element_count(pb);
    for (int64_t p = 0; p < std::max<int64_t>(members, 1); ++p) {
        TensorAccess::backend(a).matmul(
            {.a = TensorAccess::floats(a) + (a.is_per_member() ? p * part_a : 0),
             .b = TensorAccess::floats(b) + (b.is_per_member() ? p * part_b : 0),
             .c = TensorAccess::floats(y) + p * inner * m * n,
             .batches = inner,
             .m = m,
             .k = k,
             .n = n,
             .stride_a = step_a,
             .stride_b = step_b});
    }
    return y;
}

}  // namespace eggroll
