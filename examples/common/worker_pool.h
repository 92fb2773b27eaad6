// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include <sys/types.h>
#include <csignal>

namespace examples {

/// Processes that evaluate candidates: the numbers go out and the fitnesses come back over pipes, a
/// line of text each, so that a worker can be written in any language:
///
///     evaluate ID N X1 ... XN     to its stdin
///     fitness ID F                from its stdout, in answer
///
/// Numbers are written as C's "%a" and Python's float.hex() do, and are exact; "nan" and "inf" are
/// numbers too. A worker has one candidate at a time and ends when its stdin does.
///
/// A worker that ends before its time, or is killed because it takes too long, loses nothing: its
/// candidate is given to another, and a new worker takes its place. Which worker computes what
/// decides nothing. Ignores SIGPIPE while it exists; one pool at a time, used from one thread.
class WorkerPool {
public:
    /// Starts the command (a program and its arguments) so many times. A candidate may take
    /// `seconds`; 0: as long as it likes. What goes wrong throws std::runtime_error, here and in
    /// `evaluate`.
    WorkerPool(std::vector<std::string> command, int workers, double seconds = 0);
    /// Ends the workers; those that are still there a second later are killed.
    ~WorkerPool();
    WorkerPool(const WorkerPool&) = delete;
    WorkerPool& operator=(const WorkerPool&) = delete;

    /// The fitness of the candidates 0..count-1, each asked for when it is handed out, and again
    /// when it has to be handed out anew. Throws when workers keep ending without a single fitness
    /// in between, or one answers what is no answer.
    std::vector<double> evaluate(int64_t count,
                                 const std::function<std::vector<float>(int64_t)>& candidate);

    /// Workers that ended before their time.
    int64_t lost() const { return lost_; }
    /// Kills the worker that gets the next candidate, once it has it: to show that nothing is lost.
    void kill_next() { kill_next_ = true; }

private:
    using Clock = std::chrono::steady_clock;

    struct Worker {
        pid_t pid = -1;
        int to = -1, from = -1;  // our ends of its pipes
        int64_t candidate = -1;  // it has; -1: none
        Clock::time_point since;
        std::string outbox, inbox;
    };

    void start(Worker& worker);
    /// How it ended, in words.
    std::string bury(Worker& worker);
    void stop_all();
    void replace(Worker& worker);
    bool send(Worker& worker);     // false: it is gone
    bool receive(Worker& worker);  // false: it is gone
    bool is_late(const Worker& worker) const;
    void read_line(Worker& worker, const std::string& line);

    std::vector<std::string> command_;
    double seconds_;
    std::vector<Worker> workers_;
    std::deque<int64_t> waiting_;  // candidates that nobody has
    std::vector<double> fitness_;
    int64_t missing_ = 0;  // fitnesses still to come
    int64_t lost_ = 0;
    size_t lost_in_a_row_ = 0;  // since the last fitness
    bool kill_next_ = false;
    struct sigaction old_sigpipe_ = {};
};

/// The loop of a worker: answers what comes in on stdin until that ends. Throws std::runtime_error
/// at a line that is no request.
void serve(const std::function<double(std::span<const float>)>& fitness);

}  // namespace examples
