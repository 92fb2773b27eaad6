// SPDX-License-Identifier: MIT
#include "core/layout.h"

#include <algorithm>

namespace eggroll::detail {

namespace {

/// Drops extents of 1 and merges neighbouring axes that every operand walks as one.
Strided collapse(const char* op, const Shape& shape,
                 const std::vector<std::vector<int64_t>>& strides) {
    Strided out;
    for (size_t d = 0; d < shape.size(); ++d) {
        if (shape[d] == 1) continue;
        bool merges = out.dims > 0;
        for (size_t i = 0; merges && i < strides.size(); ++i) {
            merges = out.stride[i][out.dims - 1] == strides[i][d] * shape[d];
        }
        if (!merges) {
            if (out.dims == kMaxDims) {
                throw Error(std::string("[") + op + "] shape " + to_string(shape) +
                            " has too many axes");
            }
            out.extent[out.dims++] = 1;
        }
        out.extent[out.dims - 1] *= shape[d];
        for (size_t i = 0; i < strides.size(); ++i) out.stride[i][out.dims - 1] = strides[i][d];
    }
    if (out.dims == 0) out.extent[out.dims++] = 1;
    return out;
}

}  // namespace

std::vector<int64_t> dense_strides(const Shape& shape) {
    std::vector<int64_t> strides(shape.size(), 1);
    for (size_t d = shape.size(); d-- > 1;) strides[d - 1] = strides[d] * shape[d];
    return strides;
}

Broadcast broadcast(const char* op, std::initializer_list<const Tensor*> operands) {
    int64_t members = 0;
    bool per_member = false;
    size_t dims = 0;
    const auto refuse = [&] {
        std::string shapes;
        for (const Tensor* x : operands) {
            shapes += (shapes.empty() ? "" : " and ") + to_string(x->shape()) +
                      (x->is_per_member() ? " per member" : "");
        }
        throw Error(std::string("[") + op + "] shapes do not fit: " + shapes);
    };
    for (const Tensor* x : operands) {
        if (x->is_per_member()) {
            if (per_member && members != x->members()) refuse();
            per_member = true;
            members = x->members();
        }
        dims = std::max(dims, x->part_shape().size());
    }

    Shape part(dims, 1);
    for (const Tensor* x : operands) {
        const Shape own = x->part_shape();
        for (size_t d = 0; d < own.size(); ++d) {
            int64_t& extent = part[dims - own.size() + d];
            if (own[d] == 1) continue;
            if (extent != 1 && extent != own[d]) refuse();
            extent = own[d];
        }
    }

    Broadcast result;
    result.per_member = per_member;
    result.shape = part;
    if (per_member) result.shape.insert(result.shape.begin(), members);
    const size_t lead = per_member ? 1 : 0;
    std::vector<std::vector<int64_t>> strides;
    for (const Tensor* x : operands) {
        std::vector<int64_t> own(result.shape.size(), 0);
        const Shape& shape = x->shape();
        const std::vector<int64_t> dense = dense_strides(shape);
        const size_t mark = x->is_per_member() ? 1 : 0;
        if (mark == 1) own[0] = dense[0];
        for (size_t d = mark; d < shape.size(); ++d) {
            if (shape[d] != 1) own[lead + dims - (shape.size() - d)] = dense[d];
        }
        strides.push_back(std::move(own));
    }
    result.layout = collapse(op, result.shape, strides);
    return result;
}

Strided single_layout(const char* op, const Shape& shape, const std::vector<int64_t>& strides) {
    return collapse(op, shape, {strides, dense_strides(shape)});
}

}  // namespace eggroll::detail
