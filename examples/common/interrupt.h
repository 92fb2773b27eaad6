// SPDX-License-Identifier: MIT
#pragma once

namespace examples {

/// From here on the first Ctrl-C (or SIGTERM) is only noted, so that the generation under way can
/// be finished; a second one ends the program as ever.
void catch_interrupts();
bool interrupted();

}  // namespace examples
