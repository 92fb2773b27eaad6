// SPDX-License-Identifier: MIT
#pragma once

#include <eggroll/strategy.h>

#include <functional>
#include <string>

namespace eggroll {

/// One number about a generation, higher is better where they are compared: `&Report::mean`,
/// `&Report::best`, or a function of one's own, which may measure what it likes, such as accuracy
/// on other data. NaN: nothing to tell this time.
using ReportValue = std::function<double(const Report&)>;

/// A value of one's own in a log, under this name.
struct Column {
    std::string name;
    ReportValue value;
};

}  // namespace eggroll
