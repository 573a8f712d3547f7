// tests/faults/schedules_test.cc: power cuts at every operation of the flash, and random lives.
//
// The campaign (docs/TESTING.md) runs many more of the same.
// SPDX-License-Identifier: Apache-2.0
#include "faults/schedules.h"

#include <gtest/gtest.h>

#include <string>

namespace tensorpatch::test {
namespace {

std::string text_of(const FlashGeometry& geometry, const PlannedCut& cut) {
  return "pages of " + std::to_string(geometry.page_size) + ", words of " +
         std::to_string(geometry.write_size) + ", operation " + std::to_string(cut.operation) +
         ", " + cut_name(cut.cut);
}

constexpr FlashGeometry kGeometries[] = {{256, 0, 1, 0xFF, false},
                                         {256, 0, 4, 0x00, true},
                                         {512, 0, 8, 0xFF, true},
                                         {256, 0, 32, 0x00, false},
                                         {4096, 0, 8, 0xFF, false}};

// One cut at every operation of the flash, in every way.
void sweep_cuts(Verdict (*run)(const SchedulePlan&), uint64_t (*count)(const SchedulePlan&),
                std::span<const FlashGeometry> geometries = kGeometries) {
  for (const FlashGeometry& geometry : geometries) {
    SchedulePlan plan;
    plan.geometry = geometry;
    plan.bundle_write_size = geometry.write_size == 32 ? 1 : 0;
    const uint64_t operations = count(plan);
    ASSERT_GT(operations, 10u);
    uint64_t resumed = 0;
    for (uint64_t operation = 1; operation <= operations; ++operation) {
      for (const Cut cut : kCuts) {
        plan.cuts = {{operation, cut}};
        const Verdict verdict = run(plan);
        ASSERT_EQ(verdict.wrong, "") << text_of(geometry, plan.cuts[0]);
        ASSERT_EQ(verdict.cuts, 1u) << text_of(geometry, plan.cuts[0]);
        ASSERT_TRUE(verdict.ended_new);
        resumed += verdict.resumes;
      }
    }
    EXPECT_GT(resumed, operations) << "checkpoints are hardly used";
  }
}

TEST(Schedules, AStreamedUpdateGoesOnAfterEveryCut) {
  sweep_cuts(run_stream, stream_operations);
}

TEST(Schedules, SlotsAreRightAfterEveryCut) {
  sweep_cuts(run_slots, slots_operations);
}

TEST(Schedules, AnUpdateInPlaceGoesOnAfterEveryCut) {
  sweep_cuts(run_in_place, in_place_operations, std::span(kGeometries).first(3));
}

TEST(Schedules, TheWayBackGoesOnAfterEveryCut) {
  sweep_cuts(run_undo, undo_operations, std::span(kGeometries).subspan(1, 1));
}

// In place everything is read again after the failure, old and what the region holds by then.
TEST(Schedules, EveryFailingOperationAndReadInPlaceIsSurvived) {
  SchedulePlan plan;
  plan.geometry = {256, 0, 8, 0xFF, true};
  const uint64_t operations = in_place_operations(plan);
  for (uint64_t n = 1; n <= operations; ++n) {
    SchedulePlan failing = plan;
    failing.failing_operation = n;
    EXPECT_EQ(run_in_place(failing).wrong, "") << "operation " << n;
    failing = plan;
    failing.failing_read = n;
    EXPECT_EQ(run_in_place(failing).wrong, "") << "read " << n;
  }
}

TEST(Schedules, ABadModelRollsBackAfterEveryCut) {
  for (const bool rejects : {false, true}) {
    SchedulePlan plan;
    plan.geometry = {256, 0, 8, 0xFF, true};
    plan.new_is_bad = true;
    plan.rejects = rejects;
    const uint64_t operations = slots_operations(plan);
    for (uint64_t operation = 1; operation <= operations; ++operation) {
      for (const Cut cut : kCuts) {
        plan.cuts = {{operation, cut}};
        const Verdict verdict = run_slots(plan);
        ASSERT_EQ(verdict.wrong, "") << text_of(plan.geometry, plan.cuts[0]);
        ASSERT_FALSE(verdict.ended_new);
      }
    }
  }
}

TEST(Schedules, EveryFailingOperationAndReadIsSurvived) {
  SchedulePlan plan;
  plan.geometry = {256, 0, 8, 0xFF, false};
  const uint64_t operations = stream_operations(plan);
  for (uint64_t n = 1; n <= operations; ++n) {
    SchedulePlan failing = plan;
    failing.failing_operation = n;
    EXPECT_EQ(run_stream(failing).wrong, "") << "operation " << n;
    failing = plan;
    failing.failing_read = n;
    EXPECT_EQ(run_stream(failing).wrong, "") << "read " << n;
  }
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
