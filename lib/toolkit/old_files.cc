// toolkit/old_files.cc: opening and counting; what the files hold is the applier's to judge.
// SPDX-License-Identifier: Apache-2.0
#include "toolkit/old_files.h"

namespace tensorpatch::toolkit {

Result<std::vector<base::MappedFile>> open_old_files(const std::vector<Path>& paths) {
  std::vector<base::MappedFile> files;
  for (const Path& path : paths) {
    auto file = path.empty() ? base::MappedFile() : base::MappedFile::open(path);
    if (!file) return tl::unexpected(file.error());
    files.push_back(std::move(*file));
  }
  return files;
}

Result<void> check_old_count(size_t given, const bundle::BundleReader& reader) {
  const size_t count = reader.statement().components.size();
  if (given == 0 || given == count) return {};
  return fail(TENSORPATCH_E_USAGE,
              "the bundle has " + std::to_string(count) + " component(s), but " +
                  std::to_string(given) + " old file(s) were given",
              "give --old once a component, in the order that `tensorpatch inspect` shows");
}

}  // namespace tensorpatch::toolkit
