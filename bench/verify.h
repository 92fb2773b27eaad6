// SPDX-License-Identifier: MIT
#pragma once

namespace eggroll::bench {

/// Checks this machine with every instruction set its processor has, and with its GPU where there
/// is one or `need_gpu` says so: known answers, a reference in double, and parameters that a run
/// has on every machine. Prints a line a check; true when all passed.
bool verify(bool need_gpu);

}  // namespace eggroll::bench
