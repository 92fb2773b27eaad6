// SPDX-License-Identifier: MIT
#pragma once

#include "bench/harness.h"

#include <CLI/CLI.hpp>

#include <exception>
#include <iostream>
#include <string>

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

/// The body of main: parses the command line, prints the machine, calls `body`, which returns
/// whether all went well. Status 2 for the command line, 1 for everything else.
template <class Body>
int run_main(CLI::App& app, int argc, char** argv, Body&& body) {
    try {
        app.parse(argc, argv);
        print_machine(app.get_name());
        return body() ? 0 : 1;
    } catch (const CLI::Success& help) {
        return app.exit(help);
    } catch (const CLI::ParseError& error) {
        std::cerr << "error: " << error.what() << " (--help lists the options)" << std::endl;
        return 2;
    } catch (const std::exception& error) {
        std::cerr << "error: " << error.what() << std::endl;
        return 1;
    }
}

}  // namespace eggroll::bench
