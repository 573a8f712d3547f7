// layout_test.cc: the structs of schemas/bundle.fbs lie where lib/apply/format.h says.
//
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <map>
#include <string>

#include "apply/format.h"
#include "bundle_generated.h"

namespace tensorpatch::bundle {
namespace {

using Offsets = std::map<std::string, int64_t>;

Offsets offsets_of(const flatbuffers::TypeTable& type) {
  Offsets offsets;
  for (size_t i = 0; i < type.num_elems; ++i) offsets[type.names[i]] = type.values[i];
  offsets["(size)"] = type.values[type.num_elems];
  return offsets;
}

TEST(Layout, StatementHeader) {
  namespace at = format::header;
  const Offsets expected = {
      {"major", at::kMajor},
      {"minor", at::kMinor},
      {"kind", at::kKind},
      {"component_count", at::kComponentCount},
      {"required_flags", at::kRequiredFlags},
      {"optional_flags", at::kOptionalFlags},
      {"security_version", at::kSecurityVersion},
      {"sequence", at::kSequence},
      {"device_class", at::kDeviceClass},
      {"workspace_size", at::kWorkspaceSize},
      {"required_codecs", at::kRequiredCodecs},
      {"block_size", at::kBlockSize},
      {"restart_interval", at::kRestartInterval},
      {"erase_log2", at::kEraseLog2},
      {"write_log2", at::kWriteLog2},
      {"history_log2", at::kHistoryLog2},
      {"value_slots", at::kValueSlots},
      {"value_level", at::kValueLevel},
      {"byte_cells_log2", at::kByteCellsLog2},
      {"match_log2", at::kMatchLog2},
      {"zstd_window_log2", at::kZstdWindowLog2},
      {"column_log2", at::kColumnLog2},
      {"zero_13", at::kZero13},
      {"reach", at::kReach},
      {"manifest_size", at::kManifestSize},
      {"manifest_digest", at::kManifestDigest},
      {"zero_24", at::kZero24},
      {"(size)", at::kSize},
  };
  EXPECT_EQ(offsets_of(*fbs::StatementHeaderTypeTable()), expected);
  EXPECT_EQ(sizeof(fbs::StatementHeader), at::kSize);
}

TEST(Layout, StatementComponent) {
  namespace at = format::component;
  const Offsets expected = {
      {"old_size", at::kOldSize},     {"new_size", at::kNewSize},
      {"patch_size", at::kPatchSize}, {"id", at::kId},
      {"flags", at::kFlags},          {"old_digest", at::kOldDigest},
      {"new_digest", at::kNewDigest}, {"first_block", at::kFirstBlock},
      {"format", at::kFormat},        {"zero_2", at::kZero2},
      {"(size)", at::kSize},
  };
  EXPECT_EQ(offsets_of(*fbs::StatementComponentTypeTable()), expected);
  EXPECT_EQ(sizeof(fbs::StatementComponent), at::kSize);
}

}  // namespace
}  // namespace tensorpatch::bundle
