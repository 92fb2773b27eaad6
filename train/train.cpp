// SPDX-License-Identifier: MIT
#include <eggroll/train.h>

#include <eggroll/error.h>

#include <algorithm>
#include <exception>
#include <span>
#include <string>

namespace eggroll {

Callback::~Callback() = default;

Callback::Stage Callback::stage() const {
    return Stage::see;
}

void Callback::check(const Eggroll&) const {}

bool Callback::begin(const Eggroll&, int64_t) {
    return false;
}

bool Callback::after(Eggroll&, Report&) {
    return false;
}

void Callback::end(const Eggroll&) {}

void AnyCallback::require_callback() const {
    if (!callback_) throw Error("[train] a callback is a null pointer");
}

namespace {

/// Calls f for each of them, whatever happens; the first exception passes on at the end.
template <class F>
void for_all(std::span<const AnyCallback> callbacks, const F& f) {
    std::exception_ptr first;
    for (const AnyCallback& callback : callbacks) {
        try {
            f(callback.get());
        } catch (...) {
            if (!first) first = std::current_exception();
        }
    }
    if (first) std::rethrow_exception(first);
}

}  // namespace

Report train(Eggroll& es, int64_t until, const std::function<Report()>& step,
             const std::vector<AnyCallback>& given, const std::function<bool()>& stop) {
    if (until < 0) throw Error("[train] until is " + std::to_string(until) + ", not 0 or more");
    if (!step) throw Error("[train] there is no step to call");
    std::vector<AnyCallback> callbacks = given;
    std::ranges::stable_sort(callbacks, {}, [](const AnyCallback& c) { return c.get().stage(); });
    for (const AnyCallback& callback : callbacks) callback.get().check(es);
    Report report{.generation = -1};
    size_t begun = 0;
    const auto end = [&] {
        for_all(std::span(callbacks).first(begun), [&](Callback& callback) { callback.end(es); });
    };
    try {
        bool stopped = false;
        for (; begun < callbacks.size(); ++begun) {
            const bool nothing_to_do = callbacks[begun].get().begin(es, until);
            stopped = stopped || nothing_to_do;
        }
        while (!stopped && es.generation() < until && !(stop && stop())) {
            const int64_t before = es.generation();
            report = step();
            if (es.generation() <= before) {
                throw Error("[train] step completed no generation: it is still " +
                            std::to_string(before));
            }
            for_all(callbacks, [&](Callback& callback) {
                const bool enough = callback.after(es, report);
                stopped = stopped || enough;
            });
        }
    } catch (...) {
        try {
            end();
        } catch (...) {  // the exception that ended the run is the one to tell
        }
        throw;
    }
    end();
    return report;
}

}  // namespace eggroll
