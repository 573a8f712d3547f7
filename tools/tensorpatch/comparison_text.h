// comparison_text.h: what became of every tensor, as a table of 80 columns and as JSON.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "tensorpatch/toolkit.h"
#include "terminal.h"

namespace tensorpatch::cli {

// The table, largest share of the patch first, and the advice. Sizes are short: 12.3K is 12.3 times
// 1024 bytes. Lines of at most 80 columns, of ASCII whatever names hold.
std::string comparison_text(const toolkit::Comparison& comparison);

// docs/man/tensorpatch-diff.1 describes every key.
Json comparison_json(const toolkit::Comparison& comparison);

// A name in ASCII, its middle left out when it is longer than `width`.
std::string shortened(const std::string& name, size_t width);

// "12.3K": at most 5 characters.
std::string short_size(uint64_t size);

}  // namespace tensorpatch::cli
