// SPDX-License-Identifier: MIT
#pragma once

#include <eggroll/init.h>

namespace eggroll::nn {

/// Rows of a table: ids (...) of int32 in 0..count-1 -> (...,width). "weight" (count,width), drawn
/// from N(0,1) as PyTorch draws it. Members perturb the rows that are looked up; the table itself
/// is never formed. Ids on the host are checked; on a GPU one outside the table gives NaN.
class EGGROLL_API Embedding : public Module {
public:
    Embedding(int64_t count, int64_t width);

    const Tensor& weight() const { return weight_; }

    Tensor forward(const Tensor& ids, const View& v) const override;
    std::unique_ptr<Module> clone() const override;

private:
    Tensor weight_;
};

}  // namespace eggroll::nn
