// tests/base/file_test.cc: outputs appear whole or not at all, inputs are read as they are.
// SPDX-License-Identifier: Apache-2.0
#include "base/file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <limits>
#include <vector>

#include "support/temp_folder.h"

namespace tensorpatch::base {
namespace {

using test::read_file;
using test::TempFolder;
using test::write_file;

Bytes bytes_of(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

std::string text_of(Bytes bytes) {
  return {bytes.begin(), bytes.end()};
}

TEST(MappedFile, ShowsTheWholeFile) {
  TempFolder folder;
  std::string content(100000, 'x');
  content += "end";
  write_file(folder / "in", content);
  const auto file = MappedFile::open(folder / "in");
  ASSERT_TRUE(file);
  EXPECT_EQ(text_of(file->bytes()), content);
}

TEST(MappedFile, EmptyFileIsAnEmptySpan) {
  TempFolder folder;
  write_file(folder / "in", "");
  const auto file = MappedFile::open(folder / "in");
  ASSERT_TRUE(file);
  EXPECT_TRUE(file->bytes().empty());
}

TEST(MappedFile, MovingKeepsTheBytes) {
  TempFolder folder;
  write_file(folder / "a", "first");
  write_file(folder / "b", "second");
  auto a = MappedFile::open(folder / "a");
  auto b = MappedFile::open(folder / "b");
  ASSERT_TRUE(a && b);
  const uint8_t* start = a->bytes().data();
  MappedFile moved(std::move(*a));
  EXPECT_EQ(moved.bytes().data(), start);
  moved = std::move(*b);
  EXPECT_EQ(text_of(moved.bytes()), "second");
}

TEST(MappedFile, ShowsARegionAtAnyOffset) {
  TempFolder folder;
  std::string content;
  while (content.size() < 20000) content += std::to_string(content.size());
  write_file(folder / "in", content);
  for (const uint64_t offset : {0U, 1U, 4095U, 4096U, 4097U, 12345U}) {
    auto rest = MappedFile::open(folder / "in", {offset, std::nullopt});
    auto part = MappedFile::open(folder / "in", {offset, 5000});
    auto none = MappedFile::open(folder / "in", {offset, 0});
    ASSERT_TRUE(rest && part && none);
    EXPECT_EQ(text_of(rest->bytes()), content.substr(offset));
    EXPECT_EQ(text_of(part->bytes()), content.substr(offset, 5000));
    EXPECT_TRUE(none->bytes().empty());
  }
  EXPECT_TRUE(MappedFile::open(folder / "in", {content.size(), std::nullopt})->bytes().empty());
}

TEST(MappedFile, RefusesARegionBeyondTheEnd) {
  TempFolder folder;
  write_file(folder / "in", std::string(5000, 'x'));
  constexpr uint64_t kHuge = std::numeric_limits<uint64_t>::max();
  for (const Region region :
       {Region{5001, std::nullopt}, Region{0, 5001}, Region{4999, 2}, Region{5000, 1},
        Region{1, kHuge}, Region{kHuge, 1}, Region{kHuge, kHuge}}) {
    const auto file = MappedFile::open(folder / "in", region);
    ASSERT_FALSE(file) << region.offset;
    EXPECT_EQ(file.error().code, TENSORPATCH_E_OLD);
  }
}

TEST(MappedFile, RefusesWhatIsNotAFile) {
  TempFolder folder;
  const auto missing = MappedFile::open(folder / "none");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, TENSORPATCH_E_IO);
  EXPECT_NE(missing.error().message.find("no such file"), std::string::npos);
  EXPECT_FALSE(MappedFile::open(folder.path()));
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  EXPECT_FALSE(MappedFile::open(folder / "pipe"));
}

TEST(ReadSmallFile, HoldsTheLimit) {
  TempFolder folder;
  write_file(folder / "in", "12345");
  EXPECT_EQ(read_small_file(folder / "in", 5).value_or("?"), "12345");
  const auto larger = read_small_file(folder / "in", 4);
  ASSERT_FALSE(larger);
  EXPECT_EQ(larger.error().code, TENSORPATCH_E_LIMIT);
  EXPECT_EQ(read_small_file(folder / "none", 4).error().code, TENSORPATCH_E_IO);
  EXPECT_EQ(read_small_file(folder.path(), 4).error().code, TENSORPATCH_E_IO);
}

TEST(ReadSmallFile, ReadsMoreThanOnePiece) {
  TempFolder folder;
  std::string content(200001, 'a');
  content.back() = 'z';
  write_file(folder / "in", content);
  EXPECT_EQ(read_small_file(folder / "in", content.size()).value_or("?"), content);
  EXPECT_FALSE(read_small_file(folder / "in", content.size() - 1));
}

TEST(OutputFile, AppearsOnlyByCommit) {
  TempFolder folder;
  auto file = OutputFile::create(folder / "out", {});
  ASSERT_TRUE(file);
  ASSERT_TRUE((*file)->write(bytes_of("one ")));
  ASSERT_TRUE((*file)->write(bytes_of("two")));
  EXPECT_FALSE(std::filesystem::exists(folder / "out"));
  ASSERT_TRUE((*file)->commit());
  EXPECT_EQ(read_file(folder / "out"), "one two");
  file->reset();
  EXPECT_EQ(folder.count(), 1U);
}

TEST(OutputFile, LeavesNothingWithoutCommit) {
  TempFolder folder;
  {
    auto file = OutputFile::create(folder / "out", {});
    ASSERT_TRUE(file);
    ASSERT_TRUE((*file)->write(bytes_of(std::string(200000, 'x'))));
    EXPECT_EQ(folder.count(), 1U);
  }
  EXPECT_EQ(folder.count(), 0U);
}

TEST(OutputFile, KeepsTheOrderOfSmallAndLargeWrites) {
  TempFolder folder;
  auto file = OutputFile::create(folder / "out", {});
  ASSERT_TRUE(file);
  std::string expected;
  for (const size_t size : {1U, 65535U, 3U, 65536U, 0U, 200000U, 7U}) {
    const std::string piece(size, static_cast<char>('a' + size % 26));
    expected += piece;
    ASSERT_TRUE((*file)->write(bytes_of(piece)));
  }
  ASSERT_TRUE((*file)->commit());
  EXPECT_EQ(read_file(folder / "out"), expected);
}

TEST(OutputFile, RandomAccessSeesWhatWasWritten) {
  TempFolder folder;
  auto file = OutputFile::create(folder / "out", {});
  ASSERT_TRUE(file);
  ASSERT_TRUE((*file)->write(bytes_of("0123456789")));
  ASSERT_TRUE((*file)->write_at(4, bytes_of("xy")));
  std::vector<uint8_t> back(10);
  ASSERT_TRUE((*file)->read_at(0, back));
  EXPECT_EQ(text_of(back), "0123xy6789");
  ASSERT_TRUE((*file)->write(bytes_of("!")));
  const auto behind_end = (*file)->read_at(5, back);
  ASSERT_FALSE(behind_end);
  EXPECT_EQ(behind_end.error().code, TENSORPATCH_E_IO);
  EXPECT_EQ((*file)->write_at(UINT64_MAX, bytes_of("z")).error().code, TENSORPATCH_E_LIMIT);
  EXPECT_EQ((*file)->read_at(UINT64_MAX - 1, back).error().code, TENSORPATCH_E_LIMIT);
  ASSERT_TRUE((*file)->commit());
  EXPECT_EQ(read_file(folder / "out"), "0123xy6789!");
}

TEST(OutputFile, RefusesAnExistingFile) {
  TempFolder folder;
  write_file(folder / "out", "precious");
  const auto file = OutputFile::create(folder / "out", {});
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().code, TENSORPATCH_E_EXISTS);
  EXPECT_FALSE(file.error().hint.empty());
  EXPECT_EQ(folder.count(), 1U);
}

TEST(OutputFile, RefusesAFileThatAppearedMeanwhile) {
  TempFolder folder;
  {
    auto file = OutputFile::create(folder / "out", {});
    ASSERT_TRUE(file);
    ASSERT_TRUE((*file)->write(bytes_of("late")));
    write_file(folder / "out", "precious");
    const auto committed = (*file)->commit();
    ASSERT_FALSE(committed);
    EXPECT_EQ(committed.error().code, TENSORPATCH_E_EXISTS);
  }
  EXPECT_EQ(read_file(folder / "out"), "precious");
  EXPECT_EQ(folder.count(), 1U);
}

TEST(OutputFile, ReplacesWhenTold) {
  TempFolder folder;
  write_file(folder / "out", "before");
  auto file = OutputFile::create(folder / "out", {.replace = true});
  ASSERT_TRUE(file);
  ASSERT_TRUE((*file)->write(bytes_of("after")));
  EXPECT_EQ(read_file(folder / "out"), "before");
  ASSERT_TRUE((*file)->commit());
  EXPECT_EQ(read_file(folder / "out"), "after");
  EXPECT_EQ(folder.count(), 1U);
}

TEST(OutputFile, NeverReplacesWhatIsNotAFile) {
  TempFolder folder;
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  EXPECT_FALSE(OutputFile::create(folder / "pipe", {.replace = true}));
  EXPECT_FALSE(OutputFile::create(folder.path(), {.replace = true}));
  EXPECT_FALSE(OutputFile::create(folder / "", {}));
  EXPECT_FALSE(OutputFile::create(folder / "none" / "out", {}));
  EXPECT_EQ(folder.count(), 1U);
}

TEST(OutputFile, ADanglingLinkCountsAsExisting) {
  TempFolder folder;
  std::filesystem::create_symlink(folder / "none", folder / "out");
  EXPECT_EQ(OutputFile::create(folder / "out", {}).error().code, TENSORPATCH_E_EXISTS);
}

TEST(OutputFile, HasTheModeThatWasAsked) {
  TempFolder folder;
  auto file = OutputFile::create(folder / "key", {.mode = 0600});
  ASSERT_TRUE(file && (*file)->commit());
  struct stat status {};
  ASSERT_EQ(::stat((folder / "key").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0600U);
}

TEST(OutputFile, TakesTheLongestNameOfTheFileSystem) {
  TempFolder folder;
  const std::string name(255, 'n');
  auto file = OutputFile::create(folder / name, {});
  ASSERT_TRUE(file && (*file)->commit());
  EXPECT_TRUE(std::filesystem::exists(folder / name));
}

TEST(IsSameFile, SeesThroughLinksAndSpellings) {
  TempFolder folder;
  write_file(folder / "a", "1");
  write_file(folder / "b", "1");
  std::filesystem::create_symlink(folder / "a", folder / "soft");
  std::filesystem::create_hard_link(folder / "a", folder / "hard");
  EXPECT_TRUE(is_same_file(folder / "a", folder / "a"));
  EXPECT_TRUE(is_same_file(folder / "a", folder / "soft"));
  EXPECT_TRUE(is_same_file(folder / "hard", folder / "a"));
  EXPECT_TRUE(is_same_file(folder / "a", folder.path() / "." / "a"));
  EXPECT_FALSE(is_same_file(folder / "a", folder / "b"));
  EXPECT_FALSE(is_same_file(folder / "a", folder / "none"));
  EXPECT_FALSE(is_same_file(folder / "none", folder / "none"));
}

}  // namespace
}  // namespace tensorpatch::base
