// SPDX-License-Identifier: MIT
#pragma once

#include "bench/harness.h"

#include <CLI/CLI.hpp>

#include <exception>
#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>

namespace eggroll::bench {

/// Adds an option that takes one value or a list to sweep: --pop 64,1024.
template <class T>
CLI::Option* add_list(CLI::App& app, const std::string& name, std::vector<T>& values,
                      const std::string& description) {
    return app.add_option(name, values, description + "; a list sweeps")->delimiter(',');
}

/// Adds --repeat and --warmup.
inline void add_repeats(CLI::App& app, Repeats& repeats) {
    app.add_option("--repeat", repeats.count, "timed repeats")->check(CLI::Range(1, 100000));
    app.add_option("--warmup", repeats.warmup, "repeats before them")->check(CLI::Range(0, 1000));
}

/// A check for options: `parse` throws std::invalid_argument for a text it cannot read.
template <class Parse>
auto readable_by(Parse parse) {
    return [parse](const std::string& text) {
        try {
            parse(text);
        } catch (const std::invalid_argument& error) {
            return std::string(error.what());
        }
        return std::string();
    };
}

/// Checks that a population is even.
inline std::string even(const std::string& text) {
    return !text.empty() && (text.back() - '0') % 2 == 0 ? "" : "must be even but is " + text;
}

/// Adds --pop, one even population or a list to sweep.
inline CLI::Option* add_populations(CLI::App& app, std::vector<int64_t>& pops,
                                    const std::string& description) {
    return add_list(app, "--pop", pops, description + ", even")
        ->check(CLI::Range(int64_t{2}, int64_t{1} << 32))
        ->check(even);
}

/// The status, or 1 and a word on stderr when what was printed did not arrive.
inline int delivered(int status) {
    std::cout.flush();
    if (std::cout) return status;
    std::cerr << "error: cannot write to stdout" << std::endl;
    return 1;
}

/// The body of main: parses the command line, prints the machine, calls `body`, which returns
/// whether all went well. Status 2 for the command line, 1 for everything else.
template <class Body>
int run_main(CLI::App& app, int argc, char** argv, Body&& body) {
    try {
        app.parse(argc, argv);
        print_machine(app.get_name());
        return delivered(body() ? 0 : 1);
    } catch (const CLI::Success& help) {
        return delivered(app.exit(help));
    } catch (const CLI::ParseError& error) {
        std::cerr << "error: " << error.what() << " (--help lists the options)" << std::endl;
        return 2;
    } catch (const std::exception& error) {
        std::cerr << "error: " << error.what() << std::endl;
        return 1;
    }
}

}  // namespace eggroll::bench
