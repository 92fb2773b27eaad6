// SPDX-License-Identifier: MIT
// The directory of a run, as users hold it.
#include "core/checkpoint_file.h"
#include "core/run_directory.h"
#include "core/trouble.h"

#include <new>

namespace eggroll {

using detail::CheckpointAccess;
using detail::CheckpointFile;
using detail::fail_at;

namespace {

constexpr const char* kCaller = "Checkpoint";

void check_options(const CheckpointOptions& options) {
    if (options.every < 1) {
        throw Error("[Checkpoint] every must be at least 1 generation but is " +
                    std::to_string(options.every));
    }
    if (options.keep < 1) {
        throw Error("[Checkpoint] keep must be at least 1 but is " + std::to_string(options.keep));
    }
}

/// Throws Error when the directory is of another run than the strategy's.
void require_run_of(const detail::RunDirectory& here, const detail::Strategy& strategy) {
    std::string held;
    if (here.unclaimed) {
        held = "a run of " + std::to_string(*here.unclaimed) + " generations";
    } else if (here.owner && here.owner != strategy.identity) {
        held = "the run of another strategy";
    } else {
        return;
    }
    fail_at(kCaller, here.path(),
            "holds " + held + ": resume it, or name another directory for the one that is at " +
                std::to_string(strategy.completed));
}

void tell(Report& report, const char* trouble) noexcept {
    try {
        detail::add_trouble(report, trouble);
    } catch (const std::bad_alloc&) {
        report.trouble = "no memory left";  // short enough to need none
    }
}

}  // namespace

Checkpoint::Checkpoint(const std::filesystem::path& directory, CheckpointOptions options)
    : options_(options) {
    check_options(options);
    held_ = std::make_unique<detail::RunDirectory>(directory);
}

Checkpoint::~Checkpoint() = default;
Checkpoint::Checkpoint(Checkpoint&&) noexcept = default;
Checkpoint& Checkpoint::operator=(Checkpoint&&) noexcept = default;

detail::RunDirectory& Checkpoint::held() const {
    if (!held_) throw Error("[Checkpoint] this one was moved from");
    return *held_;
}

const std::filesystem::path& Checkpoint::directory() const {
    return held().path();
}

const CheckpointOptions& Checkpoint::options() const {
    return options_;
}

std::optional<CheckpointInfo> Checkpoint::resume(Eggroll& es, ResumeOptions how) {
    detail::Strategy& strategy = CheckpointAccess::strategy(es);
    strategy.settle(kCaller);
    const std::vector<int64_t> generations = held().generations();
    std::vector<std::string> passed_over;
    for (const int64_t generation : generations) {
        std::optional<CheckpointFile> file;
        try {
            file.emplace(kCaller, held().checkpoint(generation));
        } catch (const Error& error) {
            passed_over.emplace_back(error.what());
            continue;
        }
        CheckpointInfo info = file->restore(strategy, how, std::move(passed_over));
        held().claim(strategy.identity, strategy.completed);
        return info;
    }
    if (!generations.empty()) {
        fail_at(kCaller, held().path(),
                "none of its " + std::to_string(generations.size()) +
                    " checkpoints can be read; of the newest: " + passed_over.front());
    }
    return {};
}

void Checkpoint::check(const Eggroll& es) const {
    require_run_of(held(), CheckpointAccess::strategy(es));
    held().require_lock();
}

bool Checkpoint::is_due(const Eggroll& es) const {
    return es.generation() % options_.every == 0;
}

int64_t Checkpoint::saved() const {
    return held().saved;
}

void Checkpoint::save(const Eggroll& es, const Notes& notes) {
    detail::Strategy& strategy = CheckpointAccess::strategy(es);
    strategy.catch_up();
    detail::RunDirectory& here = held();
    require_run_of(here, strategy);
    here.require_lock();
    detail::write_checkpoint(kCaller, here.checkpoint(strategy.completed), strategy, notes,
                             detail::kCheckpointPrefix);
    here.claim(strategy.identity, strategy.completed);
    here.remove_old(strategy.completed, options_.keep);
}

void Checkpoint::save_if_due(const Eggroll& es, Report& report, const Notes& notes) {
    detail::Strategy& strategy = CheckpointAccess::strategy(es);
    require_run_of(held(), strategy);
    if (!is_due(es)) return;
    strategy.catch_up();
    try {
        save(es, notes);
    } catch (const std::bad_alloc&) {
        tell(report, "no memory left");
    } catch (const Error& error) {
        tell(report, error.what());
    }
}

}  // namespace eggroll
