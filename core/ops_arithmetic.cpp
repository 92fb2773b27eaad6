// SPDX-License-Identifier: MIT
// Elementwise operations.
#include <eggroll/ops.h>

#include "core/checks.h"
#include "core/layout.h"

namespace eggroll {

using detail::require_floats;
using detail::require_same_device;
using detail::TensorAccess;

namespace {

Tensor unary(const char* op, detail::Unary kind, const Tensor& given) {
    const Tensor x = require_floats(op, given, "x");
    Tensor y = TensorAccess::make(x.shape(), x.device(), Dtype::f32, x.is_per_member());
    TensorAccess::backend(x).unary(kind, TensorAccess::floats(x), TensorAccess::floats(y),
                                   x.size());
    return y;
}

Tensor binary(const char* op, detail::Binary kind, const Tensor& left, const Tensor& right) {
    const Tensor a = require_floats(op, left, "the left operand");
    const Tensor b = require_floats(op, right, "the right operand");
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

Tensor where(const Tensor& when, const Tensor& first, const Tensor& second) {
    const Tensor condition = require_floats("where", when, "the condition");
    const Tensor a = require_floats("where", first, "the first choice");
    const Tensor b = require_floats("where", second, "the second choice");
    require_same_device("where", condition, a);
    require_same_device("where", a, b);
    const detail::Broadcast to = detail::broadcast("where", {&condition, &a, &b});
    Tensor y = TensorAccess::make(to.shape, a.device(), Dtype::f32, to.per_member);
    TensorAccess::backend(a).where(TensorAccess::floats(condition), TensorAccess::floats(a),
                                   TensorAccess::floats(b), TensorAccess::floats(y), to.layout);
    return y;
}

}  // namespace eggroll
