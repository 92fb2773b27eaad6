// SPDX-License-Identifier: MIT

#include "interrupt.h"

#include <csignal>

namespace examples {

namespace {

volatile std::sig_atomic_t noted = 0;

}  // namespace

void catch_interrupts() {
    struct sigaction action = {};
    action.sa_handler = [](int) { noted = 1; };
    action.sa_flags = SA_RESETHAND | SA_RESTART;
    sigaction(SIGINT, &action, nullptr);
    sigaction(SIGTERM, &action, nullptr);
}

bool interrupted() {
    return noted != 0;
}

}  // namespace examples
