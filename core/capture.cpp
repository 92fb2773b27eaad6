// SPDX-License-Identifier: MIT
// Steps that are recorded once and replayed: shaping, update and all else read what changes from
// generation to generation in the backend's memory, which `ask` writes before each replay.
#include "core/strategy.h"

#include <algorithm>

namespace eggroll {

namespace detail {

Capture::~Capture() {
    kept.clear();  // memory of the recording goes back to it
    if (recording != nullptr) backend->forget(recording);
}

std::vector<const void*> Strategy::places() const {
    std::vector<const void*> all = {TensorAccess::raw(run_)};
    for (size_t i = 0; i < table.entries().size(); ++i) {
        all.push_back(TensorAccess::raw(table.entries()[i].parameter.value));
        for (const Tensor& state : state_[i]) all.push_back(TensorAccess::raw(state));
    }
    return all;
}

std::shared_ptr<Capture> Strategy::capture(const Tensor& x, const Objective& objective) {
    require_closed("capture");
    if (const std::string reason = needs_host(); !reason.empty()) {
        throw Error("[capture] " + reason);
    }
    auto made = std::make_shared<Capture>(*this, x, objective);
    const std::shared_ptr<Generation> model_of = make_generation();
    made->backend = &backend_at("capture", *model_of, x);
    if (made->backend->record != nullptr) {
        warm_up(*model_of, *made);
        const Keeping keeping(*this, made->kept);
        struct Body {
            Strategy& strategy;
            const Generation& generation;
            const Capture& capture;
        } body{*this, *model_of, *made};
        made->recording = made->backend->record(
            [](void* context) {
                const Body& b = *static_cast<const Body*>(context);
                b.strategy.submit(b.generation, b.strategy.fitness(b.generation, b.capture.x,
                                                                   b.capture.objective));
            },
            &body);
    }
    made->places = places();
    std::erase_if(captures_, [](const auto& weak) { return weak.expired(); });
    captures_.push_back(made);
    return made;
}

void Strategy::warm_up(const Generation& generation, const Capture& capture) {
    KeptMemory passing;
    const Keeping keeping(*this, passing);
    TensorAccess::backend(run_).begin(generation.backend_run(), next_block(), known_);
    (void)fitness(generation, capture.x, capture.objective);
}

void Strategy::enqueue(Capture& capture) {
    const std::shared_ptr<Generation> open = begin_step();
    const StepGuard guard(*this);
    if (places() != capture.places) {
        throw Error("[CapturedStep] the parameters have moved since the capture: capture again");
    }
    if (capture.recording == nullptr) {
        return enqueue_tell(fitness(*open, capture.x, capture.objective));
    }
    capture.backend->replay(capture.recording);
    known_ = false;
    close();
}

namespace {

Strategy& attached(const std::shared_ptr<Capture>& capture) {
    if (capture->strategy == nullptr) throw Error("[CapturedStep] its strategy is gone");
    return *capture->strategy;
}

}  // namespace

}  // namespace detail

void CapturedStep::enqueue() {
    detail::attached(capture_).enqueue(*capture_);
}

Report CapturedStep::step() {
    enqueue();
    return capture_->strategy->wait();
}

}  // namespace eggroll
