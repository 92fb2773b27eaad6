// SPDX-License-Identifier: MIT
#pragma once

#include <eggroll/module.h>

#include <filesystem>

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

}  // namespace eggroll
