// toolkit/bsdiff.cc: classic bsdiff patches between files.
// SPDX-License-Identifier: Apache-2.0
#include "delta/bsdiff40.h"
#include "toolkit/paths.h"

namespace tensorpatch::toolkit {

Result<void> bsdiff(const BsdiffFiles& files) {
  if (auto distinct = check_distinct({{files.old_file, files.new_file}, {files.patch}});
      !distinct) {
    return distinct;
  }
  auto old_file = base::MappedFile::open(files.old_file);
  if (!old_file) return tl::unexpected(old_file.error());
  auto new_file = base::MappedFile::open(files.new_file);
  if (!new_file) return tl::unexpected(new_file.error());
  auto patch =
      base::OutputFile::create(files.patch, {.replace = files.existing == Existing::kReplace});
  if (!patch) return tl::unexpected(patch.error());
  auto written = delta::write_bsdiff40(old_file->bytes(), new_file->bytes(), **patch);
  return written ? (*patch)->commit() : written;
}

Result<void> bspatch(const BsdiffFiles& files) {
  if (auto distinct = check_distinct({{files.old_file, files.patch}, {files.new_file}});
      !distinct) {
    return distinct;
  }
  auto old_file = base::MappedFile::open(files.old_file);
  if (!old_file) return tl::unexpected(old_file.error());
  auto patch = base::MappedFile::open(files.patch);
  if (!patch) return tl::unexpected(patch.error());
  auto new_file =
      base::OutputFile::create(files.new_file, {.replace = files.existing == Existing::kReplace});
  if (!new_file) return tl::unexpected(new_file.error());
  auto written = delta::apply_bsdiff40(old_file->bytes(), patch->bytes(), **new_file);
  return written ? (*new_file)->commit() : written;
}

}  // namespace tensorpatch::toolkit
