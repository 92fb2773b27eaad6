// SPDX-License-Identifier: MIT
#pragma once

#include "core/backend.h"
#include "core/storage.h"

#include <eggroll/module.h>

#include <array>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

namespace eggroll::detail {

/// A parameter as the strategy knows it.
struct TableEntry {
    Parameter parameter;
    uint32_t index = 0;      // position in the model's full parameters(): names its noise streams
    bool perturbed = false;  // false: frozen, or left out by the filter
    int rank = 0;            // r = min(R, O, I) of a matrix with factors, else 0
    Law law = {};            // of a matrix
    float sigma_scale = 1;
};

/// All parameters of a strategy, found by the storage an operation is handed.
class ParameterTable {
public:
    ParameterTable() = default;
    explicit ParameterTable(std::vector<TableEntry> entries);

    const std::vector<TableEntry>& entries() const { return entries_; }
    /// Null for a tensor that is no parameter.
    const TableEntry* find(const Tensor& x) const;

private:
    std::vector<TableEntry> entries_;
    std::vector<std::pair<const Storage*, size_t>> by_storage_;  // sorted
};

/// Memory that every pass takes anew, each piece for the same owner: kept, and handed out again
/// once nobody holds it any more, so that a generation takes no more of it after the first.
class KeptMemory {
public:
    /// Uninitialised memory of that shape.
    Tensor take(const void* owner, const Shape& shape, Device device, Dtype dtype = Dtype::f32,
                bool per_member = false);
    void clear() { last_.clear(); }

private:
    std::mutex mutex_;
    std::map<const void*, Tensor> last_;
};

class NoiseCache;

/// What a view of members stands for during one forward pass over the population.
struct Scope {
    Scope(const ParameterTable& parameters, const Members& population)
        : table(&parameters), members(population) {}

    const ParameterTable* table;
    Members members;  // of which a view is a range
    Tensor input;     // the pass's input; its products with weights are shared by all chunks
    KeptMemory* kept = nullptr;            // for what chunks share; null: none is kept
    const NoiseCache* noise = nullptr;     // null: none is kept
    Precision precision = Precision::f32;  // asked for

    /// x Wᵀ (B,O) of the pass's own input, unfolded or not, computed by whoever needs it first.
    Tensor shared_product(const Tensor& x, const Tensor& w, int64_t rows, int64_t inputs,
                          int64_t outputs, Precision with) const;
    /// What a convolution by w sees of the pass's own input, unfolded by whoever needs it first; of
    /// another x, unfolded for this call. `windows` says all but where. -> (N·Ho·Wo,C·kh·kw)
    Tensor unfolded(const Tensor& x, const Tensor& w, const WindowArgs& windows) const;
    /// W (O,I) in the layout the backend likes best for so many rows, laid out by whoever needs it
    /// first; empty where that is W's own, or where it is a matter of speed and W no parameter.
    Tensor packed(const Tensor& w, int64_t rows, Precision with) const;

private:
    Tensor make(const void* owner, const Shape& shape, Device device) const;

    mutable std::mutex mutex_;
    mutable std::map<const Storage*, Tensor> packed_;
    /// Whether x is there for all of the pass; what is made inside it belongs to one chunk and is
    /// soon gone, its memory another tensor's. The mutex is held.
    bool outlives_chunks(const Tensor& x) const;

    using Place = std::pair<const Storage*, int64_t>;  // storage and offset
    using Windows = std::array<int64_t, 9>;            // C, H, W, kernel, stride, padding
    mutable std::map<std::pair<const Storage*, Place>, Tensor> products_;  // by w and x
    mutable std::map<std::pair<Place, Windows>, Tensor> unfolded_;         // by x
};

struct ViewAccess {
    static View make(const Scope& scope, int64_t first, int64_t count) {
        return View(&scope, first, count);
    }
    static const Scope* scope(const View& view) { return view.scope_; }
    /// count 0 for the centre.
    static Members members(const View& view) {
        if (view.is_centre()) return {};
        Members range = view.scope_->members;
        range.first = view.first_;
        range.count = view.count_;
        return range;
    }
    static const TableEntry* find(const View& view, const Tensor& x) {
        return view.is_centre() ? nullptr : view.scope_->table->find(x);
    }
};

}  // namespace eggroll::detail
