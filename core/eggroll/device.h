// SPDX-License-Identifier: MIT
#pragma once

#include <eggroll/export.h>

#include <string>

namespace eggroll {

/// Where a tensor lives. Device is data: the same program runs on each.
class EGGROLL_API Device {
public:
    enum class Kind { cpu, cuda };

    static Device cpu();
    /// Throws Error naming the reason when the CUDA backend is not built in or finds no device.
    static Device cuda(int index = 0);

    Kind kind() const { return kind_; }
    int index() const { return index_; }
    std::string name() const;  // "cpu", "cuda:0"

    friend bool operator==(const Device&, const Device&) = default;

private:
    Device(Kind kind, int index) : kind_(kind), index_(index) {}

    Kind kind_;
    int index_;
};

}  // namespace eggroll
