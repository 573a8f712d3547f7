// tests/fuzz/patch_input.h: what an input of fuzz_patch_decoder means; for the target and its
// seeds.
//
// Byte 0: the limits. 1, 2: size of new. 3: bite. 4: budget (0: none). 5: which restart point. 6,
// 7: a place to begin at, new offset / 64 and offset in the stream. Then the patch stream.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <random>
#include <vector>

#include "support/patch_replay.h"

namespace tensorpatch::test {

inline constexpr size_t kPatchInputHeader = 8;

inline std::vector<uint8_t> fuzz_old() {
  std::mt19937 random(1);
  std::vector<uint8_t> old_file(6000);
  for (size_t i = 0; i < old_file.size(); ++i) {
    const auto any = static_cast<uint32_t>(random());
    // Floats of like sizes, then text, then small integers.
    old_file[i] = static_cast<uint8_t>(i < 3000   ? (i % 4 == 3 ? 0x3C : any >> 7)
                                       : i < 4500 ? static_cast<uint8_t>("weights, bias"[any % 13])
                                                  : any % 9);
  }
  return old_file;
}

inline PatchLimits fuzz_limits(uint8_t choice) {
  PatchLimits limits = {256, 4096, 1024, 64, 9, 2, 1, 10, 6, 0, 8};
  if ((choice & 1) != 0) limits.value_level = 0;
  if ((choice & 2) != 0) limits.byte_cells_log2 = 8, limits.match_log2 = 0;
  if ((choice & 4) != 0) limits.history_log2 = 8;
  if ((choice & 8) != 0) limits.erase_size = 64, limits.restart_interval = 1024;
  if ((choice & 16) != 0) limits.value_slots = 16;
  if ((choice & 32) != 0) limits.zstd_window_log2 = 10;
  if ((choice & 64) != 0) limits.reach = 200;
  return limits;
}

}  // namespace tensorpatch::test
