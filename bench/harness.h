// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

// What every benchmark needs: timing with warm-up, peak memory, a line that names the machine, and
// results as lines of JSON on stdout.

namespace eggroll::bench {

// --- Timing -------------------------------------------------------------------------------------

struct Repeats {
    int warmup = 1;
    int count = 7;
    /// A timed repeat calls its function as often as needed to take this long, 0: once. For what
    /// takes microseconds.
    double at_least_ms = 0;
    /// Another program sets the pace: {"ready": true} is printed before the repeats, each waits
    /// for a line on stdin and prints {"ms": …}.
    bool on_demand = false;
};

/// One of several things timed in turn.
struct Side {
    std::function<void()> timed;
    std::function<void()> untimed = {};  // after each call of `timed`
    std::function<void()> before = {};   // untimed, before each repeat, however many calls it has
    std::function<void()> finish = {};   // timed, after the last call: waits for a device
};

/// What the repeats of one side took, in order.
struct Timing {
    std::vector<double> ms;      // wall time
    std::vector<double> cpu_ms;  // processor time of all threads: what a busy machine disturbs less

    double median() const;
    double cpu_median() const;
    double min() const;
    /// (largest - smallest) / median.
    double spread() const;
};

/// Warms all sides up, then times one repeat of each in turn, again and again: what disturbs the
/// machine for a while disturbs all alike.
std::vector<Timing> measure(const Repeats& repeats, std::span<const Side> sides);
Timing measure(const Repeats& repeats, const std::function<void()>& timed);

// --- Memory -------------------------------------------------------------------------------------

/// Starts a new maximum of the resident memory where the kernel allows it (/proc/self/clear_refs);
/// elsewhere the maximum stays that of the process.
void reset_peak_memory();
/// Largest resident memory of this process, in MiB, since the last reset.
double peak_memory_mib();

// --- Results ------------------------------------------------------------------------------------

/// Sum of all elements in double: a result that is printed was computed.
double checksum(std::span<const float> values);

/// One JSON object on a line of its own. A number that is not finite is written as null.
class JsonLine {
public:
    JsonLine& add(std::string_view key, std::string_view value);
    JsonLine& add(std::string_view key, const char* value) {
        return add(key, std::string_view(value));
    }
    JsonLine& add(std::string_view key, double value);
    JsonLine& add(std::string_view key, int64_t value);
    JsonLine& add(std::string_view key, int value) { return add(key, int64_t{value}); }
    JsonLine& add(std::string_view key, bool value);
    /// ms (the median), ms_min, spread and cpu_ms (the median).
    JsonLine& add(const Timing& timing);
    /// Writes the line to stdout at once.
    void print() const;

private:
    JsonLine& field(std::string_view key, std::string_view json);

    std::string text_;
};

/// Prints the line that names the machine and the build: processor, cores allowed, instruction set,
/// compiler, version of the library.
void print_machine(std::string_view benchmark);

// --- Running ------------------------------------------------------------------------------------

/// Runs one case in a process of its own, so that neither its peak memory nor its crash is
/// another's. False, and the reason on stderr, when it did not end well. Only while this process
/// has a single thread: eggroll starts its threads when it is first used.
bool run_isolated(const std::string& name, const std::function<void()>& body);

/// Has run_isolated call the body in this process: for a profiler, or another tool that watches
/// one.
void isolate_cases(bool isolate);

/// Refuses a result: throws std::runtime_error, for a case to fail with.
[[noreturn]] void fail(const std::string& reason);

}  // namespace eggroll::bench
