// SPDX-License-Identifier: MIT
#pragma once

#include <eggroll/module.h>

#include <map>
#include <memory>
#include <mutex>

namespace eggroll::detail {

/// Parameters found by name, and their values as a view sees them, within their bounds.
class NamedValues {
public:
    /// One whose name is not there yet.
    void add(Parameter parameter);
    bool contains(const std::string& name) const { return entries_.contains(name); }
    /// Throws Error naming the nearest names when there is none of this name.
    const Parameter& find(const char* caller, const std::string& name) const;
    /// The parameter (...) of the centre, or (V,...) of members that have a perturbation of it.
    /// Throws Error when the view is of a strategy that does not know the parameter.
    Tensor value(const char* caller, const std::string& name, const View& view) const;

private:
    struct Entry {
        Parameter parameter;
        mutable Tensor rows;  // 0, 1, ... of a matrix, where it was last used
    };

    const Entry& entry(const char* caller, const std::string& name) const;
    Tensor rows_of(const Entry& entry) const;

    std::map<std::string, Entry> entries_;
    std::unique_ptr<std::mutex> mutex_ = std::make_unique<std::mutex>();  // of all `rows`
};

/// The number that a value consists of; throws Error unless it is one.
float number_of(const char* caller, const std::string& name, const Tensor& value);

/// Up to eight of the names, quoted, those that are spelt most like `name` first.
std::string nearest_names(const std::string& name, std::vector<std::string> known);

}  // namespace eggroll::detail
