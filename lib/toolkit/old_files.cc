// toolkit/old_files.cc: opening and counting; what the files hold is the applier's to judge.
// SPDX-License-Identifier: Apache-2.0
#include "toolkit/old_files.h"

namespace tensorpatch::toolkit {

Result<base::MappedFile> open_old_file(const OldFile& file) {
  const FileRegion& region = file.region;
  if (!file.path.empty()) return base::MappedFile::open(file.path, {region.offset, region.size});
  if (region.offset == 0 && !region.size) return base::MappedFile();
  return fail(TENSORPATCH_E_USAGE, "an old offset or size was given where there is no old file");
}

Result<std::vector<base::MappedFile>> open_old_files(const std::vector<OldFile>& files) {
  std::vector<base::MappedFile> opened;
  for (const OldFile& file : files) {
    auto mapped = open_old_file(file);
    if (!mapped) return tl::unexpected(mapped.error());
    opened.push_back(std::move(*mapped));
  }
  return opened;
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
