// toolkit/resume_state.h: the file that lets an interrupted apply go on.
//
// Bytes: magic "TPRS", version u16 (1), flags u16 (bit 0: a checkpoint follows), head size u32, the
// checkpoint record (128 bytes, zero without one), the bundle's head, SHA-256 of all before. It
// exists from before the first partial file is made until after the last has its name; so a partial
// file is ours when and only when there is a state. It proves nothing about the bundle: all of it
// is verified again.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>

#include "toolkit/applier_run.h"

namespace tensorpatch::toolkit {

struct ResumeState {
  std::optional<CheckpointRecord> checkpoint;
  std::vector<uint8_t> head;  // complete when there is a checkpoint
};

// E_CHECKPOINT for anything that store_resume_state did not write.
Result<ResumeState> load_resume_state(const Path& path);
// Replaces what is there, whole or not at all.
Result<void> store_resume_state(const Path& path, const ResumeState& state);

}  // namespace tensorpatch::toolkit
