// new_file_test.cc: a new file has its name only after commit; a part file stays until then.
// SPDX-License-Identifier: Apache-2.0
#include "toolkit/new_file.h"

#include <gtest/gtest.h>

#include "support/temp_folder.h"

namespace tensorpatch::toolkit {
namespace {

const uint8_t kText[] = {'h', 'e', 'l', 'l', 'o'};

TEST(NewFile, TemporaryIsGoneWithoutCommit) {
  const test::TempFolder folder;
  {
    auto file = NewFile::create_temporary(folder / "n", Existing::kKeep);
    ASSERT_TRUE(file);
    ASSERT_TRUE((*file)->write_at(0, kText));
  }
  EXPECT_EQ(folder.count(), 0u);
}

TEST(NewFile, PartStaysAndGoesOn) {
  const test::TempFolder folder;
  {
    auto file = NewFile::create_part(folder / "n", Existing::kKeep);
    ASSERT_TRUE(file);
    ASSERT_TRUE((*file)->write_at(0, kText));
    ASSERT_TRUE((*file)->sync());
  }
  EXPECT_EQ(test::read_file(folder / "n.part"), "hello");
  auto file = NewFile::open_part(folder / "n", Existing::kKeep);
  ASSERT_TRUE(file);
  uint8_t back[3] = {};
  ASSERT_TRUE((*file)->read_at(1, back));
  EXPECT_EQ(std::string(std::begin(back), std::end(back)), "ell");
  ASSERT_TRUE((*file)->write_at(5, kText));
  ASSERT_TRUE((*file)->commit(7));  // what an interrupted run wrote beyond the end is cut
  EXPECT_EQ(test::read_file(folder / "n"), "hellohe");
  EXPECT_EQ(folder.count(), 1u);
}

TEST(NewFile, ReadingBeyondTheEndIsAnError) {
  const test::TempFolder folder;
  auto file = NewFile::create_part(folder / "n", Existing::kKeep);
  ASSERT_TRUE(file);
  ASSERT_TRUE((*file)->write_at(0, kText));
  uint8_t back[6] = {};
  const auto read = (*file)->read_at(0, back);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, TENSORPATCH_E_NEW);
}

TEST(NewFile, PartDoesNotReplaceAFileThatAppeared) {
  const test::TempFolder folder;
  auto file = NewFile::create_part(folder / "n", Existing::kKeep);
  ASSERT_TRUE(file);
  test::write_file(folder / "n", "precious");
  const auto named = (*file)->commit(0);
  ASSERT_FALSE(named);
  EXPECT_EQ(named.error().code, TENSORPATCH_E_EXISTS);
  EXPECT_EQ(test::read_file(folder / "n"), "precious");
  (*file)->discard();
  EXPECT_EQ(folder.count(), 1u);
}

TEST(NewFile, PartReplacesOnRequest) {
  const test::TempFolder folder;
  test::write_file(folder / "n", "precious");
  auto file = NewFile::create_part(folder / "n", Existing::kReplace);
  ASSERT_TRUE(file);
  ASSERT_TRUE((*file)->write_at(0, kText));
  ASSERT_TRUE((*file)->commit(5));
  EXPECT_EQ(test::read_file(folder / "n"), "hello");
}

TEST(NewFile, PartIsNotWrittenThroughALink) {
  const test::TempFolder folder;
  test::write_file(folder / "victim", "precious");
  std::filesystem::create_symlink("victim", folder / "n.part");
  ASSERT_TRUE(NewFile::create_part(folder / "n", Existing::kKeep));
  EXPECT_EQ(test::read_file(folder / "victim"), "precious");
  std::filesystem::remove(folder / "n.part");
  std::filesystem::create_symlink("victim", folder / "n.part");
  EXPECT_FALSE(NewFile::open_part(folder / "n", Existing::kKeep));
}

TEST(NewFile, NoPartToGoOnWith) {
  const test::TempFolder folder;
  const auto file = NewFile::open_part(folder / "n", Existing::kKeep);
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().code, TENSORPATCH_E_CHECKPOINT);
}

}  // namespace
}  // namespace tensorpatch::toolkit
