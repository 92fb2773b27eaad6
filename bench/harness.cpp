// SPDX-License-Identifier: MIT
#include "bench/harness.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstring>
#include <ctime>
#include <exception>
#include <fstream>
#include <iostream>
#include <stdexcept>

namespace eggroll::bench {

// --- Timing -------------------------------------------------------------------------------------

namespace {

double processor_ms() {
    timespec now{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return 1e3 * static_cast<double>(now.tv_sec) + 1e-6 * static_cast<double>(now.tv_nsec);
}

/// Wall and processor time of a call.
struct Spent {
    double ms, cpu_ms;
};

/// Of each of so many calls, what is done between them left out.
Spent spent(const Side& side, int64_t calls) {
    double ms = 0, cpu_ms = 0;
    const int64_t runs = side.untimed ? calls : 1;  // between looks at the clock
    for (int64_t run = 0; run < runs; ++run) {
        const double cpu = processor_ms();
        const auto begin = std::chrono::steady_clock::now();
        for (int64_t i = 0; i < calls / runs; ++i) side.timed();
        if (side.finish) side.finish();
        const std::chrono::duration<double, std::milli> wall =
            std::chrono::steady_clock::now() - begin;
        ms += wall.count();
        cpu_ms += processor_ms() - cpu;
        if (side.untimed) side.untimed();
    }
    const double n = static_cast<double>(calls);
    return {ms / n, cpu_ms / n};
}

double median_of(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    const size_t n = values.size();
    return n % 2 == 1 ? values[n / 2] : 0.5 * (values[n / 2 - 1] + values[n / 2]);
}

/// How many calls a repeat makes; calls it on the way.
int64_t calls_for(const Side& side, double at_least_ms) {
    int64_t calls = 1;
    while (calls < int64_t{1} << 40) {
        const double total = spent(side, calls).ms * static_cast<double>(calls);
        if (total >= at_least_ms) break;
        const double wanted = total > 0 ? 1.2 * at_least_ms / total : 16;
        calls = std::max(calls + 1,
                         static_cast<int64_t>(std::min(wanted, 16.0) * static_cast<double>(calls)));
    }
    return calls;
}

void wait_for_demand() {
    std::string line;
    if (!std::getline(std::cin, line)) fail("stdin ended before the last repeat");
}

}  // namespace

double Timing::median() const {
    return median_of(ms);
}

double Timing::cpu_median() const {
    return median_of(cpu_ms);
}

double Timing::min() const {
    return *std::min_element(ms.begin(), ms.end());
}

double Timing::spread() const {
    return (*std::max_element(ms.begin(), ms.end()) - min()) / median();
}

std::vector<Timing> measure(const Repeats& repeats, std::span<const Side> sides) {
    std::vector<int64_t> calls(sides.size(), 1);
    for (size_t s = 0; s < sides.size(); ++s) {
        if (sides[s].before) sides[s].before();
        if (repeats.warmup > 0) spent(sides[s], repeats.warmup);
        if (repeats.at_least_ms > 0) calls[s] = calls_for(sides[s], repeats.at_least_ms);
    }
    std::vector<Timing> timings(sides.size());
    if (repeats.on_demand) JsonLine().add("ready", true).print();
    for (int i = 0; i < repeats.count; ++i) {
        if (repeats.on_demand) wait_for_demand();
        for (size_t s = 0; s < sides.size(); ++s) {
            if (sides[s].before) sides[s].before();
            const Spent repeat = spent(sides[s], calls[s]);
            timings[s].ms.push_back(repeat.ms);
            timings[s].cpu_ms.push_back(repeat.cpu_ms);
        }
        if (repeats.on_demand) JsonLine().add("ms", timings.front().ms.back()).print();
    }
    return timings;
}

Timing measure(const Repeats& repeats, const std::function<void()>& timed) {
    const Side side{.timed = timed};
    return measure(repeats, {&side, 1}).front();
}

// --- Memory -------------------------------------------------------------------------------------

void reset_peak_memory() {
    std::ofstream("/proc/self/clear_refs") << "5" << std::flush;
}

double peak_memory_mib() {
    std::ifstream status("/proc/self/status");
    for (std::string word; status >> word;) {
        double kib = 0;
        if (word == "VmHWM:" && status >> kib) return kib / 1024;
    }
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return static_cast<double>(usage.ru_maxrss) / 1024;
}

// --- Results ------------------------------------------------------------------------------------

double checksum(std::span<const float> values) {
    double sum = 0;
    for (const float value : values) sum += value;
    return sum;
}

namespace {

std::string quoted(std::string_view text) {
    std::string out = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\') out += '\\';
        out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
    return out + '"';
}

}  // namespace

JsonLine& JsonLine::field(std::string_view key, std::string_view json) {
    text_ += text_.empty() ? "" : ", ";
    text_.append(quoted(key)).append(": ").append(json);
    return *this;
}

JsonLine& JsonLine::add(std::string_view key, std::string_view value) {
    return field(key, quoted(value));
}

JsonLine& JsonLine::add(std::string_view key, double value) {
    if (!std::isfinite(value)) return field(key, "null");
    char digits[32];
    const auto end =
        std::to_chars(digits, digits + sizeof digits, value, std::chars_format::general, 6).ptr;
    return field(key, std::string_view(digits, end));
}

JsonLine& JsonLine::add(std::string_view key, int64_t value) {
    return field(key, std::to_string(value));
}

JsonLine& JsonLine::add(std::string_view key, bool value) {
    return field(key, value ? "true" : "false");
}

JsonLine& JsonLine::add(const Timing& timing) {
    return add("ms", timing.median())
        .add("ms_min", timing.min())
        .add("spread", timing.spread())
        .add("cpu_ms", timing.cpu_median());
}

void JsonLine::print() const {
    std::cout << '{' << text_ << '}' << std::endl;
}

// --- Running ------------------------------------------------------------------------------------

namespace {

bool isolated = true;

bool run_here(const std::string& name, const std::function<void()>& body) {
    bool well = true;
    try {
        body();
    } catch (const std::exception& error) {
        std::cerr << "error: " << name << ": " << error.what() << std::endl;
        well = false;
    }
    std::cout.flush();
    return well && std::cout;
}

}  // namespace

void isolate_cases(bool isolate) {
    isolated = isolate;
}

bool run_isolated(const std::string& name, const std::function<void()>& body) {
    if (!isolated) return run_here(name, body);
    std::cout.flush();
    const pid_t child = fork();
    if (child == 0) _exit(run_here(name, body) ? 0 : 1);
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) < 0) {
        std::cerr << "error: " << name << ": " << std::strerror(errno) << std::endl;
        return false;
    }
    if (WIFSIGNALED(status)) {
        std::cerr << "error: " << name << ": " << strsignal(WTERMSIG(status)) << std::endl;
        return false;
    }
    return WEXITSTATUS(status) == 0;
}

void fail(const std::string& reason) {
    throw std::runtime_error(reason);
}

}  // namespace eggroll::bench
