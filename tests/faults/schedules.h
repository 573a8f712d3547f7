// tests/faults/schedules.h: whole lives of simulated devices, each decided by one number.
//
// A schedule is a device with raw flash, real bundles, the real applier, ports and slots, and a
// plan: power cuts inside of flash operations, operations and reads that fail, broken pages, pushes
// that never come. After every restart the device goes on as firmware would. It must end with
// exactly old or exactly new, never use anything else in between, and need no more starts than the
// plan can explain. The same seed gives the same schedule.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "support/flash_simulator.h"

namespace tensorpatch::test {

struct Verdict {
  std::string wrong;        // empty: everything held
  uint64_t operations = 0;  // of the flash, over all starts
  uint64_t reads = 0;       // the same
  uint32_t starts = 0;
  uint32_t cuts = 0;     // that happened
  uint32_t resumes = 0;  // from a checkpoint
  uint32_t faults = 0;   // planned, of other kinds
  bool ended_new = false;
};

// A power cut: in the operation of that number since the start before, counted from 1.
struct PlannedCut {
  uint64_t operation;
  Cut cut;
};

struct SchedulePlan {
  FlashGeometry geometry;
  uint64_t seed = 0;  // of what the flash holds at first, garbage, sizes of pieces
  uint32_t log_pages = 3;
  uint32_t bundle_write_size = 0;   // what the bundle was made for; 0: that of the flash
  std::vector<PlannedCut> cuts;     // the second is armed after the restart from the first, ...
  uint64_t failing_operation = 0;   // 0: none; in the first start
  uint64_t failing_read = 0;        // 0: none; in the first start
  uint64_t silent_after_bytes = 0;  // 0: none; the first start gets no more of the bundle
  int broken_page = -1;             // of new's area, in place of the region, from the start
  int broken_log_page = -1;         // of the log
  bool checks_signature = false;    // Ed25519 costs more than all the rest
  bool has_mac = false;             // checkpoints carry one
  // Only slots.
  bool new_is_bad = false;  // the second version never says that it works
  bool rejects = false;     // it is given up by itself, not by running out of trials
  uint32_t trials = 3;
};

// One update that is streamed to the other area, resumed from checkpoints.
Verdict run_stream(const SchedulePlan& plan);
// Two updates one after another in two slots, with trials.
Verdict run_slots(const SchedulePlan& plan);

// One update in place, in a region that holds old at a place that the seed decides; with undo the
// way back after it.
Verdict run_in_place(const SchedulePlan& plan);
Verdict run_undo(const SchedulePlan& plan);

// Operations of the flash in a run without faults.
uint64_t in_place_operations(const SchedulePlan& plan);
uint64_t undo_operations(const SchedulePlan& plan);

// A kind of random schedules.
struct ScheduleKind {
  const char* name;
  Verdict (*run)(uint64_t seed);
};
std::span<const ScheduleKind> schedule_kinds();

}  // namespace tensorpatch::test
