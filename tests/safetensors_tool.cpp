// SPDX-License-Identifier: MIT
// Writes or reads a small model, for tests/safetensors_test.py to compare with Python's package.
#include <eggroll/activation.h>
#include <eggroll/layer_norm.h>
#include <eggroll/linear.h>
#include <eggroll/safetensors.h>
#include <eggroll/sequential.h>

#include <cstdio>
#include <exception>
#include <string_view>

using namespace eggroll;

int main(int argc, char** argv) {
    const std::string_view verb = argc == 3 ? argv[1] : "";
    if (verb != "write" && verb != "read") {
        std::fprintf(stderr, "usage: safetensors_tool write|read FILE\n");
        return 2;
    }
    try {
        nn::Sequential model(nn::Linear(3, 4), nn::ReLU(), nn::LayerNorm(4), nn::Linear(4, 2));
        model.init(7);
        if (verb == "write") {
            save_safetensors(argv[2], model);
        } else {
            load_safetensors(argv[2], model);
        }
        // One line a parameter: its name, its shape, its values in hexadecimal.
        for (const Parameter& parameter : model.parameters()) {
            const Tensor value = parameter.value;
            std::printf("%s %s", parameter.name.c_str(), to_string(value.shape()).c_str());
            for (const float x : value.data()) std::printf(" %a", static_cast<double>(x));
            std::printf("\n");
        }
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
    return 0;
}
