// scratch_file_test.cc: written, mapped, and never seen in the folder.
// SPDX-License-Identifier: Apache-2.0
#include "toolkit/scratch_file.h"

#include <gtest/gtest.h>

#include <vector>

#include "support/temp_folder.h"

namespace tensorpatch::toolkit {
namespace {

TEST(ScratchFile, HoldsWhatWasWrittenAndOutlivesItself) {
  const test::TempFolder folder;
  std::vector<uint8_t> expected;
  base::MappedFile mapped;
  {
    auto scratch = ScratchFile::create_beside(folder / "out");
    ASSERT_TRUE(scratch);
    for (unsigned i = 0; i < 1000; ++i) {
      const std::vector<uint8_t> piece(i, static_cast<uint8_t>(i));
      ASSERT_TRUE((*scratch)->write(piece));
      expected.insert(expected.end(), piece.begin(), piece.end());
    }
    EXPECT_EQ(folder.count(), 0u);
    auto result = (*scratch)->map();
    ASSERT_TRUE(result);
    mapped = std::move(*result);
  }
  EXPECT_TRUE(std::ranges::equal(mapped.bytes(), expected));
  EXPECT_EQ(folder.count(), 0u);
}

TEST(ScratchFile, NeedsAFolder) {
  const test::TempFolder folder;
  const auto scratch = ScratchFile::create_beside(folder / "missing/out");
  ASSERT_FALSE(scratch);
  EXPECT_EQ(scratch.error().code, TENSORPATCH_E_IO);
}

}  // namespace
}  // namespace tensorpatch::toolkit
