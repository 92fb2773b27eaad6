// SPDX-License-Identifier: MIT

// `eggroll info FILE...`: what checkpoints and files of weights hold.

#include "common/json.h"
#include "common/options.h"
#include "common/text.h"

#include <eggroll/eggroll.h>

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <optional>
#include <string>
#include <vector>

using namespace eggroll;
using examples::printable;
using Json = nlohmann::ordered_json;

namespace {

struct File {
    SafetensorsInfo content;
    std::optional<CheckpointInfo> checkpoint;  // if it is one
};

File read(const std::filesystem::path& path) {
    File file{read_safetensors_info(path), {}};
    if (file.content.metadata.contains("eggroll_checkpoint")) {
        file.checkpoint = read_checkpoint_info(path);
    }
    return file;
}

Json number_or_null(double value) {
    return std::isfinite(value) ? Json(value) : Json();
}

Json to_json(const std::filesystem::path& path, const File& file) {
    Json json = {{"file", path.string()}, {"kind", file.checkpoint ? "checkpoint" : "weights"}};
    if (const auto& c = file.checkpoint) {
        json.update({{"library", c->library},
                     {"device", c->device},
                     {"generation", c->generation},
                     {"updates", c->updates},
                     {"lr", c->lr},
                     {"sigma", c->sigma},
                     {"run", c->run},
                     {"notes", c->notes},
                     {"warnings", c->warnings}});
    } else {
        json["metadata"] = file.content.metadata;
    }
    json["tensors"] = Json::array();
    for (const TensorSummary& tensor : file.content.tensors) {
        json["tensors"].push_back({{"name", tensor.name},
                                   {"dtype", tensor.dtype},
                                   {"shape", tensor.shape},
                                   {"elements", tensor.elements},
                                   {"finite", tensor.finite},
                                   {"min", number_or_null(tensor.min)},
                                   {"max", number_or_null(tensor.max)},
                                   {"mean", number_or_null(tensor.mean)}});
    }
    return json;
}

/// Names and values in two columns.
void print_table(const std::string& title, const std::map<std::string, std::string>& table) {
    if (table.empty()) return;
    size_t width = 0;
    for (const auto& [key, value] : table) width = std::max(width, printable(key).size());
    std::cout << title << "\n";
    for (const auto& [key, value] : table) {
        const std::string name = printable(key);
        std::cout << "  " << name << std::string(width - name.size() + 2, ' ') << printable(value)
                  << "\n";
    }
}

void print(const std::filesystem::path& path, const File& file) {
    int64_t elements = 0;
    size_t width = 0;
    for (const TensorSummary& tensor : file.content.tensors) {
        elements += tensor.elements;
        width = std::max(width, printable(tensor.name).size());
    }
    std::cout << printable(path.string()) << ": "
              << (file.checkpoint ? "a checkpoint of eggroll " + printable(file.checkpoint->library)
                                  : std::string("weights"))
              << ", " << file.content.tensors.size() << " tensors of " << elements << " elements\n";
    if (const auto& c = file.checkpoint) {
        std::cout << "generation " << c->generation << " after " << c->updates << " updates, lr "
                  << c->lr << ", sigma " << c->sigma
                  << (c->device.empty() ? "" : ", on " + printable(c->device)) << "\n";
        for (const std::string& warning : c->warnings) {
            std::cout << "warning: " << printable(warning) << "\n";
        }
        print_table("run", c->run);
        print_table("notes", c->notes);
    } else {
        print_table("metadata", file.content.metadata);
    }
    std::cout << "tensors\n";
    for (const TensorSummary& tensor : file.content.tensors) {
        char numbers[128] = "";
        if (tensor.finite > 0) {
            std::snprintf(numbers, sizeof numbers, "  min %-12.6g max %-12.6g mean %-12.6g",
                          tensor.min, tensor.max, tensor.mean);
        }
        const std::string name = printable(tensor.name);
        std::cout << "  " << name << std::string(width - name.size() + 2, ' ') << tensor.dtype
                  << "  " << to_string(tensor.shape) << numbers;
        if (tensor.finite != tensor.elements) {
            std::cout << "  " << tensor.finite << " of " << tensor.elements << " finite";
        }
        std::cout << "\n";
    }
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app("Looks into the files of libeggroll.");
    app.require_subcommand(1);
    examples::CommonFlags flags;
    std::vector<std::filesystem::path> paths;
    CLI::App* info =
        app.add_subcommand("info", "what checkpoints and files of weights (safetensors) hold");
    info->add_option("FILE", paths, "the files")->required();
    info->add_flag("--json", flags.json, "a line of JSON for each");
    return examples::run_main(app, flags, argc, argv, [&] {
        std::string bad;
        for (const std::filesystem::path& path : paths) {
            try {
                const File file = read(path);
                flags.json ? examples::print_json(to_json(path, file)) : print(path, file);
            } catch (const Error& error) {
                bad += (bad.empty() ? "" : "; ") + std::string(error.what());
            }
        }
        if (!bad.empty()) throw Error(bad);
    });
}
