// SPDX-License-Identifier: MIT
#include "worker_pool.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <stdexcept>
#include <utility>

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

extern char** environ;

namespace examples {

namespace {

constexpr size_t kLostInARow = 3;  // times the number of workers
constexpr size_t kLongestAnswer = 4096;
constexpr int kLookMilliseconds = 20;  // how often to look who takes too long

[[noreturn]] void fail(const std::string& what, int error) {
    throw std::runtime_error(what + ": " + std::strerror(error));
}

void close_end(int& end) {
    if (end >= 0) ::close(end);
    end = -1;
}

/// Both ends are closed in programs that are started, except where they are asked for.
struct Pipe {
    Pipe() {
        if (::pipe2(ends, O_CLOEXEC) != 0) fail("a pipe to a worker", errno);
    }
    ~Pipe() {
        close_end(ends[0]);
        close_end(ends[1]);
    }
    Pipe(const Pipe&) = delete;
    Pipe& operator=(const Pipe&) = delete;

    /// One end for the caller to keep, which never waits.
    int take(int which) {
        ::fcntl(ends[which], F_SETFL, O_NONBLOCK);
        return std::exchange(ends[which], -1);
    }

    int ends[2] = {-1, -1};
};

std::string hexadecimal(double value) {
    char text[64];
    std::snprintf(text, sizeof text, "%a", value);
    return text;
}

/// Words of a line, one after another.
class Words {
public:
    explicit Words(const std::string& line) : next_(line.c_str()) {}

    bool is(const char* word) {
        const size_t length = std::strlen(word);
        if (std::strncmp(next_, word, length) != 0) return false;
        next_ += length;
        return true;
    }
    template <class T>
    bool number(T& value, T (*parse)(const char*, char**)) {
        char* end = nullptr;
        value = parse(next_, &end);
        if (end == next_) return false;
        next_ = end;
        return true;
    }
    bool at_end() const { return *next_ == '\0'; }

private:
    const char* next_;
};

long long parse_whole(const char* text, char** end) {
    return std::strtoll(text, end, 10);
}

}  // namespace

WorkerPool::WorkerPool(std::vector<std::string> command, int workers, double seconds)
    : command_(std::move(command)),
      seconds_(seconds),
      workers_(static_cast<size_t>(std::max(workers, 0))) {
    if (command_.empty() || workers < 1 || !(seconds >= 0)) {
        throw std::runtime_error("a pool needs a command, at least one worker and seconds >= 0");
    }
    struct sigaction ignore = {};
    ignore.sa_handler = SIG_IGN;
    ::sigaction(SIGPIPE, &ignore, &old_sigpipe_);
    try {
        for (Worker& worker : workers_) start(worker);
    } catch (...) {
        stop_all();
        ::sigaction(SIGPIPE, &old_sigpipe_, nullptr);
        throw;
    }
}

WorkerPool::~WorkerPool() {
    const Clock::time_point deadline = Clock::now() + std::chrono::seconds(1);
    for (Worker& worker : workers_) close_end(worker.to);
    for (Worker& worker : workers_) {
        pollfd ended{worker.from, POLLIN, 0};
        char ignored[4096];
        while (worker.from >= 0) {
            const auto left =
                std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now());
            if (left.count() <= 0 || ::poll(&ended, 1, static_cast<int>(left.count())) <= 0) break;
            if (::read(worker.from, ignored, sizeof ignored) <= 0) break;
        }
    }
    stop_all();
    ::sigaction(SIGPIPE, &old_sigpipe_, nullptr);
}

void WorkerPool::start(Worker& worker) {
    Pipe in, out;
    posix_spawn_file_actions_t files;
    ::posix_spawn_file_actions_init(&files);
    ::posix_spawn_file_actions_adddup2(&files, in.ends[0], STDIN_FILENO);
    ::posix_spawn_file_actions_adddup2(&files, out.ends[1], STDOUT_FILENO);
    posix_spawnattr_t attributes;
    ::posix_spawnattr_init(&attributes);
    sigset_t defaults;
    ::sigemptyset(&defaults);
    ::sigaddset(&defaults, SIGPIPE);
    ::posix_spawnattr_setsigdefault(&attributes, &defaults);
    ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
    std::vector<char*> arguments;
    for (std::string& argument : command_) arguments.push_back(argument.data());
    arguments.push_back(nullptr);
    pid_t pid = -1;
    const int error =
        ::posix_spawnp(&pid, arguments[0], &files, &attributes, arguments.data(), environ);
    ::posix_spawnattr_destroy(&attributes);
    ::posix_spawn_file_actions_destroy(&files);
    if (error != 0) fail("cannot start the worker \"" + command_[0] + "\"", error);
    worker = {};
    worker.pid = pid;
    worker.to = in.take(1);
    worker.from = out.take(0);
}

std::string WorkerPool::bury(Worker& worker) {
    close_end(worker.to);
    close_end(worker.from);
    if (worker.pid < 0) return "was not there";
    ::kill(worker.pid, SIGKILL);  // what closed its pipes is of no more use
    int status = 0;
    while (::waitpid(worker.pid, &status, 0) < 0 && errno == EINTR) {
    }
    worker.pid = -1;
    return WIFEXITED(status) ? "exit status " + std::to_string(WEXITSTATUS(status))
                             : "signal " + std::to_string(WTERMSIG(status));
}

void WorkerPool::stop_all() {
    for (Worker& worker : workers_) {
        bury(worker);
        worker = {};
    }
}

bool WorkerPool::is_late(const Worker& worker) const {
    const std::chrono::duration<double> taken = Clock::now() - worker.since;
    return seconds_ > 0 && worker.candidate >= 0 && taken.count() > seconds_;
}

void WorkerPool::replace(Worker& worker) {
    const bool late = is_late(worker);
    const int64_t candidate = worker.candidate;
    if (candidate >= 0) waiting_.push_front(candidate);
    std::string end = bury(worker);
    if (late) end += " after " + std::to_string(seconds_) + " seconds";
    worker = {};
    ++lost_;
    if (++lost_in_a_row_ >= kLostInARow * workers_.size()) {
        throw std::runtime_error(
            "the worker \"" + command_[0] + "\" ended " + std::to_string(lost_in_a_row_) +
            " times in a row without a fitness" +
            (candidate >= 0 ? ", the last time at candidate " + std::to_string(candidate) : "") +
            ", with " + end);
    }
    start(worker);
}

bool WorkerPool::send(Worker& worker) {
    const ssize_t sent = ::write(worker.to, worker.outbox.data(), worker.outbox.size());
    if (sent < 0) return errno == EAGAIN || errno == EINTR;
    worker.outbox.erase(0, static_cast<size_t>(sent));
    if (kill_next_ && worker.outbox.empty()) {
        ::kill(worker.pid, SIGKILL);
        kill_next_ = false;
    }
    return true;
}

bool WorkerPool::receive(Worker& worker) {
    char text[4096];
    const ssize_t got = ::read(worker.from, text, sizeof text);
    if (got < 0) return errno == EAGAIN || errno == EINTR;
    if (got == 0) return false;
    worker.inbox.append(text, static_cast<size_t>(got));
    for (size_t end; (end = worker.inbox.find('\n')) != std::string::npos;) {
        const std::string line = worker.inbox.substr(0, end);
        worker.inbox.erase(0, end + 1);
        read_line(worker, line);
    }
    if (worker.inbox.size() > kLongestAnswer) read_line(worker, worker.inbox);
    return true;
}

void WorkerPool::read_line(Worker& worker, const std::string& line) {
    Words words(line);
    long long id = -1;
    double value = 0;
    if (!words.is("fitness ") || !words.number(id, parse_whole) || id != worker.candidate ||
        id < 0 || !words.number(value, std::strtod) || !words.at_end()) {
        throw std::runtime_error("a worker answered \"" + line.substr(0, 80) + "\" to candidate " +
                                 std::to_string(worker.candidate));
    }
    fitness_[static_cast<size_t>(id)] = value;
    worker.candidate = -1;
    lost_in_a_row_ = 0;
    --missing_;
}

std::vector<double> WorkerPool::evaluate(
    int64_t count, const std::function<std::vector<float>(int64_t)>& candidate) {
    fitness_.assign(static_cast<size_t>(count), 0.0);
    waiting_.clear();
    for (int64_t i = 0; i < count; ++i) waiting_.push_back(i);
    missing_ = count;
    lost_in_a_row_ = 0;
    try {
        for (Worker& worker : workers_) {
            if (worker.pid < 0) start(worker);  // an earlier call was left by an exception
        }
        std::vector<pollfd> ends(2 * workers_.size());
        while (missing_ > 0) {
            for (Worker& worker : workers_) {
                if (worker.candidate >= 0 || waiting_.empty()) continue;
                const int64_t id = waiting_.front();
                const std::vector<float> values = candidate(id);
                waiting_.pop_front();
                worker.candidate = id;
                worker.since = Clock::now();
                worker.outbox =
                    "evaluate " + std::to_string(id) + " " + std::to_string(values.size());
                for (const float x : values) {
                    worker.outbox += " " + hexadecimal(static_cast<double>(x));
                }
                worker.outbox += "\n";
            }
            for (size_t i = 0; i < workers_.size(); ++i) {
                const Worker& worker = workers_[i];
                ends[2 * i] = {worker.from, POLLIN, 0};
                ends[2 * i + 1] = {worker.outbox.empty() ? -1 : worker.to, POLLOUT, 0};
            }
            const int wait = seconds_ > 0 ? kLookMilliseconds : -1;
            if (::poll(ends.data(), ends.size(), wait) < 0) {
                if (errno != EINTR) fail("poll", errno);
                continue;  // nothing is known of the ends
            }
            for (size_t i = 0; i < workers_.size(); ++i) {
                Worker& worker = workers_[i];
                const bool there = (ends[2 * i].revents == 0 || receive(worker)) &&
                                   (ends[2 * i + 1].revents == 0 || send(worker));
                if (!there || is_late(worker)) replace(worker);
            }
        }
    } catch (...) {
        stop_all();  // nobody answers to what was asked here later on
        throw;
    }
    return fitness_;
}

void serve(const std::function<double(std::span<const float>)>& fitness) {
    for (std::string line; std::getline(std::cin, line);) {
        Words words(line);
        long long id = 0, count = 0;
        bool good = words.is("evaluate ") && words.number(id, parse_whole) &&
                    words.number(count, parse_whole) && count >= 0;
        std::vector<float> values;
        for (long long i = 0; good && i < count; ++i) {
            good = words.number(values.emplace_back(), std::strtof);
        }
        if (!good || !words.at_end()) {
            throw std::runtime_error("not a request: " + line.substr(0, 80));
        }
        std::cout << "fitness " << id << " " << hexadecimal(fitness(values)) << std::endl;
    }
}

}  // namespace examples
