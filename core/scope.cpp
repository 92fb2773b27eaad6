// SPDX-License-Identifier: MIT
#include "core/scope.h"

#include <algorithm>

namespace eggroll::detail {

ParameterTable::ParameterTable(std::vector<TableEntry> entries) : entries_(std::move(entries)) {
    for (size_t i = 0; i < entries_.size(); ++i) {
        by_storage_.emplace_back(TensorAccess::storage(entries_[i].parameter.value), i);
    }
    std::sort(by_storage_.begin(), by_storage_.end());
}

const TableEntry* ParameterTable::find(const Tensor& x) const {
    const Storage* key = TensorAccess::storage(x);
    const auto it =
        std::lower_bound(by_storage_.begin(), by_storage_.end(), std::make_pair(key, size_t{0}));
    return it != by_storage_.end() && it->first == key ? &entries_[it->second] : nullptr;
}

Tensor KeptMemory::take(const void* owner, const Shape& shape, Device device, Dtype dtype,
                        bool per_member) {
    const std::scoped_lock lock(mutex_);
    Tensor& last = last_[owner];
    if (!TensorAccess::is_sole_owner(last) || last.shape() != shape || last.device() != device ||
        last.dtype() != dtype) {
        last = Tensor();  // before the new one is there
        last = TensorAccess::make(shape, device, dtype, per_member);
    }
    return last;
}

Tensor Scope::make(const void* owner, const Shape& shape, Device device) const {
    return kept != nullptr ? kept->take(owner, shape, device) : TensorAccess::make(shape, device);
}

Tensor Scope::shared_product(const Tensor& x, const Tensor& w, int64_t rows, int64_t inputs,
                             int64_t outputs, Precision with) const {
    const Backend& backend = TensorAccess::backend(x);
    const auto compute = [&](Tensor y) {
        backend.product(TensorAccess::floats(x), TensorAccess::floats(w), TensorAccess::floats(y),
                        rows, inputs, outputs, with);
        return y;
    };
    // What is made inside the pass belongs to one chunk and is soon gone, its memory another
    // tensor's; only the input and the parameters are there for all of it.
    if (TensorAccess::storage(x) != TensorAccess::storage(input) || table->find(w) == nullptr) {
        return compute(TensorAccess::make({rows, outputs}, x.device()));
    }
    const std::scoped_lock lock(mutex_);
    Tensor& known = products_[{TensorAccess::storage(w), TensorAccess::offset(x)}];
    if (known.size() == 0) {
        known = compute(make(&table->find(w)->parameter, {rows, outputs}, x.device()));
    }
    return known;
}

Tensor Scope::packed(const Tensor& w, int64_t rows, Precision with) const {
    const Backend& backend = TensorAccess::backend(w);
    const int64_t size = backend.packed_size(w.dim(0), w.dim(1), rows, with);
    if (size == 0) return {};
    const auto pack = [&](Tensor into) {
        backend.pack(TensorAccess::floats(w), w.dim(0), w.dim(1), with, TensorAccess::floats(into));
        return into;
    };
    if (table->find(w) == nullptr) {  // not known to outlive the chunk
        if (with != Precision::bf16) return {};
        return pack(TensorAccess::make({size}, w.device()));
    }
    const std::scoped_lock lock(mutex_);
    Tensor& known = packed_[TensorAccess::storage(w)];
    if (known.size() == 0) known = pack(make(TensorAccess::storage(w), {size}, w.device()));
    return known;
}

}  // namespace eggroll::detail
