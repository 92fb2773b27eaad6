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

Tensor Scope::shared_product(const Tensor& x, const Tensor& w, int64_t rows, int64_t inputs,
                             int64_t outputs) const {
    const Backend& backend = TensorAccess::backend(x);
    const auto compute = [&] {
        Tensor y = TensorAccess::make({rows, outputs}, x.device());
        backend.product(TensorAccess::floats(x), TensorAccess::floats(w), TensorAccess::floats(y),
                        rows, inputs, outputs);
        return y;
    };
    // A tensor made inside the pass belongs to one chunk; only the input is seen by all of them.
    if (TensorAccess::storage(x) != TensorAccess::storage(input)) return compute();
    const std::scoped_lock lock(mutex_);
    Tensor& known = products_[{TensorAccess::storage(w), TensorAccess::offset(x)}];
    if (known.size() == 0) known = compute();
    return known;
}

}  // namespace eggroll::detail
