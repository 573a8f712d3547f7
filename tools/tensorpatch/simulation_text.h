// simulation_text.h: what a simulated update costs, in words and as JSON.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "command.h"

namespace tensorpatch::cli {

// `apply --simulate`: runs it and prints the result.
Result<int> run_simulation(const toolkit::SimulateOptions& options, Terminal& terminal);

}  // namespace tensorpatch::cli
