// SPDX-License-Identifier: MIT
#include <eggroll/save_checkpoint.h>

#include <utility>

namespace eggroll {

SaveCheckpoint::SaveCheckpoint(Checkpoint& run, std::function<Notes()> notes)
    : run_(&run), notes_(std::move(notes)) {}

Notes SaveCheckpoint::notes() const {
    return notes_ ? notes_() : Notes();
}

void SaveCheckpoint::check(const Eggroll& es) const {
    run_->check(es);
}

bool SaveCheckpoint::begin(const Eggroll& es, int64_t) {
    saved_ = es.generation();
    return false;
}

bool SaveCheckpoint::after(Eggroll& es, Report& report) {
    if (!run_->is_due(es)) return false;
    const size_t before = report.trouble.size();
    run_->save_if_due(es, report, notes());
    if (report.trouble.size() == before) saved_ = es.generation();
    return false;
}

void SaveCheckpoint::end(const Eggroll& es) {
    if (es.generation() == saved_) return;
    run_->save(es, notes());
    saved_ = es.generation();
}

}  // namespace eggroll
