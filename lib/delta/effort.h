// delta/effort.h: what the levels of pack try, from 1 (quick) to 9 (small).
//
// Within a level choices are by size, never by time. A level above the default tries all that the
// default tries and more, chunk by chunk, so that its patches are never larger. Low levels also use
// less of what the decoder may have, so that they are quick to apply.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "apply/patch_decoder.h"

namespace tensorpatch::delta {

inline constexpr unsigned kLeastLevel = 1;
inline constexpr unsigned kDefaultLevel = 6;
inline constexpr unsigned kMostLevel = 9;

// One way to look for operations.
struct PlanEffort {
  uint64_t copy_run;    // equal bytes that are worth an operation of their own
  unsigned samples;     // of a long stretch, in which every coding is tried; 0: in all of it
  unsigned tile_shift;  // tiles that choose for themselves are so many times halved
  unsigned copies;      // is tried where the first plan has so many
};

struct Effort {
  std::span<const PlanEffort> plans;  // each is tried
  bool typed_bytes;                   // values may also be coded as bytes
  bool all_types;                     // bytes of no known type may be of any, not of 8 bits only
  bool special;                       // maps of new zeros, grids
  bool rows;                          // gains and low ranks are fitted
  bool wholes;                        // several stretches may become one, and learn what is in old
  uint8_t value_level;                // at most
  uint8_t byte_cells_log2;            // at most
  int zstd_level;
};

namespace efforts {
inline constexpr PlanEffort kQuick[] = {{1024, 2, 0, 0}};
inline constexpr PlanEffort kSome[] = {{1024, 4, 0, 0}};
inline constexpr PlanEffort kUsual[] = {{1024, 8, 0, 0}, {8192, 8, 0, 4}};
inline constexpr PlanEffort kMore[] = {{1024, 8, 0, 0}, {8192, 8, 0, 4}, {256, 8, 0, 4}};
inline constexpr PlanEffort kMany[] = {
    {1024, 8, 0, 0}, {8192, 8, 0, 4}, {256, 16, 1, 0}, {8192, 16, 1, 0}};
inline constexpr PlanEffort kMost[] = {
    {1024, 8, 0, 0}, {8192, 8, 0, 4}, {256, 0, 2, 0}, {1024, 0, 2, 0}, {8192, 0, 2, 0}};

inline constexpr Effort kLevels[kMostLevel] = {
    {kQuick, false, false, false, false, false, 0, 9, 3},
    {kQuick, false, false, true, false, false, 0, 12, 6},
    {kSome, false, true, true, false, false, 1, 13, 9},
    {kSome, true, true, true, false, false, 1, 16, 12},
    {kSome, true, true, true, true, false, 1, 20, 16},
    {kUsual, true, true, true, true, true, 1, 20, 19},
    {kMore, true, true, true, true, true, 1, 20, 19},
    {kMany, true, true, true, true, true, 1, 20, 20},
    {kMost, true, true, true, true, true, 1, 20, 22},
};
}  // namespace efforts

// `level` within [kLeastLevel, kMostLevel].
inline const Effort& effort_of(unsigned level) {
  return efforts::kLevels[level - kLeastLevel];
}

// What a level uses of the limits.
inline PatchLimits limits_at_level(PatchLimits limits, unsigned level) {
  const Effort& effort = effort_of(level);
  limits.value_level = std::min(limits.value_level, effort.value_level);
  limits.byte_cells_log2 = std::min(limits.byte_cells_log2, effort.byte_cells_log2);
  return limits;
}

}  // namespace tensorpatch::delta
