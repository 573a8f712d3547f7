// tests/faults/sweeps.h: every schedule of one sort, one after another.
//
// A life without faults says how many operations and reads of the flash there are; then each of
// them is hit, in every way.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <span>
#include <string>

#include "faults/schedules.h"

namespace tensorpatch::test {

// What is swept: a kind of life without faults.
struct SweptLife {
  const char* name;
  Verdict (*run)(const SchedulePlan& plan);
  bool new_is_bad = false;
  bool rejects = false;
};
std::span<const SweptLife> swept_lives();

// Small flash of every kind: words of 1 to 32 bytes, both erased values, with and without ECC.
std::span<const FlashGeometry> swept_geometries();

// Sees each schedule; false ends the sweep.
using Visit = std::function<bool(const SchedulePlan& plan, const Verdict& verdict)>;

// One cut, at every operation.
void sweep_cuts(const SweptLife& life, const FlashGeometry& geometry, const Visit& visit);
// Two cuts: the second, at every operation too, after the restart from the first. Where the life
// ends before the second, the pair is not visited.
void sweep_pairs(const SweptLife& life, const FlashGeometry& geometry, const Visit& visit);
// One operation that fails, then one read: each there is.
void sweep_failures(const SweptLife& life, const FlashGeometry& geometry, const Visit& visit);

// The faults of a plan, to be read by people.
std::string text_of(const SchedulePlan& plan);

}  // namespace tensorpatch::test
