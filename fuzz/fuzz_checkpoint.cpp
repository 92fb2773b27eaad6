// SPDX-License-Identifier: MIT
// A checkpoint: a run is put where the file says and nowhere else, or has not changed. Every input
// is given the checksum it ought to have, and every other one the facts of the run, so that what is
// behind them is reached.
#include "core/checkpoint_file.h"
#include "core/run_facts.h"
#include "core/storage.h"
#include "fuzz/check.h"

#include <eggroll/eggroll.h>

#include <cmath>
#include <cstring>

using namespace eggroll;
using namespace eggroll::detail;

namespace {

constexpr std::string_view kStart = "[fuzz] \"memory\": ";

struct Run {
    nn::Linear model{2, 1};
    Eggroll es{model, {.pop_size = 2, .optimizer = optim::momentum()}};

    Strategy& strategy() { return CheckpointAccess::strategy(es); }
    std::vector<float> values() {
        std::vector<float> all;
        for (const NamedTensor& tensor : strategy().tensors()) {
            const Tensor& value = tensor.value;
            all.insert(all.end(), value.data().begin(), value.data().end());
        }
        return all;
    }
};

/// The file once more, with other metadata.
std::string written(const TensorFile& file, const Metadata& metadata,
                    std::span<const std::byte> data) {
    const std::string json = write_safetensors_header({file.entries(), metadata});
    const uint64_t length = json.size();
    std::string bytes(reinterpret_cast<const char*>(&length), sizeof length);
    bytes += json;
    bytes.append(reinterpret_cast<const char*>(data.data()), data.size());
    return bytes;
}

/// The input as a file that is not damaged.
std::string sealed(std::span<const std::byte> bytes, Strategy& strategy) {
    const TensorFile file("fuzz", bytes);
    const uint64_t size = file.entries().empty() ? 0 : file.entries().back().end;
    Metadata metadata = file.metadata();
    if (static_cast<uint8_t>(bytes.back()) % 2 == 0) {
        for (const Fact& fact : facts_of(strategy, 0)) metadata["run." + fact.key] = fact.value;
    }
    const std::string rewritten = written(file, metadata, bytes.last(size));
    metadata["checksum"] = TensorFile("fuzz", std::as_bytes(std::span(rewritten))).checksum();
    return written(file, metadata, bytes.last(size));
}

}  // namespace

EGGROLL_FUZZ(data) {
    static Run run;
    const auto bytes = std::as_bytes(data);
    const fuzz::MemoryLimit limit(65'536 + 4 * fuzz::allowance(bytes.size()));
    fuzz::accepts(kStart, [&] { CheckpointFile("fuzz", bytes).require_format(); });
    fuzz::accepts(kStart, [&] {
        const std::string whole = sealed(bytes, run.strategy());
        const std::vector<float> before = run.values();
        const Milestone at = run.strategy().milestone();
        const CheckpointFile file("fuzz", std::as_bytes(std::span(whole)));
        const bool restored =
            fuzz::accepts(kStart, [&] { file.restore(run.strategy(), {.accept_changes = false}); });
        const std::vector<float> after = run.values();
        const Milestone now = run.strategy().milestone();
        if (!restored) {
            fuzz::require(std::memcmp(after.data(), before.data(), 4 * before.size()) == 0 &&
                              now.generation == at.generation && now.updates == at.updates &&
                              now.lr == at.lr && now.sigma == at.sigma,
                          "a refused checkpoint changed the run");
            return;
        }
        fuzz::require(now.generation == file.info().generation && now.generation >= 0 &&
                          now.updates <= now.generation && now.lr >= 0 && now.sigma > 0,
                      "the run is where no run can be");
        for (const float value : after) {
            fuzz::require(std::isfinite(value), "a value that is not finite was read");
        }
    });
}
