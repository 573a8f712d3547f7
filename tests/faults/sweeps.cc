// tests/faults/sweeps.cc: see sweeps.h.
// SPDX-License-Identifier: Apache-2.0
#include "faults/sweeps.h"

#include <cstdio>
#include <cstdlib>

namespace tensorpatch::test {
namespace {

constexpr SweptLife kLives[] = {{"stream", run_stream},
                                {"slots", run_slots},
                                {"slots, a bad model hangs", run_slots, true, false},
                                {"slots, a bad model is rejected", run_slots, true, true},
                                {"in place", run_in_place},
                                {"undo", run_undo}};

constexpr FlashGeometry kGeometries[] = {{256, 0, 1, 0xFF, false},
                                         {256, 0, 4, 0x00, true},
                                         {512, 0, 8, 0xFF, true},
                                         {256, 0, 32, 0x00, false},
                                         {4096, 0, 8, 0xFF, false}};

SchedulePlan quiet_plan(const SweptLife& life, const FlashGeometry& geometry) {
  SchedulePlan plan;
  plan.geometry = geometry;
  plan.bundle_write_size = geometry.write_size == 32 ? 1 : 0;
  plan.new_is_bad = life.new_is_bad;
  plan.rejects = life.rejects;
  return plan;
}

Verdict run_quiet(const SweptLife& life, const SchedulePlan& plan) {
  const Verdict verdict = life.run(plan);
  if (verdict.wrong.empty() && verdict.operations > 10) return verdict;
  std::fprintf(stderr, "%s, without faults: %s\n", life.name, verdict.wrong.c_str());
  std::abort();
}

}  // namespace

std::span<const SweptLife> swept_lives() {
  return kLives;
}

std::span<const FlashGeometry> swept_geometries() {
  return kGeometries;
}

void sweep_cuts(const SweptLife& life, const FlashGeometry& geometry, const Visit& visit) {
  SchedulePlan plan = quiet_plan(life, geometry);
  const uint64_t operations = run_quiet(life, plan).operations;
  for (uint64_t operation = 1; operation <= operations; ++operation) {
    for (const Cut cut : kCuts) {
      plan.cuts = {{operation, cut}};
      if (!visit(plan, life.run(plan))) return;
    }
  }
}

void sweep_pairs(const SweptLife& life, const FlashGeometry& geometry, const Visit& visit) {
  sweep_cuts(life, geometry, [&](const SchedulePlan& first, const Verdict&) {
    SchedulePlan plan = first;
    for (uint64_t operation = 1;; ++operation) {
      for (const Cut cut : kCuts) {
        plan.cuts = {first.cuts[0], {operation, cut}};
        const Verdict verdict = life.run(plan);
        if (verdict.wrong.empty() && verdict.cuts < 2) return true;  // and so with later ones
        if (!visit(plan, verdict)) return false;
      }
    }
  });
}

void sweep_failures(const SweptLife& life, const FlashGeometry& geometry, const Visit& visit) {
  const SchedulePlan quiet = quiet_plan(life, geometry);
  const Verdict verdict = run_quiet(life, quiet);
  for (uint64_t n = 1; n <= verdict.operations; ++n) {
    SchedulePlan plan = quiet;
    plan.failing_operation = n;
    if (!visit(plan, life.run(plan))) return;
  }
  for (uint64_t n = 1; n <= verdict.reads; ++n) {
    SchedulePlan plan = quiet;
    plan.failing_read = n;
    if (!visit(plan, life.run(plan))) return;
  }
}

std::string text_of(const SchedulePlan& plan) {
  std::string text = "pages of " + std::to_string(plan.geometry.page_size) + ", words of " +
                     std::to_string(plan.geometry.write_size);
  for (const PlannedCut& each : plan.cuts) {
    text += ", cut in operation " + std::to_string(each.operation) + " " + cut_name(each.cut);
  }
  if (plan.failing_operation != 0) {
    text += ", operation " + std::to_string(plan.failing_operation) + " fails";
  }
  if (plan.failing_read != 0) text += ", read " + std::to_string(plan.failing_read) + " fails";
  return text;
}

}  // namespace tensorpatch::test
