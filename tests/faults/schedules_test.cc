// tests/faults/schedules_test.cc: power cuts at every operation of the flash, and random lives.
//
// The campaign (docs/TESTING.md) runs many more of the same.
// SPDX-License-Identifier: Apache-2.0
#include "faults/schedules.h"

#include <gtest/gtest.h>

#include <span>
#include <string_view>

#include "faults/sweeps.h"

namespace tensorpatch::test {
namespace {

const SweptLife& life_of(std::string_view name) {
  for (const SweptLife& life : swept_lives()) {
    if (life.name == name) return life;
  }
  ADD_FAILURE() << "there is no life " << name;
  return swept_lives()[0];
}

// One cut at every operation of the flash, in every way.
void expect_right_after_cuts(const SweptLife& life, std::span<const FlashGeometry> geometries) {
  for (const FlashGeometry& geometry : geometries) {
    uint64_t schedules = 0, resumed = 0;
    sweep_cuts(life, geometry, [&](const SchedulePlan& plan, const Verdict& verdict) {
      EXPECT_EQ(verdict.wrong, "") << text_of(plan);
      EXPECT_EQ(verdict.cuts, 1u) << text_of(plan);
      EXPECT_EQ(verdict.ended_new, !life.new_is_bad) << text_of(plan);
      resumed += verdict.resumes;
      ++schedules;
      return !testing::Test::HasFailure();
    });
    EXPECT_GT(resumed, schedules / 8) << "checkpoints are hardly used";
  }
}

TEST(Schedules, AStreamedUpdateGoesOnAfterEveryCut) {
  expect_right_after_cuts(life_of("stream"), swept_geometries());
}

TEST(Schedules, SlotsAreRightAfterEveryCut) {
  expect_right_after_cuts(life_of("slots"), swept_geometries());
}

TEST(Schedules, AnUpdateInPlaceGoesOnAfterEveryCut) {
  expect_right_after_cuts(life_of("in place"), swept_geometries().first(3));
}

TEST(Schedules, TheWayBackGoesOnAfterEveryCut) {
  expect_right_after_cuts(life_of("undo"), swept_geometries().subspan(1, 1));
}

TEST(Schedules, ABadModelRollsBackAfterEveryCut) {
  const auto geometry = swept_geometries().subspan(2, 1);
  expect_right_after_cuts(life_of("slots, a bad model hangs"), geometry);
  expect_right_after_cuts(life_of("slots, a bad model is rejected"), geometry);
}

// Everything is read again after the failure: in place old, too, and what the region holds by then.
TEST(Schedules, EveryFailingOperationAndReadIsSurvived) {
  constexpr FlashGeometry kGeometry = {256, 0, 8, 0xFF, false};
  for (const SweptLife& life : swept_lives()) {
    uint64_t schedules = 0;
    sweep_failures(life, kGeometry, [&](const SchedulePlan& plan, const Verdict& verdict) {
      EXPECT_EQ(verdict.wrong, "") << life.name << ", " << text_of(plan);
      EXPECT_EQ(verdict.ended_new, !life.new_is_bad) << life.name << ", " << text_of(plan);
      ++schedules;
      return !testing::Test::HasFailure();
    });
    EXPECT_GT(schedules, 50u) << life.name;
  }
}

TEST(Schedules, ABrokenPageStopsAnUpdateInPlaceAndNeverLooksDone) {
  uint32_t stopped = 0;
  for (const char* const name : {"in place", "undo"}) {
    for (int page = 0; page < 8; ++page) {
      SchedulePlan plan;
      plan.geometry = {256, 0, 8, 0xFF, false};
      plan.broken_page = page;
      const Verdict verdict = life_of(name).run(plan);
      EXPECT_EQ(verdict.wrong, "") << name << ", page " << page;
      stopped += verdict.ended_new ? 0u : 1u;
    }
  }
  EXPECT_GE(stopped, 12u);
}

TEST(Schedules, ABrokenPageStopsTheUpdateAndOneOfTheLogDoesNot) {
  SchedulePlan plan;
  plan.geometry = {256, 0, 8, 0xFF, false};
  for (int page = 0; page < 3; ++page) {
    SchedulePlan broken = plan;
    broken.broken_page = page;
    const Verdict stopped = run_stream(broken);
    EXPECT_EQ(stopped.wrong, "");
    EXPECT_FALSE(stopped.ended_new);
    broken = plan;
    broken.broken_log_page = page;
    const Verdict went_on = run_stream(broken);
    EXPECT_EQ(went_on.wrong, "");
    EXPECT_TRUE(went_on.ended_new);
    EXPECT_EQ(went_on.starts, 1u);
  }
}

TEST(Schedules, RandomLives) {
  for (const ScheduleKind& kind : schedule_kinds()) {
    uint64_t cuts = 0;
    for (uint64_t seed = 1; seed <= 300; ++seed) {
      const Verdict verdict = kind.run(seed);
      ASSERT_EQ(verdict.wrong, "") << kind.name << ", seed " << seed;
      cuts += verdict.cuts;
    }
    EXPECT_GT(cuts, 100u) << kind.name;
  }
}

}  // namespace
}  // namespace tensorpatch::test
