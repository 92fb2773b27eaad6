// SPDX-License-Identifier: MIT
#pragma once

#include <eggroll/export.h>

#include <cstdint>

namespace eggroll {

namespace detail {
struct Scope;
struct ViewAccess;
}  // namespace detail

/// Whose weights are meant in a forward pass: the centre (unperturbed), one member, or a range of
/// members. A layer hands it on to the operations it calls and need not look inside.
class EGGROLL_API View {
public:
    /// The unperturbed weights.
    static View centre() { return View(); }

    bool is_centre() const { return scope_ == nullptr; }
    /// How many members are evaluated (V): the leading axis of a per-member tensor inside a forward
    /// pass. 1 for the centre.
    int64_t size() const { return count_; }
    /// The first member of the range.
    int64_t first() const { return first_; }

private:
    friend struct detail::ViewAccess;

    View() = default;
    View(const detail::Scope* scope, int64_t first, int64_t count)
        : scope_(scope), first_(first), count_(count) {}

    const detail::Scope* scope_ = nullptr;
    int64_t first_ = 0;
    int64_t count_ = 1;
};

}  // namespace eggroll
