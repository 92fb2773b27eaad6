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

bool SaveCheckpoint::after(Eggroll& es, Report& report) {
    if (run_->is_due(es)) run_->save_if_due(es, report, notes());
    return false;
}

void SaveCheckpoint::end(const Eggroll& es) {
    if (es.generation() > 0 && es.generation() != run_->saved()) run_->save(es, notes());
}

}  // namespace eggroll
