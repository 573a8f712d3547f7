// profile_test.cc: the named profiles keep their promises; profile files, good and bad.
// SPDX-License-Identifier: Apache-2.0
#include "bundle/profile.h"

#include <gtest/gtest.h>

#include "support/temp_folder.h"

namespace tensorpatch::bundle {
namespace {

TEST(Profile, NamesBoundTheWorkspaceForEverySize) {
  for (const Profile& profile : named_profiles()) {
    SCOPED_TRACE(profile.name);
    for (const uint64_t size : {uint64_t{0}, uint64_t{1}, uint64_t{3000}, uint64_t{1} << 16,
                                uint64_t{1} << 24, uint64_t{1} << 40, UINT64_MAX}) {
      const auto limits = fit_limits(profile, size);
      ASSERT_TRUE(limits) << limits.error().message;
      EXPECT_TRUE(limits_valid(*limits)) << size;
      EXPECT_LE(workspace_size(*limits), profile.max_workspace) << size;
    }
  }
}

TEST(Profile, NamedOnesAreThoseOfTheDesign) {
  const auto check = [](const char* name, uint64_t workspace, uint32_t block, uint32_t interval) {
    const auto profile = find_profile(name);
    ASSERT_TRUE(profile) << name;
    EXPECT_EQ(profile->max_workspace, workspace) << name;
    EXPECT_EQ(profile->limits.block_size, block) << name;
    EXPECT_EQ(profile->limits.restart_interval, interval) << name;
    EXPECT_EQ(profile->limits.erase_size, 4096u) << name;
    const bool zstd = (profile->codecs & 1u << format::kCodecZstd) != 0;
    EXPECT_EQ(zstd, std::string(name) == "linux") << name;
  };
  check("linux", 4 << 20, 65536, 1 << 20);
  check("mcu-256k", 256 << 10, 8192, 128 << 10);
  check("mcu-64k", 64 << 10, 4096, 128 << 10);
  check("mcu-16k", 16 << 10, 1024, 64 << 10);
  check("mcu-8k", 8 << 10, 1024, 64 << 10);
  EXPECT_EQ(named_profiles().size(), 5u);
  const auto unknown = find_profile("mcu-4k");
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().code, TENSORPATCH_E_USAGE);
  EXPECT_NE(unknown.error().hint.find("mcu-8k"), std::string::npos);
}

TEST(Profile, SmallFilesNeedLess) {
  const Profile linux_profile = find_profile("linux").value();
  const PatchLimits small = fit_limits(linux_profile, 500).value();
  const PatchLimits large = fit_limits(linux_profile, 1 << 30).value();
  EXPECT_LT(workspace_size(small), workspace_size(large));
  EXPECT_EQ(small.history_log2, 14);  // four writes of 4,096
  EXPECT_EQ(small.byte_cells_log2, 15);
  EXPECT_EQ(small.match_log2, 10);
  EXPECT_EQ(large.history_log2, linux_profile.limits.history_log2);
}

// What a smaller and smaller workspace takes away, and in which order.
TEST(Profile, LessWorkspaceGivesUpInOrder) {
  const Profile profile = find_profile("mcu-256k").value();
  PatchLimits before = fit_limits(profile, 1 << 30).value();
  bool failed = false;
  for (uint64_t workspace = workspace_size(before); !failed; workspace -= 64) {
    const auto limits = fit_limits(lower_workspace(profile, workspace), 1 << 30);
    if (!limits) {
      EXPECT_EQ(limits.error().code, TENSORPATCH_E_LIMIT);
      failed = true;
      break;
    }
    ASSERT_TRUE(limits_valid(*limits));
    ASSERT_LE(workspace_size(*limits), workspace);
    EXPECT_LE(limits->match_log2, before.match_log2);
    if (limits->byte_cells_log2 < before.byte_cells_log2) {
      EXPECT_EQ(limits->match_log2, 0);
    }
    if (limits->value_level < before.value_level) {
      EXPECT_EQ(limits->byte_cells_log2, 8);
    }
    if (limits->value_slots < before.value_slots) {
      EXPECT_EQ(limits->value_level, 0);
    }
    if (limits->history_log2 < before.history_log2) {
      EXPECT_EQ(limits->value_slots, 0);
    }
    EXPECT_EQ(limits->block_size, profile.limits.block_size);
    before = *limits;
  }
  EXPECT_EQ(before.history_log2, 10);  // four writes of 256
}

TEST(Profile, LowerWorkspaceNeverRaises) {
  const Profile profile = find_profile("mcu-16k").value();
  EXPECT_EQ(lower_workspace(profile, 1 << 20).max_workspace, 16u << 10);
  EXPECT_EQ(lower_workspace(profile, 9000).max_workspace, 9000u);
}

TEST(ProfileFile, ValuesReplaceThoseOfTheProfileItIsLike) {
  const auto profile = parse_profile(R"({
    "name": "board-7", "like": "mcu-16k", "max_workspace": 12288, "block_size": 512,
    "restart_interval": 32768, "erase_size": 2048, "write_size": 32, "history": 4096,
    "value_slots": 3, "value_level": "L", "byte_cells": 0, "match_entries": 64,
    "zstd_window": 1024, "codecs": ["values", "zstd"]})");
  ASSERT_TRUE(profile) << profile.error().message;
  EXPECT_EQ(profile->name, "board-7");
  EXPECT_EQ(profile->max_workspace, 12288u);
  EXPECT_EQ(profile->limits.block_size, 512u);
  EXPECT_EQ(profile->limits.restart_interval, 32768u);
  EXPECT_EQ(profile->limits.erase_size, 2048u);
  EXPECT_EQ(profile->limits.write_size, 32u);
  EXPECT_EQ(profile->limits.history_log2, 12);
  EXPECT_EQ(profile->limits.value_slots, 3);
  EXPECT_EQ(profile->limits.value_level, 1);
  EXPECT_EQ(profile->limits.byte_cells_log2, 0);
  EXPECT_EQ(profile->limits.match_log2, 6);
  EXPECT_EQ(profile->limits.zstd_window_log2, 10);
  EXPECT_EQ(profile->codecs, 0b11011u);
}

TEST(ProfileFile, WhatIsNotSaidIsAsInTheOther) {
  const auto profile = parse_profile(R"({"like": "mcu-64k", "name": "mine"})");
  ASSERT_TRUE(profile) << profile.error().message;
  const Profile other = find_profile("mcu-64k").value();
  EXPECT_EQ(profile->name, "mine");
  EXPECT_EQ(profile->max_workspace, other.max_workspace);
  EXPECT_EQ(profile->codecs, other.codecs);
  EXPECT_EQ(workspace_size(profile->limits), workspace_size(other.limits));
}

TEST(ProfileFile, TheExampleOfTheDocumentationWorks) {
  const std::string page = test::read_file(TENSORPATCH_PROFILES_PAGE);
  const size_t begin = page.find("```json\n") + 8;
  const auto profile = parse_profile(page.substr(begin, page.find("```", begin) - begin));
  ASSERT_TRUE(profile) << profile.error().message;
  EXPECT_EQ(profile->name, "sensor-rev-b");
  EXPECT_EQ(profile->max_workspace, 12288u);
  const auto limits = fit_limits(*profile, 300000);
  ASSERT_TRUE(limits) << limits.error().message;
  EXPECT_GE(limits->value_slots, 1);
}

class BadProfileFile : public testing::TestWithParam<const char*> {};

TEST_P(BadProfileFile, IsRefused) {
  const auto profile = parse_profile(GetParam());
  ASSERT_FALSE(profile);
  EXPECT_EQ(profile.error().code, TENSORPATCH_E_USAGE);
}

INSTANTIATE_TEST_SUITE_P(
    All, BadProfileFile,
    testing::Values("", "{", "[]", "7", "{}", R"({"name": "a"})", R"({"like": "linux"})",
                    R"({"name": "A", "like": "linux"})", R"({"name": 1, "like": "linux"})",
                    R"({"name": "a", "like": "windows"})", R"({"name": "a", "like": "linux"} x)",
                    R"({"name": "a", "like": "linux", "color": "red"})",
                    R"({"name": "a", "like": "linux", "like": "linux"})",
                    R"({"name": "a", "like": "linux", "block_size": 512, "block_size": 512})",
                    R"({"name": "a", "like": "linux", "block_size": -1})",
                    R"({"name": "a", "like": "linux", "block_size": 512.0})",
                    R"({"name": "a", "like": "linux", "block_size": "512"})",
                    R"({"name": "a", "like": "linux", "block_size": 100})",
                    R"({"name": "a", "like": "linux", "block_size": 4294967808})",
                    R"({"name": "a", "like": "linux", "block_size": null})",
                    R"({"name": "a", "like": "linux", "max_workspace": 0})",
                    R"({"name": "a", "like": "linux", "history": 5000})",
                    R"({"name": "a", "like": "linux", "history": 8192})",  // less than four writes
                    R"({"name": "a", "like": "linux", "erase_size": 3000})",
                    R"({"name": "a", "like": "linux", "restart_interval": 5000})",
                    R"({"name": "a", "like": "linux", "value_slots": 17})",
                    R"({"name": "a", "like": "linux", "value_slots": 257})",
                    R"({"name": "a", "like": "linux", "value_level": 1})",
                    R"({"name": "a", "like": "linux", "value_level": "M"})",
                    R"({"name": "a", "like": "linux", "byte_cells": 128})",
                    R"({"name": "a", "like": "linux", "match_entries": 1})",
                    R"({"name": "a", "like": "linux", "match_entries": 2})",
                    R"({"name": "a", "like": "linux", "codecs": "zstd"})",
                    R"({"name": "a", "like": "linux", "codecs": ["brotli"]})",
                    R"({"name": "a", "like": "linux", "codecs": ["zstd", "zstd"]})",
                    R"({"name": "a", "like": "linux", "codecs": [3]})",
                    R"({"name": "a", "like": "mcu-8k", "zstd_window": 1024})"));

}  // namespace
}  // namespace tensorpatch::bundle
