// SPDX-License-Identifier: MIT
#pragma once

#include <eggroll/module.h>

#include <filesystem>
#include <limits>
#include <map>
#include <string>
#include <vector>

namespace eggroll {

/// Writes all parameters as float32 under their names (the safetensors format; readable by the
/// Python package). The file appears whole or not at all: it is written beside, synced, renamed.
/// Throws Error naming the file and the reason, or the parameter that holds a value that is not
/// finite.
EGGROLL_API void save_safetensors(const std::filesystem::path& path, const nn::Module& model);

/// Reads parameters by name. Throws Error, and has changed nothing, when the file is missing,
/// damaged, hostile or holds a value that is not finite, or when names, shapes or element types
/// (float32) differ from the model's.
EGGROLL_API void load_safetensors(const std::filesystem::path& path, nn::Module& model);

/// A tensor in a file: its values in numbers, over those that are finite.
struct TensorSummary {
    std::string name, dtype;  // "F32", "BF16", "I64", ...
    Shape shape;
    int64_t elements = 0;
    /// 0 also for types that are not looked into: those of less than a byte, complex, 8-bit floats.
    int64_t finite = 0;
    double min = std::numeric_limits<double>::quiet_NaN();  // NaN when none is finite
    double max = std::numeric_limits<double>::quiet_NaN();
    double mean = std::numeric_limits<double>::quiet_NaN();
};

struct SafetensorsInfo {
    std::map<std::string, std::string> metadata;
    std::vector<TensorSummary> tensors;  // in the order of the file
};

/// What any safetensors file holds, a checkpoint too. Throws Error naming the file and the reason
/// when it is missing or damaged.
EGGROLL_API SafetensorsInfo read_safetensors_info(const std::filesystem::path& path);

}  // namespace eggroll
