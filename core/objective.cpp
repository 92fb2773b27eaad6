// SPDX-License-Identifier: MIT
#include <eggroll/objective.h>

#include "core/storage.h"

namespace eggroll {

Objective::Objective(std::string name, Function fitness, Tensor target)
    : name_(std::move(name)), fitness_(std::move(fitness)), target_(std::move(target)) {
    if (!fitness_) throw Error("[Objective] \"" + name_ + "\" has no function");
}

Tensor Objective::evaluate(const Tensor& y, int64_t first) const {
    if (!target_.is_per_member()) return fitness_(y, target_);
    if (first + y.members() > target_.members()) {
        throw Error("[Objective] the target of \"" + name_ + "\" is " + to_string(target_.shape()) +
                    " per member but member " + std::to_string(first + y.members() - 1) +
                    " is evaluated");
    }
    return fitness_(y, detail::TensorAccess::member_range(target_, first, y.members()));
}

}  // namespace eggroll
