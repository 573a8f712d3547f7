// toolkit/old_files.h: the old files that a command was given for a bundle, one a component.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "base/file.h"
#include "bundle/bundle_reader.h"
#include "tensorpatch/toolkit.h"

namespace tensorpatch::toolkit {

// Maps the region of the file; an empty path, for a component that is a whole file, gives an empty
// one, and has no region (E_USAGE).
Result<base::MappedFile> open_old_file(const OldFile& file);
Result<std::vector<base::MappedFile>> open_old_files(const std::vector<OldFile>& files);

// E_USAGE unless there is one file a component, or none at all.
Result<void> check_old_count(size_t given, const bundle::BundleReader& reader);

}  // namespace tensorpatch::toolkit
