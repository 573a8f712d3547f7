// toolkit/snap_report.h: the report of `snap` as JSON, and what of it goes into a bundle.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

#include "tensorpatch/toolkit.h"

namespace tensorpatch::toolkit {

// The files of an update, by component.
struct UpdateDigests {
  const std::vector<Digest>& old_files;
  const std::vector<Digest>& new_files;
};

using Metadata = std::vector<std::pair<std::string, std::string>>;

// What the manifest says of components that were snapped: "snap.grid" and so on, of the second
// component "snap2.grid" (docs/FORMAT.md, section 6). E_FORMAT when a file is no report of a model
// that was written, E_USAGE when it speaks of other files than the update's.
Result<Metadata> snap_metadata(const std::vector<Path>& reports, const UpdateDigests& digests);

// Whether only a report may tell such a fact: "snap.grid", "snap2.grid".
bool is_snap_key(std::string_view key);

}  // namespace tensorpatch::toolkit
