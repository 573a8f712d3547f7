// paths_test.cc: an output is never an input, under whatever name.
// SPDX-License-Identifier: Apache-2.0
#include "toolkit/paths.h"

#include <gtest/gtest.h>

#include "support/temp_folder.h"

namespace tensorpatch::toolkit {
namespace {

tensorpatch_status status_of(const Result<void>& result) {
  return result ? TENSORPATCH_OK : result.error().code;
}

TEST(Paths, DifferentFilesAreDistinct) {
  const test::TempFolder folder;
  test::write_file(folder / "a", "1");
  test::write_file(folder / "b", "1");
  EXPECT_EQ(status_of(check_distinct({{folder / "a", folder / "a", {}}, {folder / "b", {}}})),
            TENSORPATCH_OK);
}

TEST(Paths, FindsAnInputUnderEveryName) {
  const test::TempFolder folder;
  test::write_file(folder / "a", "1");
  std::filesystem::create_directory(folder / "x");
  std::filesystem::create_symlink("a", folder / "soft");
  std::filesystem::create_hard_link(folder / "a", folder / "hard");
  std::filesystem::create_directory_symlink(".", folder / "here");
  for (const char* name : {"a", "x/../a", "./a", "soft", "hard", "here/a"}) {
    const auto distinct = check_distinct({{folder / "a"}, {folder / name}});
    EXPECT_EQ(status_of(distinct), TENSORPATCH_E_USAGE) << name;
  }
}

TEST(Paths, FindsTwoOutputsThatDoNotExistYet) {
  const test::TempFolder folder;
  std::filesystem::create_directory(folder / "x");
  EXPECT_EQ(status_of(check_distinct({{}, {folder / "n", folder / "x/../n"}})),
            TENSORPATCH_E_USAGE);
  EXPECT_EQ(status_of(check_distinct({{}, {folder / "n", folder / "x/n"}})), TENSORPATCH_OK);
}

TEST(Paths, KeepsWhatExists) {
  const test::TempFolder folder;
  test::write_file(folder / "a", "1");
  std::filesystem::create_symlink("nowhere", folder / "dangling");
  EXPECT_EQ(status_of(check_free(folder / "a", Existing::kKeep)), TENSORPATCH_E_EXISTS);
  EXPECT_EQ(status_of(check_free(folder / "dangling", Existing::kKeep)), TENSORPATCH_E_EXISTS);
  EXPECT_EQ(status_of(check_free(folder / "a", Existing::kReplace)), TENSORPATCH_OK);
  EXPECT_EQ(status_of(check_free(folder / "b", Existing::kKeep)), TENSORPATCH_OK);
}

}  // namespace
}  // namespace tensorpatch::toolkit
