// page.h: HTML pages: one about comparisons (treemap, histogram, plot by layers, table), and one
// about a snapped model (size and metric against the grid, tensors before and after).
//
// A page holds all it needs: style, script and the data as JSON, in which nothing can end the
// element that it stands in. Template, style and script are in the folder page/.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "terminal.h"

namespace tensorpatch::cli {

// `comparisons`: objects of comparison_json(), one a file, each perhaps with a "title".
std::string page_text(const std::string& title, const Json& comparisons);

// `report`: the object of toolkit::snap_report_json().
std::string snap_page_text(const std::string& title, const Json& report);

}  // namespace tensorpatch::cli
