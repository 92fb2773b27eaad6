// SPDX-License-Identifier: MIT
#include <eggroll/loss.h>

#include "core/checks.h"

#include <eggroll/ops.h>

#include <string>

namespace eggroll {

using detail::in_floats;
using detail::TensorAccess;

namespace {

/// "(4,3)", or of a per-member tensor "(5,4,3), (4,3) each member".
std::string described(const Tensor& x) {
    return to_string(x.shape()) +
           (x.is_per_member() ? ", " + to_string(x.part_shape()) + " each member" : "");
}

/// `rows` is the part of y that the target must match: all of it, or all but the classes.
Tensor per_member_loss(const char* name, detail::Loss kind, const Tensor& given,
                       const Tensor& given_target) {
    const Tensor y = in_floats(given), target = in_floats(given_target);
    const bool labels = kind != detail::Loss::mse;
    Shape rows = y.part_shape();
    const bool has_classes = !rows.empty();
    if (labels && has_classes) rows.pop_back();
    if (y.size() == 0 || (labels && !has_classes) || target.part_shape() != rows ||
        (target.is_per_member() && target.members() != y.members())) {
        throw Error(std::string("[") + name + "] y is " + described(y) + " but the " +
                    (labels ? "labels are " : "target is ") + described(target) +
                    (y.size() == 0 ? ": there is nothing to take a mean of" : ""));
    }
    const Dtype wanted = labels ? Dtype::i32 : Dtype::f32;
    if (target.dtype() != wanted || y.dtype() != Dtype::f32) {
        throw Error(std::string("[") + name + "] " +
                    (labels ? "labels must hold int32 (Tensor::from_ints) and y float32"
                            : "y and target must hold float32"));
    }
    if (y.device() != target.device()) {
        throw Error(std::string("[") + name + "] y is on " + y.device().name() +
                    " but the target on " + target.device().name());
    }
    if (labels && target.device() == Device::cpu()) {
        const int64_t classes = y.shape().back();
        for (const int32_t label : target.ints()) {
            if (label < 0 || label >= classes) {
                throw Error(std::string("[") + name + "] label " + std::to_string(label) +
                            " is outside 0.." + std::to_string(classes - 1));
            }
        }
    }
    const int64_t members = y.is_per_member() ? y.members() : 1;
    Tensor out = TensorAccess::make(y.is_per_member() ? Shape{members} : Shape{}, y.device(),
                                    Dtype::f32, y.is_per_member());
    const int64_t count = element_count(rows);
    TensorAccess::backend(y).loss({.kind = kind,
                                   .y = TensorAccess::floats(y),
                                   .target = labels ? nullptr : TensorAccess::floats(target),
                                   .labels = labels ? TensorAccess::ints(target) : nullptr,
                                   .per_member_target = target.is_per_member(),
                                   .out = TensorAccess::floats(out),
                                   .members = members,
                                   .rows = labels ? count : 1,
                                   .n = labels ? y.shape().back() : count});
    return out;
}

}  // namespace

Tensor mse(const Tensor& y, const Tensor& target) {
    return per_member_loss("mse", detail::Loss::mse, y, target);
}

Tensor cross_entropy(const Tensor& y, const Tensor& labels) {
    return per_member_loss("cross_entropy", detail::Loss::cross_entropy, y, labels);
}

Tensor accuracy(const Tensor& y, const Tensor& labels) {
    return per_member_loss("accuracy", detail::Loss::accuracy, y, labels);
}

Objective loss::mse(const Tensor& target) {
    return {"mse", [](const Tensor& y, const Tensor& t) { return -eggroll::mse(y, t); }, target};
}

Objective loss::cross_entropy(const Tensor& labels) {
    return {"cross_entropy",
            [](const Tensor& y, const Tensor& t) { return -eggroll::cross_entropy(y, t); }, labels};
}

Objective score::accuracy(const Tensor& labels) {
    return {"accuracy", [](const Tensor& y, const Tensor& t) { return eggroll::accuracy(y, t); },
            labels};
}

}  // namespace eggroll
