// tests/support/patch_replay.h: replays a patch stream through the decoder the way the applier
// does.
//
// The stream comes in bites; what the decoder leaves is kept and put before the next bite, in a
// buffer of exactly that size. Old files, workspace and new are of exactly their size too, so that
// a sanitizer sees the first byte beyond. Every rule for callers and callbacks is checked: the
// first one broken is in Replayed::misuse.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "apply/patch_decoder.h"

namespace tensorpatch::test {

// Where decoding can begin again.
struct RestartPoint {
  uint64_t new_offset = 0;
  uint64_t patch_offset = 0;
};

struct Replay {
  std::vector<std::vector<uint8_t>> old_files;  // of all components
  uint32_t component = 0;
  uint64_t new_size = 0;
  PatchLimits limits{};
  bool without_codecs = false;  // only copies and zstd are known
  size_t bite = 0;              // bytes of input at a time, 0: all
  size_t budget = SIZE_MAX;     // bytes of new a call
  std::optional<RestartPoint> from;
};

struct Replayed {
  PatchEvent event = PatchEvent::kFailed;  // kNeedInput: the stream is too short
  tensorpatch_status status = TENSORPATCH_OK;
  std::vector<uint8_t> new_file;  // what was written; from a restart point on, what came after it
  std::vector<RestartPoint> restart_points;
  std::string misuse;  // empty when there was none
};

Replayed replay(const Replay& job, const std::vector<uint8_t>& patch);

}  // namespace tensorpatch::test
