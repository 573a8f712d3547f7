// resume_state_test.cc: what was stored is loaded; everything else is refused.
// SPDX-License-Identifier: Apache-2.0
#include "toolkit/resume_state.h"

#include <gtest/gtest.h>

#include "support/temp_folder.h"

namespace tensorpatch::toolkit {
namespace {

ResumeState example() {
  ResumeState state;
  state.checkpoint.emplace();
  for (size_t i = 0; i < state.checkpoint->size(); ++i) {
    (*state.checkpoint)[i] = static_cast<uint8_t>(i);
  }
  state.head = {1, 2, 3, 4, 5};
  return state;
}

TEST(ResumeState, ComesBack) {
  const test::TempFolder folder;
  ASSERT_TRUE(store_resume_state(folder / "s", example()));
  const auto state = load_resume_state(folder / "s");
  ASSERT_TRUE(state);
  EXPECT_EQ(state->checkpoint, example().checkpoint);
  EXPECT_EQ(state->head, example().head);
  EXPECT_EQ(folder.count(), 1u);
}

TEST(ResumeState, ComesBackEmpty) {
  const test::TempFolder folder;
  ASSERT_TRUE(store_resume_state(folder / "s", {}));
  const auto state = load_resume_state(folder / "s");
  ASSERT_TRUE(state);
  EXPECT_FALSE(state->checkpoint);
  EXPECT_TRUE(state->head.empty());
}

TEST(ResumeState, RefusesEveryChangedBitAndEveryCut) {
  const test::TempFolder folder;
  ASSERT_TRUE(store_resume_state(folder / "s", example()));
  const std::string good = test::read_file(folder / "s");
  ASSERT_EQ(good.size(), 12u + 128u + 5u + 32u);
  for (size_t bit = 0; bit < good.size() * 8; ++bit) {
    std::string bad = good;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << bit % 8));
    test::write_file(folder / "s", bad);
    const auto state = load_resume_state(folder / "s");
    ASSERT_FALSE(state) << bit;
    EXPECT_EQ(state.error().code, TENSORPATCH_E_CHECKPOINT);
  }
  for (size_t size = 0; size < good.size(); ++size) {
    test::write_file(folder / "s", good.substr(0, size));
    EXPECT_FALSE(load_resume_state(folder / "s")) << size;
  }
  test::write_file(folder / "s", good + "x");
  EXPECT_FALSE(load_resume_state(folder / "s"));
}

}  // namespace
}  // namespace tensorpatch::toolkit
