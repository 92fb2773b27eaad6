// SPDX-License-Identifier: MIT
#pragma once

#include "text.h"

#include <eggroll/strategy.h>
#include <eggroll/threads.h>

#include <CLI/CLI.hpp>

#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <iostream>
#include <stdexcept>
#include <string>
#include <system_error>

namespace examples {

/// What every example can be told, besides eggroll::Options.
struct CommonFlags {
    int64_t steps = 100;
    int threads = 0;  // 0: the library's default
    bool json = false;
};

/// A whole number from `least` on.
inline CLI::Validator at_least(int64_t least) {
    return CLI::Validator(
        [least](std::string& text) {
            int64_t value = 0;
            const bool well = CLI::detail::lexical_cast(text, value) && value >= least &&
                              value <= int64_t{1} << 62;
            return well ? std::string()
                        : text + " is no whole number from " + std::to_string(least) + " on";
        },
        "", "");
}

/// Adds --steps --pop-size --sigma --lr --rank --seed --threads --json. The values found in `flags`
/// and `options` are the defaults that --help shows.
inline void add_common_flags(CLI::App& app, CommonFlags& flags, eggroll::Options& options) {
    app.option_defaults()->always_capture_default();
    app.add_option("--steps", flags.steps, "generations")->check(at_least(0));
    app.add_option("--pop-size", options.pop_size, "members of the population, an even number");
    app.add_option("--sigma", options.sigma, "scale of the perturbations");
    app.add_option("--lr", options.lr, "learning rate");
    app.add_option("--rank", options.rank, "rank of the perturbations of matrices");
    // CLI11 would wrap a negative number round.
    app.add_option("--seed", options.seed, "seed of everything random")
        ->check([](const std::string& text) {
            return text.starts_with('-') ? "a seed is not negative: " + text : std::string();
        });
    app.add_option("--threads", flags.threads, "threads; 0: EGGROLL_NUM_THREADS, else all allowed")
        ->check(CLI::Range(0, 1024));
    app.add_flag("--json", flags.json, "print the result as one last line of JSON");
}

/// Ctrl-C was pressed, and the run can be gone on with.
struct Interrupted {
    int64_t generation;
};

/// A word as a shell takes it.
inline std::string shell_word(const std::string& word) {
    constexpr const char* kPlain =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=./:,@%";
    if (!word.empty() && word.find_first_not_of(kPlain) == std::string::npos) return word;
    std::string quoted = "'";
    for (const char c : word) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
    return quoted + '\'';
}

/// The command line as a shell takes it in any folder, with `extra` behind if it is not there yet.
inline std::string command_line(int argc, char** argv, const std::string& extra) {
    std::error_code gone;
    const std::filesystem::path here = std::filesystem::current_path(gone);
    std::string line = gone ? "" : "cd " + shell_word(here.string()) + " &&";
    bool there = false;
    for (int i = 0; i < argc; ++i) {
        there = there || argv[i] == extra;
        if (!line.empty()) line += ' ';
        line += shell_word(argv[i]);
    }
    return there ? line : line + ' ' + extra;
}

/// The body of main: parses the command line, then calls `body`. What goes wrong is told in one
/// line on stderr; the exit status is 2 for the command line, 130 after Ctrl-C and 1 for everything
/// else.
template <class Body>
int run_main(CLI::App& app, const CommonFlags& flags, int argc, char** argv, Body&& body) {
    try {
        app.parse(argc, argv);
        if (flags.threads > 0) eggroll::set_num_threads(flags.threads);
        body();
        if (!std::cout.flush() || std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
            throw std::runtime_error("cannot write to stdout");
        }
        return 0;
    } catch (const CLI::Success& help) {
        return app.exit(help, std::cout, std::cerr) != 0 || !std::cout.flush() ? 1 : 0;
    } catch (const CLI::ParseError& error) {
        std::cerr << "error: " << error.what() << " (--help lists the options)" << std::endl;
        return 2;
    } catch (const Interrupted& at) {
        std::cout << "stopped after " << at.generation << " generations; to go on:\n    "
                  << command_line(argc, argv, "--resume") << std::endl;
        return 130;
    } catch (const std::exception& error) {
        // What came from a file may not steer the terminal.
        std::cerr << "error: " << printable(error.what()) << std::endl;
        return 1;
    }
}

}  // namespace examples
