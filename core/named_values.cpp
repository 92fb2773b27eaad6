// SPDX-License-Identifier: MIT
#include "core/named_values.h"

#include "core/scope.h"
#include "core/text.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace eggroll::detail {

namespace {

/// Letters to insert, remove or replace (Levenshtein 1966).
size_t edits(const std::string& a, const std::string& b) {
    std::vector<size_t> row(b.size() + 1);
    std::iota(row.begin(), row.end(), size_t{0});
    for (size_t i = 0; i < a.size(); ++i) {
        size_t before = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < b.size(); ++j) {
            const size_t replaced = before + (a[i] != b[j]);
            before = row[j + 1];
            row[j + 1] = std::min({replaced, before + 1, row[j] + 1});
        }
    }
    return row.back();
}

Tensor within_bounds(const Tensor& value, const Parameter& parameter) {
    Tensor y = value;
    const auto bound = [&](float x) { return Tensor::full({}, x, y.device()); };
    if (std::isfinite(parameter.min)) y = maximum(y, bound(parameter.min));
    if (std::isfinite(parameter.max)) y = minimum(y, bound(parameter.max));
    return y;
}

}  // namespace

std::string nearest_names(const std::string& name, std::vector<std::string> known) {
    constexpr size_t kLimit = 8;
    std::stable_sort(known.begin(), known.end(), [&](const std::string& a, const std::string& b) {
        return edits(name, a) < edits(name, b);
    });
    std::string text;
    for (size_t i = 0; i < known.size() && i < kLimit; ++i) {
        text += (i > 0 ? ", " : "") + in_quotes(known[i]);
    }
    if (known.empty()) return "none";
    return known.size() > kLimit ? text + " and " + std::to_string(known.size() - kLimit) + " more"
                                 : text;
}

void NamedValues::add(Parameter parameter) {
    const std::string name = parameter.name;
    entries_.emplace(name, Entry{std::move(parameter), {}});
}

const NamedValues::Entry& NamedValues::entry(const char* caller, const std::string& name) const {
    const auto found = entries_.find(name);
    if (found != entries_.end()) return found->second;
    std::vector<std::string> known;
    for (const auto& [other, entry] : entries_) known.push_back(other);
    throw Error(std::string("[") + caller + "] there is no " + in_quotes(name) + "; there is " +
                nearest_names(name, std::move(known)));
}

const Parameter& NamedValues::find(const char* caller, const std::string& name) const {
    return entry(caller, name).parameter;
}

Tensor NamedValues::rows_of(const Entry& entry) const {
    const Device device = entry.parameter.value.device();
    const std::scoped_lock lock(*mutex_);
    if (entry.rows.size() == 0 || entry.rows.device() != device) {
        std::vector<int32_t> ids(static_cast<size_t>(entry.parameter.noise.rows));
        std::iota(ids.begin(), ids.end(), 0);
        entry.rows = Tensor::from_ints({entry.parameter.noise.rows}, ids).to(device);
    }
    return entry.rows;
}

Tensor NamedValues::value(const char* caller, const std::string& name, const View& view) const {
    const Entry& known = entry(caller, name);
    const Parameter& parameter = known.parameter;
    if (view.is_centre()) return within_bounds(parameter.value.clone(), parameter);
    const TableEntry* trained = ViewAccess::find(view, parameter.value);
    if (trained == nullptr) {
        throw Error(std::string("[") + caller + "] " + in_quotes(name) +
                    " is not among the parameters of the strategy whose members are meant: it was "
                    "added later, or belongs to another model");
    }
    if (!trained->perturbed) return within_bounds(parameter.value.clone(), parameter);
    const NoiseShape& noise = parameter.noise;
    if (!noise.is_matrix()) return within_bounds(perturbed(parameter.value, view), parameter);
    // All rows of a table are the matrix.
    const Tensor matrix = parameter.value.reshape({noise.rows, noise.cols});
    const Tensor y = embedding(rows_of(known), matrix, view);
    return within_bounds(reshape(y, parameter.value.shape()), parameter);
}

float number_of(const char* caller, const std::string& name, const Tensor& value) {
    if (value.size() != 1) {
        throw Error(std::string("[") + caller + "] " + in_quotes(name) + " is " +
                    to_string(value.shape()) + ", not a number");
    }
    return value.item();
}

}  // namespace eggroll::detail
