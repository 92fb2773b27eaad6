// SPDX-License-Identifier: MIT
#pragma once

#include <eggroll/strategy.h>

#include <concepts>
#include <functional>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

namespace eggroll {

/// What is told of a run: override what matters.
class EGGROLL_API Callback {
public:
    /// In every generation those that see it come first, then who saves it, then who shows it, so
    /// that what is saved has been seen, and what is shown tells how that went.
    enum class Stage { see, save, show };

    virtual ~Callback();
    virtual Stage stage() const;
    /// Before any callback begins: throws Error when it could not do its part in this run, which is
    /// what it would rather say before another has replaced a file. Changes nothing.
    virtual void check(const Eggroll& es) const;
    /// Before the first generation; the run ends once `es.generation()` is `until`. True: there is
    /// nothing to do, the run ends before that generation.
    virtual bool begin(const Eggroll& es, int64_t until);
    /// After a generation; `es` is ready for the next one. What goes wrong beside the generation
    /// itself is added to `report.trouble`, which the callbacks after this one see. True: the run
    /// stops here.
    virtual bool after(Eggroll& es, Report& report);
    /// When the run is over, however it ends.
    virtual void end(const Eggroll& es);
};

/// What `train` takes as a callback: an object by reference, which must outlive the run; a
/// temporary or a shared_ptr, which are kept; or a function `(Eggroll&, Report&)` that returns
/// nothing, or true to stop.
class EGGROLL_API AnyCallback {
public:
    AnyCallback(Callback& callback) : callback_(std::shared_ptr<void>(), &callback) {}
    /// Throws Error for a null pointer.
    template <std::derived_from<Callback> C>
    AnyCallback(std::shared_ptr<C> callback) : callback_(std::move(callback)) {
        require_callback();
    }
    template <std::derived_from<Callback> C>
    requires std::move_constructible<C> AnyCallback(C&& callback)
        : callback_(std::make_shared<C>(std::move(callback))) {}
    template <std::invocable<Eggroll&, Report&> After>
    AnyCallback(After after) : callback_(std::make_shared<Function<After>>(std::move(after))) {}

    Callback& get() const { return *callback_; }

private:
    template <class After>
    struct Function final : Callback {
        explicit Function(After f) : function(std::move(f)) {}
        bool after(Eggroll& es, Report& report) override {
            using Result = std::invoke_result_t<After&, Eggroll&, Report&>;
            static_assert(std::is_void_v<Result> || std::convertible_to<Result, bool>,
                          "a callback returns nothing, or whether to stop");
            if constexpr (std::is_void_v<Result>) {
                function(es, report);
                return false;
            } else {
                return function(es, report);
            }
        }
        After function;
    };

    void require_callback() const;

    std::shared_ptr<Callback> callback_;
};

/// Calls `step`, which completes a generation of `es`, until `es.generation()` is `until`, so that
/// a run that was resumed goes on to the same end. Every callback sees every report, by stage and
/// then in the order given. The run stops early, even before its first generation, when one of them
/// says so, or when `stop`, asked before each generation, says so: for Ctrl-C, or a
/// std::stop_token.
///
///     train(es, 1000, [&] { return es.step(x, loss::mse(target)); },
///           {JsonLines("run.jsonl"), EarlyStop({.patience = 50}), ProgressBar(std::cerr)});
///
/// Returns the last report as the callbacks left it; its generation is -1 when there was none.
///
/// An exception of `step`, `stop` or a callback ends the run and passes through, and `es` can go
/// on. The other callbacks still see that generation, and every one whose `begin` returned is told
/// the end; what they throw meanwhile is dropped. Throws Error for a negative `until`, no `step`,
/// or a `step` that completes no generation.
EGGROLL_API Report train(Eggroll& es, int64_t until, const std::function<Report()>& step,
                         const std::vector<AnyCallback>& callbacks = {},
                         const std::function<bool()>& stop = {});

}  // namespace eggroll
