// SPDX-License-Identifier: MIT
#include "core/scope.h"

#include "core/windows.h"

#include <algorithm>

namespace eggroll::detail {

namespace {

std::pair<const Storage*, int64_t> place_of(const Tensor& x) {
    return {TensorAccess::storage(x), TensorAccess::offset(x)};
}

}  // namespace

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
    const TableEntry* entry = table->find(w);
    std::unique_lock lock(mutex_);
    if (entry == nullptr || !outlives_chunks(x)) {
        lock.unlock();
        return compute(TensorAccess::make({rows, outputs}, x.device()));
    }
    Tensor& known = products_[{TensorAccess::storage(w), place_of(x)}];
    if (known.size() == 0) {
        known = compute(make(&entry->parameter, {rows, outputs}, x.device()));
    }
    return known;
}

bool Scope::outlives_chunks(const Tensor& x) const {
    const Storage* storage = TensorAccess::storage(x);
    return storage == TensorAccess::storage(input) ||
           std::any_of(unfolded_.begin(), unfolded_.end(), [&](const auto& known) {
               return TensorAccess::storage(known.second) == storage;
           });
}

Tensor Scope::unfolded(const Tensor& x, const Tensor& w, const WindowArgs& of) const {
    const Shape shape = unfolded_shape(of);
    const TableEntry* entry = table->find(w);
    if (x.is_per_member() || entry == nullptr ||
        TensorAccess::storage(x) != TensorAccess::storage(input)) {
        return unfold(x, of, TensorAccess::make(shape, x.device()));
    }
    const Windows windows{of.channels,  of.height,    of.width,      of.kernel[0], of.kernel[1],
                          of.stride[0], of.stride[1], of.padding[0], of.padding[1]};
    const std::scoped_lock lock(mutex_);
    Tensor& known = unfolded_[{place_of(x), windows}];
    // An owner of its own: what the product is kept for is the parameter.
    if (known.size() == 0) known = unfold(x, of, make(&entry->parameter.noise, shape, x.device()));
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
