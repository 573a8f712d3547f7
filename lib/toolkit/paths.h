// toolkit/paths.h: checks of file names before any work.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "tensorpatch/toolkit.h"

namespace tensorpatch::toolkit {

struct Paths {
  std::vector<Path> inputs;  // empty paths are passed over
  std::vector<Path> outputs;
};

// E_USAGE when an output is also an input or another output, also through links or other spellings.
Result<void> check_distinct(const Paths& paths);

// E_EXISTS when something is in the way of an output that must not be replaced.
Result<void> check_free(const Path& output, Existing existing);

std::string quoted(const Path& path);

// E_IO: "cannot <what>: <reason that errno tells>".
tl::unexpected<Error> system_error(const std::string& what);

}  // namespace tensorpatch::toolkit
