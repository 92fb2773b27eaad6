// SPDX-License-Identifier: MIT
// One checkpoint in one file.
#include "core/checkpoint_file.h"

#include "core/run_facts.h"
#include "core/text.h"

#include <eggroll/version.h>

#include <algorithm>
#include <cmath>

namespace eggroll {

namespace detail {

namespace {

// Keys of the metadata.
constexpr const char* kFormatKey = "eggroll_checkpoint";
constexpr const char* kFormat = "1";
constexpr std::string_view kRun = "run.", kNotes = "notes.";

/// The numbers in a checkpoint are exactly those that were written.
template <class T>
T read_number(const TensorFile& file, const char* key) {
    const auto found = file.metadata().find(key);
    if (found != file.metadata().end()) {
        if (const auto value = number_in<T>(found->second)) return *value;
    }
    file.fail(std::string("says nothing of its \"") + key + "\"");
}

/// The entries whose keys begin so, without that beginning.
std::map<std::string, std::string> part_of(const Metadata& metadata, std::string_view prefix) {
    std::map<std::string, std::string> part;
    for (const auto& [key, value] : metadata) {
        if (key.starts_with(prefix)) part[key.substr(prefix.size())] = value;
    }
    return part;
}

/// What computes: "cpu avx2", "cuda:0".
std::string device_of(const Strategy& strategy) {
    const Device device = strategy.device();
    const char* kernels = backend_of(device).kernels;
    return kernels == nullptr ? device.name() : device.name() + " " + kernels;
}

/// "cuda" of "cuda:0".
std::string_view kind_of(std::string_view device) {
    return device.substr(0, device.find(':'));
}

std::string where_of(const TableEntry& entry, int state) {
    return "optimizer/" + std::to_string(state) + "/" + entry.parameter.name;
}

}  // namespace

// --- The strategy's side ------------------------------------------------------------------------

void Strategy::settle(const char* caller) {
    require_closed(caller);
    catch_up();
}

void Strategy::catch_up() {
    if (!known_) learn();
}

Milestone Strategy::milestone() const {
    return {.generation = completed, .updates = updates_, .lr = lr, .sigma = sigma};
}

std::vector<NamedTensor> Strategy::tensors() const {
    std::vector<NamedTensor> all;
    for (size_t i = 0; i < table.entries().size(); ++i) {
        const TableEntry& entry = table.entries()[i];
        all.push_back({"parameters/" + entry.parameter.name, entry.parameter.value});
        for (size_t s = 0; s < state_[i].size(); ++s) {
            all.push_back({where_of(entry, static_cast<int>(s)), state_[i][s]});
        }
    }
    return all;
}

void Strategy::go_on_from(const Milestone& milestone) noexcept {
    completed = milestone.generation;
    updates_ = milestone.updates;
    lr = milestone.lr;
    sigma = milestone.sigma;
    last_ = {.generation = -1};
}

// --- The file's side ----------------------------------------------------------------------------

CheckpointFile::CheckpointFile(const char* caller, const std::filesystem::path& path)
    : file_(caller, path) {
    info_.path = path;
    read_info();
}

CheckpointFile::CheckpointFile(const char* caller, std::span<const std::byte> memory)
    : file_(caller, memory) {
    info_.path = "memory";
    read_info();
}

void CheckpointFile::read_info() {
    const Metadata& metadata = file_.metadata();
    const auto format = metadata.find(kFormatKey);
    if (format == metadata.end()) file_.fail("is not a checkpoint");
    file_.verify();
    format_ = format->second;
    const auto library = metadata.find("library");
    if (library != metadata.end()) info_.library = library->second;
    const auto device = metadata.find("device");
    if (device != metadata.end()) info_.device = device->second;
    if (format_ != kFormat) return;
    if (info_.library != EGGROLL_VERSION) {
        info_.warnings.push_back(
            "\"" + info_.path.string() + "\" was written by eggroll " + in_quotes(info_.library) +
            " and this is " EGGROLL_VERSION ": what follows may differ in its last bits");
    }
    info_.generation = read_number<int64_t>(file_, "generation");
    info_.updates = read_number<int64_t>(file_, "updates");
    info_.lr = read_number<float>(file_, "lr");
    info_.sigma = read_number<float>(file_, "sigma");
    if (info_.generation < 0 || info_.generation > int64_t{kInitGeneration} || info_.updates < 0 ||
        info_.updates > info_.generation || !(info_.lr >= 0.0f) || !std::isfinite(info_.lr) ||
        !(info_.sigma > 0.0f) || !std::isfinite(info_.sigma)) {
        file_.fail("is at generation " + std::to_string(info_.generation) + " after " +
                   std::to_string(info_.updates) + " updates with lr " + number(info_.lr) +
                   " and sigma " + number(info_.sigma) + ", which no run can be");
    }
    info_.run = part_of(metadata, kRun);
    info_.notes = part_of(metadata, kNotes);
}

void CheckpointFile::require_format() const {
    if (format_ != kFormat) {
        file_.fail("is a checkpoint of format " + in_quotes(format_) + ", written by eggroll " +
                   in_quotes(info_.library) + "; this is " EGGROLL_VERSION ", which reads format " +
                   kFormat);
    }
}

void CheckpointFile::require_same(const Strategy& strategy, ResumeOptions how) const {
    constexpr size_t kTold = 5;
    std::vector<std::string> differences;
    bool on_purpose = true;
    const auto differs = [&](const std::string& key, const std::string& saved,
                             const std::string& here) {
        differences.push_back(one_line(key) + " is " + one_line(saved) + " in the checkpoint but " +
                              here + " here");
    };
    std::map<std::string, std::string> left = info_.run;
    for (const Fact& fact : facts_of(strategy, info_.generation)) {
        const auto saved = left.extract(fact.key);
        if (!saved.empty() && saved.mapped() == fact.value) continue;
        if (fact.changeable && how.accept_changes) continue;
        differs(fact.key, saved.empty() ? "not there" : saved.mapped(), fact.value);
        on_purpose = on_purpose && fact.changeable;
    }
    for (const auto& [key, value] : left) differs(key, value, "not there");
    if (differences.empty()) return;
    std::string text;
    for (size_t i = 0; i < std::min(differences.size(), kTold); ++i) {
        text += (i > 0 ? "; " : "") + differences[i];
    }
    if (differences.size() > kTold) {
        text += "; and " + std::to_string(differences.size() - kTold) + " more differ";
    }
    if (on_purpose && left.empty()) text += " (to go on with the new: accept_changes)";
    file_.fail(text);
}

CheckpointInfo CheckpointFile::restore(Strategy& strategy, ResumeOptions how,
                                       std::vector<std::string> warnings) const {
    require_format();
    require_same(strategy, how);
    CheckpointInfo info = info_;
    info.warnings.insert(info.warnings.begin(), warnings.begin(), warnings.end());
    const std::string here = device_of(strategy);
    if (!info.device.empty() && kind_of(info.device) != kind_of(here)) {
        info.warnings.push_back("\"" + info.path.string() + "\" was written on " +
                                in_quotes(info.device) + " and continues on \"" + here +
                                "\": what follows may differ in its last bits");
    }
    std::vector<NamedTensor> own = strategy.tensors();
    std::vector<Tensor> values = file_.read(own);
    // All memory is had before the first value changes.
    for (size_t i = 0; i < own.size(); ++i) values[i] = values[i].to(own[i].value.device());
    for (size_t i = 0; i < own.size(); ++i) own[i].value.assign(values[i]);
    Milestone milestone{.generation = info_.generation,
                        .updates = info_.updates,
                        .lr = info_.lr,
                        .sigma = info_.sigma};
    if (how.accept_changes) {
        milestone.lr = strategy.lr;
        milestone.sigma = strategy.sigma;
    }
    strategy.go_on_from(milestone);
    return info;
}

void write_checkpoint(const char* caller, const std::filesystem::path& path,
                      const Strategy& strategy, const Notes& notes, const char* temporary) {
    const Milestone at = strategy.milestone();
    Metadata metadata = {{kFormatKey, kFormat},
                         {"library", EGGROLL_VERSION},
                         {"device", device_of(strategy)},
                         {"generation", std::to_string(at.generation)},
                         {"updates", std::to_string(at.updates)},
                         {"lr", number(at.lr)},
                         {"sigma", number(at.sigma)}};
    for (const Fact& fact : facts_of(strategy, at.generation)) {
        metadata[std::string(kRun) + fact.key] = fact.value;
    }
    for (const auto& [key, value] : notes) metadata[std::string(kNotes) + key] = value;
    save_checked_tensors(caller, path, strategy.tensors(), std::move(metadata), temporary);
}

}  // namespace detail

// --- The public face ----------------------------------------------------------------------------

using detail::CheckpointAccess;
using detail::CheckpointFile;

void save_checkpoint(const std::filesystem::path& path, const Eggroll& es, const Notes& notes) {
    detail::Strategy& strategy = CheckpointAccess::strategy(es);
    strategy.catch_up();
    detail::write_checkpoint("save_checkpoint", path, strategy, notes, detail::kTemporaryPrefix);
}

CheckpointInfo load_checkpoint(const std::filesystem::path& path, Eggroll& es, ResumeOptions how) {
    detail::Strategy& strategy = CheckpointAccess::strategy(es);
    strategy.settle("load_checkpoint");
    return CheckpointFile("load_checkpoint", path).restore(strategy, how);
}

CheckpointInfo read_checkpoint_info(const std::filesystem::path& path) {
    const CheckpointFile file("read_checkpoint_info", path);
    file.require_format();
    return file.info();
}

}  // namespace eggroll
