// SPDX-License-Identifier: MIT
// JSON lines and CSV: what is written, what a resumed run finds, what a full disk leaves.
#include "tests/errors.h"
#include "tests/scripted.h"
#include "tests/temp_directory.h"

#include "core/file.h"

#include <doctest/doctest.h>

#include <cerrno>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <limits>
#include <sstream>
#include <string>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace eggroll;
using namespace eggroll::test;

namespace {

/// Takes the time out of a run, so that its logs can be compared.
const auto timeless = [](Eggroll&, Report& report) { report.seconds = 0.25; };

std::vector<std::string> lines_of(const std::filesystem::path& path) {
    std::istringstream text(read_bytes(path));
    std::vector<std::string> lines;
    for (std::string line; std::getline(text, line);) lines.push_back(line);
    return lines;
}

/// The two logs are held to the same rules.
struct JsonKind {
    using Log = JsonLines;
    static constexpr const char* kCaller = "[json_lines]";
    static constexpr const char* kName = "log.jsonl";
    static constexpr size_t kHeaders = 0;
};
struct CsvKind {
    using Log = CsvLog;
    static constexpr const char* kCaller = "[csv_log]";
    static constexpr const char* kName = "log.csv";
    static constexpr size_t kHeaders = 1;
};

/// Has system calls of files fail until the end of the scope.
class FailingCalls {
public:
    explicit FailingCalls(int error) {
        failure = error;
        detail::file_calls().flock = [](int, int) { return fail(); };
        detail::file_calls().fsync = [](int) { return fail(); };
    }
    ~FailingCalls() { detail::file_calls() = before_; }
    FailingCalls(const FailingCalls&) = delete;
    FailingCalls& operator=(const FailingCalls&) = delete;

private:
    static int fail() {
        errno = failure;
        return -1;
    }
    static inline int failure = 0;
    const detail::FileCalls before_ = detail::file_calls();
};

/// No file grows past this in a callback that is run under it.
class FileLimit {
public:
    explicit FileLimit(uint64_t bytes) {
        getrlimit(RLIMIT_FSIZE, &before_);
        rlimit limit = before_;
        limit.rlim_cur = bytes;
        setrlimit(RLIMIT_FSIZE, &limit);
    }
    ~FileLimit() { setrlimit(RLIMIT_FSIZE, &before_); }
    FileLimit(const FileLimit&) = delete;
    FileLimit& operator=(const FileLimit&) = delete;

private:
    rlimit before_{};
};

}  // namespace

TEST_CASE("json_lines: an object a generation, numbers exact, null for what is not finite [host]") {
    const TempDirectory directory("json_lines");
    const auto path = directory / "log.jsonl";
    Scripted run;
    run.mean = in_turn({0.25f, kNan, -2});
    const Column third{"a \"third\"", [](const Report&) { return 1.0 / 3; }};
    const Column none{"none", [](const Report&) { return -INFINITY; }};
    run.run(3, {timeless,
                [](Eggroll&, Report& r) {
                    if (r.generation == 2) r.trouble = "a \"b\"\n\\ \xFF é";
                },
                JsonLines(path, {third, none})});
    CHECK(read_bytes(path) ==
          "{\"generation\": 0, \"mean\": 0.25, \"best\": 1.25, \"worst\": -0.75, "
          "\"std\": 0.8164966, \"best_member\": 1, \"non_finite\": 0, \"no_result\": 0, "
          "\"seconds\": 0.25, "
          "\"a \\\"third\\\"\": 0.3333333333333333, \"none\": null}\n"
          "{\"generation\": 1, \"mean\": null, \"best\": null, \"worst\": null, "
          "\"std\": null, \"best_member\": -1, \"non_finite\": 4, \"no_result\": 0, \"seconds\": "
          "0.25, "
          "\"a \\\"third\\\"\": 0.3333333333333333, \"none\": null}\n"
          "{\"generation\": 2, \"mean\": -2, \"best\": -1, \"worst\": -3, "
          "\"std\": 0.8164966, \"best_member\": 1, \"non_finite\": 0, \"no_result\": 0, "
          "\"seconds\": 0.25, "
          "\"a \\\"third\\\"\": 0.3333333333333333, \"none\": null, "
          "\"trouble\": \"a \\\"b\\\" \\\\ ? é\"}\n");
}

TEST_CASE("json_lines: a number reads back as it was [host]") {
    const TempDirectory directory("json_numbers");
    const auto path = directory / "log.jsonl";
    const std::vector<float> values = {0.1f, 1e-45f, 3.4028235e38f, -1.17549435e-38f, 16777217.0f};
    const double exact = 0.1 + 0.2;
    Scripted run;
    run.run(5, {[&](Eggroll&, Report& r) { r.mean = values[static_cast<size_t>(r.generation)]; },
                JsonLines(path, {{"exact", [&](const Report&) { return exact; }}})});
    const std::vector<std::string> lines = lines_of(path);
    REQUIRE(lines.size() == 5);
    for (size_t i = 0; i < lines.size(); ++i) {
        const auto number_at = [&](const char* key) {
            return lines[i].c_str() + lines[i].find(key) + std::string(key).size();
        };
        CHECK(std::strtof(number_at("\"mean\": "), nullptr) == values[i]);
        CHECK(std::strtod(number_at("\"exact\": "), nullptr) == exact);
    }
}

TEST_CASE("csv_log: a header and a line a generation [host]") {
    const TempDirectory directory("csv_log");
    const auto path = directory / "log.csv";
    Scripted run;
    run.mean = in_turn({0.25f, kNan});
    run.run(2, {timeless,
                [](Eggroll&, Report& r) {
                    if (r.generation == 1) r.trouble = "a, \"b\"\nc";
                },
                CsvLog(path, {{"x,y", [](const Report&) { return 1.0 / 3; }}})});
    CHECK(
        read_bytes(path) ==
        "generation,mean,best,worst,std,best_member,non_finite,no_result,seconds,\"x,y\",trouble\n"
        "0,0.25,1.25,-0.75,0.8164966,1,0,0,0.25,0.3333333333333333,\n"
        "1,,,,,-1,4,0,0.25,0.3333333333333333,\"a, \"\"b\"\" c\"\n");
}

TEST_CASE_TEMPLATE("logs: a resumed run takes up where it was, wherever it was killed [host]", Kind,
                   JsonKind, CsvKind) {
    using Log = typename Kind::Log;
    const TempDirectory directory("logs_resumed");
    const auto path = directory / Kind::kName;
    Scripted whole;
    whole.run(4, {timeless, Log(path)});
    const std::string complete = read_bytes(path);

    // Killed at every byte; resumed from generation 2, whose checkpoint is the last.
    Scripted checkpoint;
    checkpoint.run(2);
    for (size_t bytes = 0; bytes <= complete.size(); ++bytes) {
        CAPTURE(bytes);
        write_bytes(path, complete.substr(0, bytes));
        Log log(path);
        log.begin(checkpoint.es, 4);
        const std::string kept = read_bytes(path);
        // Whole lines of generations 0 and 1, as many as there were.
        size_t end = 0;
        for (size_t line = 0, at = 0; line < Kind::kHeaders + 2; ++line) {
            at = complete.find('\n', at) + 1;
            if (at <= bytes) end = at;
        }
        CHECK(kept == complete.substr(0, end));
    }
    // After a power cut there may be zeros where a line was to be.
    write_bytes(path, complete + std::string(7, '\0'));
    Log(path).begin(whole.es, 5);
    CHECK(read_bytes(path) == complete);

    Log log(path);
    checkpoint.run(4, {timeless, log});
    CHECK(read_bytes(path) == complete);
    // A new run begins a new log.
    Scripted fresh;
    fresh.run(4, {timeless, log});
    CHECK(read_bytes(path) == complete);
}

TEST_CASE_TEMPLATE("logs: a file that is no such log stays as it is [host]", Kind, JsonKind,
                   CsvKind) {
    using Log = typename Kind::Log;
    const TempDirectory directory("logs_foreign");
    const auto path = directory / Kind::kName;
    Scripted run;
    run.run(3, {Log(path)});
    const std::string good = read_bytes(path);
    const std::vector<std::string> lines = lines_of(path);
    const std::string first = good.substr(0, good.find('\n') + 1);
    for (const std::string& text :
         {std::string("a letter\n"), std::string("a letter"), std::string("\n"), good + "\n",
          good + lines.back() + "\n", good + "x,1\n", good + "{\"generation\": 7\n", first + first,
          std::string("a letter\n") + good, std::string(5, '\0')}) {
        CAPTURE(text);
        write_bytes(path, text);
        Log log(path);
        Scripted fresh;
        for (Scripted* of : {&run, &fresh}) {
            const std::string refusal = error_of([&] { of->run(9, {log}); });
            CAPTURE(refusal);
            CHECK(refusal.find(Kind::kCaller) == 0);
            CHECK(refusal.find(path.string()) != std::string::npos);
            CHECK((read_bytes(path) == text));
        }
        CHECK(run.es.generation() == 3);
    }
    const std::string refusal = error_of([&] { run.run(9, {Log(directory / "no" / "log")}); });
    CHECK(contains(refusal, "cannot create a file in its directory: No such file or directory"));
    CHECK(error_of([&] { run.run(9, {Log(directory / "")}); }).find("cannot open") !=
          std::string::npos);
}

TEST_CASE_TEMPLATE("logs: a run that another log refuses leaves this one as it is [host]", Kind,
                   JsonKind, CsvKind) {
    using Log = typename Kind::Log;
    const TempDirectory directory("logs_refused_run");
    const auto path = directory / Kind::kName;
    Scripted first;
    first.run(3, {Log(path)});
    const std::string lines = read_bytes(path);
    write_bytes(directory / "letter", "a letter\n");
    Scripted other;
    Log held(directory / "held");
    held.begin(other.es, 1);
    for (const char* bad : {"letter", "held", "", "no/log"}) {
        CAPTURE(bad);
        Scripted run;
        CHECK(!error_of([&] { run.run(3, {Log(path), Log(directory / bad)}); }).empty());
        CHECK(read_bytes(path) == lines);
        CHECK(run.es.generation() == 0);
    }
}

TEST_CASE("csv_log: a log with other columns is not added to [host]") {
    const TempDirectory directory("csv_columns");
    const auto path = directory / "log.csv";
    const Column a{"a", &Report::mean}, b{"b", &Report::mean};
    Scripted run;
    run.run(2, {CsvLog(path, {a})});
    const std::string before = read_bytes(path);
    CHECK(error_of([&] { run.run(3, {CsvLog(path, {b})}); }).find("line 1 is not") !=
          std::string::npos);
    CHECK(read_bytes(path) == before);
    run.run(3, {CsvLog(path, {a})});
    CHECK(lines_of(path).size() == 4);
}

TEST_CASE_TEMPLATE(
    "logs: columns are refused without a name, a value, or of a name that is taken "
    "[host]",
    Kind, JsonKind, CsvKind) {
    const auto refusal = [](const Column& column) {
        return error_of([&] { typename Kind::Log("log", {{"first", &Report::mean}, column}); });
    };
    const std::string caller = Kind::kCaller;
    CHECK(refusal({"", &Report::mean}) == caller + " column \"\" has no name");
    CHECK(refusal({"x", {}}) == caller + " column \"x\" has no value");
    for (const char* taken : {"first", "generation", "seconds", "trouble"}) {
        CHECK(refusal({taken, &Report::mean}) ==
              caller + " column \"" + taken + "\" is there already");
    }
    CHECK(refusal({"a\nb", &Report::mean}) == caller + " column \"a\\x0ab\" is not printable text");
    CHECK(refusal({"\xFF", &Report::mean}) == caller + " column \"\\xff\" is not printable text");
}

TEST_CASE_TEMPLATE("logs: a full disk is told in the report, and the run goes on [host]", Kind,
                   JsonKind, CsvKind) {
    using Log = typename Kind::Log;
    Scripted run;
    std::vector<std::string> troubles;
    const auto listen = [&](Eggroll&, Report& report) { troubles.push_back(report.trouble); };
    run.run(2, {Log("/dev/full"), listen});
    REQUIRE(troubles.size() == 2);
    CHECK(troubles[1] == std::string(Kind::kCaller) +
                             " \"/dev/full\": the line is missing: cannot write: No space left "
                             "on device");
    CHECK(troubles[0] == troubles[1]);  // so that it can be told once
    CHECK(run.es.generation() == 2);
    run.run(3, {Log("/dev/null"), listen});
    CHECK(troubles.back().empty());
}

TEST_CASE_TEMPLATE("logs: a disk that fills up within a line leaves whole lines [host]", Kind,
                   JsonKind, CsvKind) {
    using Log = typename Kind::Log;
    const TempDirectory directory("logs_full");
    const auto path = directory / Kind::kName;
    Scripted whole;
    whole.run(3, {timeless, Log(path)});
    std::vector<std::string> lines = lines_of(path);
    const size_t second = Kind::kHeaders + 1;
    const uint64_t room = read_bytes(path).find(lines[second]);
    lines.erase(lines.begin() + static_cast<std::ptrdiff_t>(second));

    for (const uint64_t more : {0, 1, 20}) {
        CAPTURE(more);
        Scripted run;
        Log log(path);
        std::string trouble;
        const auto limited = [&](Eggroll& es, Report& report) {
            if (report.generation != 1) return log.after(es, report);
            const FileLimit limit(room + more);
            const bool stop = log.after(es, report);
            trouble = report.trouble;
            return stop;
        };
        log.begin(run.es, 3);
        run.run(3, {timeless, limited});
        log.end(run.es);
        CHECK(trouble.find("the line is missing: cannot write: File too large") !=
              std::string::npos);
        CHECK((lines_of(path) == lines));
    }
    // The header too is written by the line that can be.
    std::filesystem::remove(path);
    Scripted run;
    Log log(path);
    log.begin(run.es, 3);
    run.run(2, {timeless, [&](Eggroll& es, Report& report) {
                    const FileLimit limit(report.generation == 0 ? 10 : 100000);
                    log.after(es, report);
                }});
    log.end(run.es);
    CHECK(lines_of(path).size() == Kind::kHeaders + 1);
    run.run(3, {log});  // and such a log is taken up again
    CHECK(lines_of(path).size() == Kind::kHeaders + 2);
}

TEST_CASE_TEMPLATE("logs: a file is one log's alone while a run lasts [host]", Kind, JsonKind,
                   CsvKind) {
    using Log = typename Kind::Log;
    const TempDirectory directory("logs_two");
    const auto path = directory / Kind::kName;
    const std::string in_use =
        std::string(Kind::kCaller) + " \"" + path.string() + "\": is in use by another log";
    Scripted run, other;
    Log log(path), second(path);
    const auto try_second = [&](Eggroll&, Report&) {
        const std::string before = read_bytes(path);
        CHECK(error_of([&] { other.run(1, {second}); }) == in_use);
        CHECK(read_bytes(path) == before);
        CHECK(other.es.generation() == 0);
    };
    run.run(3, {log, try_second});
    CHECK(lines_of(path).size() == Kind::kHeaders + 3);
    CHECK(error_of([&] { run.run(4, {log, second}); }) == in_use);
    run.run(4, {second});  // nobody has it now

    // A log that was refused does not keep it.
    write_bytes(path, "a letter\n");
    CHECK(contains(error_of([&] { run.run(5, {log}); }), "line 1 is not"));
    write_bytes(path, "");
    run.run(5, {second});
    CHECK(lines_of(path).size() == Kind::kHeaders + 1);
}

TEST_CASE_TEMPLATE("logs: a process that was forked meanwhile does not keep the file [host]", Kind,
                   JsonKind, CsvKind) {
    using Log = typename Kind::Log;
    const TempDirectory directory("logs_fork");
    const auto path = directory / Kind::kName;
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    Scripted run;
    pid_t child = 0;
    run.run(1, {Log(path), [&](Eggroll&, Report&) {
                    child = ::fork();
                    if (child != 0) return;
                    char none = 0;
                    ::close(ends[1]);
                    ::_exit(static_cast<int>(::read(ends[0], &none, 1)));  // until it is closed
                }});
    CHECK(error_of([&] { run.run(2, {Log(path)}); }).empty());
    ::close(ends[1]);
    int status = -1;
    CHECK(::waitpid(child, &status, 0) == child);
    CHECK(status == 0);
    ::close(ends[0]);
}

TEST_CASE_TEMPLATE("logs: a process that was forked meanwhile does not give the file up [host]",
                   Kind, JsonKind, CsvKind) {
    using Log = typename Kind::Log;
    const TempDirectory directory("logs_fork_end");
    Scripted run, other;
    Log log(directory / Kind::kName), second(directory / Kind::kName);
    log.begin(run.es, 1);
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        log.end(run.es);
        ::_exit(0);
    }
    int status = -1;
    CHECK(::waitpid(child, &status, 0) == child);
    CHECK(status == 0);
    CHECK(contains(error_of([&] { second.begin(other.es, 1); }), "is in use by another log"));
    log.end(run.es);
    second.begin(other.es, 1);
}

TEST_CASE_TEMPLATE("logs: one that was moved from says so [host]", Kind, JsonKind, CsvKind) {
    using Log = typename Kind::Log;
    const TempDirectory directory("logs_moved");
    Scripted run;
    Log log(directory / Kind::kName);
    run.run(1, {std::move(log)});
    CHECK(error_of([&] { run.run(2, {log}); }) ==
          std::string(Kind::kCaller) + " this one was moved from");
    CHECK(run.es.generation() == 1);
}

TEST_CASE_TEMPLATE("logs: a file system without locks is gone on without [host]", Kind, JsonKind,
                   CsvKind) {
    using Log = typename Kind::Log;
    const TempDirectory directory("logs_unlocked");
    const auto path = directory / Kind::kName;
    const auto failing = [&](int error) {
        const FailingCalls calls(error);
        Scripted run;
        Log log(path);
        log.begin(run.es, 1);
    };
    for (const int error : {ENOLCK, EOPNOTSUPP, ENOTSUP, ENOSYS}) {
        CAPTURE(error);
        CHECK(error_of([&] { failing(error); }).empty());
    }
    CHECK(error_of([&] { failing(EIO); }) == std::string(Kind::kCaller) + " \"" + path.string() +
                                                 "\": cannot be locked: Input/output error");
}

TEST_CASE_TEMPLATE("logs: a file that cannot be synced is told at the end, and let go [host]", Kind,
                   JsonKind, CsvKind) {
    using Log = typename Kind::Log;
    const TempDirectory directory("logs_sync");
    const auto path = directory / Kind::kName;
    Scripted run;
    Log log(path);
    log.begin(run.es, 1);
    {
        const FailingCalls calls(EIO);
        CHECK(error_of([&] { log.end(run.es); }) == std::string(Kind::kCaller) + " \"" +
                                                        path.string() +
                                                        "\": cannot sync: Input/output error");
    }
    CHECK(error_of([&] { run.run(1, {Log(path)}); }).empty());
}

TEST_CASE_TEMPLATE("logs: a pipe that nobody reads any more is told, without a signal [host]", Kind,
                   JsonKind, CsvKind) {
    using Log = typename Kind::Log;
    const TempDirectory directory("logs_pipe");
    const auto path = directory / Kind::kName;
    REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
    const auto open_end = [&] { return ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC); };
    int end = open_end();
    REQUIRE(end >= 0);
    // What was written since the last time.
    const auto read_text = [&] {
        std::string text(65536, '\0');
        const ssize_t got = ::read(end, text.data(), text.size());
        text.resize(got > 0 ? static_cast<size_t>(got) : 0);
        return text;
    };
    sigset_t pipe, before;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    const auto pending = [] {
        sigset_t set;
        ::sigpending(&set);
        return sigismember(&set, SIGPIPE) == 1;
    };
    const auto blocked = [] {
        sigset_t set;
        ::pthread_sigmask(SIG_BLOCK, nullptr, &set);
        return sigismember(&set, SIGPIPE) == 1;
    };
    const std::string broken = std::string(Kind::kCaller) + " \"" + path.string() +
                               "\": the line is missing: cannot write: Broken pipe";

    Scripted run;
    std::vector<std::string> troubles;
    run.run(5, {timeless, Log(path), [&](Eggroll& es, Report& report) {
                    troubles.push_back(report.trouble);
                    const int64_t generations = es.generation();
                    if (generations == 1) {
                        CHECK(contains(read_text(), "0.25"));
                        ::close(end);
                    } else if (generations == 2) {
                        CHECK_FALSE(blocked());
                        ::pthread_sigmask(SIG_BLOCK, &pipe, &before);
                    } else if (generations == 3) {
                        CHECK(blocked());
                        CHECK_FALSE(pending());
                        ::raise(SIGPIPE);
                    } else if (generations == 4) {
                        CHECK(pending());
                        const timespec now = {};
                        CHECK(::sigtimedwait(&pipe, nullptr, &now) == SIGPIPE);
                        ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
                        end = open_end();
                    }
                }});
    CHECK((troubles == std::vector<std::string>{"", broken, broken, broken, ""}));
    CHECK(contains(read_text(), "0.25"));
    ::close(end);
}
