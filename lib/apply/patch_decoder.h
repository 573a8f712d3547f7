// patch_decoder.h: replays the operations of one component's patch stream.
//
// The applier feeds authenticated payload bytes from one buffer; the decoder reads old and writes
// new through the ports. It keeps no pointer into the input between calls: what it cannot use yet
// stays with the caller, who puts the next payload bytes behind it (at most kMaxStepInput - 1 bytes
// are ever left over). All sizes it trusts come from a statement that has been verified.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "format.h"
#include "tensorpatch/apply.h"

namespace tensorpatch {

// The decoder's part of a statement: what sizes its buffers have. Validated by limits_valid().
struct PatchLimits {
  uint32_t block_size;
  uint32_t restart_interval;
  uint32_t erase_size;
  uint32_t write_size;
  uint8_t history_log2;
  uint8_t value_slots;
  uint8_t value_level;
  uint8_t byte_cells_log2;
  uint8_t match_log2;
  uint8_t zstd_window_log2;
};

// Whether every field is in the range that docs/FORMAT.md gives.
bool limits_valid(const PatchLimits& limits);

// Bytes of workspace that a decoder with these limits uses (a multiple of 8), without the applier's
// own buffers (statement, block).
uint32_t decoder_workspace_size(const PatchLimits& limits);

// Bytes of the whole workspace: statement, block with its left-over bytes, decoder. This is what a
// bundle declares.
uint32_t workspace_size(const PatchLimits& limits);

// Everything of one component that the decoder needs to know.
struct PatchJob {
  const tensorpatch_ports* ports;
  const tensorpatch_codec* const* codecs;
  size_t codec_count;
  PatchLimits limits;
  uint32_t component;
  uint32_t component_count;
  uint64_t old_sizes[format::kMaxComponents];
  uint64_t new_size;
};

struct PatchInput {
  const uint8_t* data;  // authenticated payload; advanced by what was used
  size_t size;
  uint64_t
      patch_remaining;  // payload bytes of the component not used yet, those in `data` included
};

enum class PatchEvent : uint8_t {
  kNeedInput,   // all but a left-over of `input` is used; append payload and call again
  kWorkLimit,   // the budget is used up; call again
  kCheckpoint,  // a restart point: everything before new_offset is flushed; input.data is at its
                // chunk
  kDone,        // new is complete, the patch stream ended exactly there
  kFailed,      // see status
};

struct PatchDecoder;  // defined in patch_decoder.cc's header part below; fixed size, no heap

// Begins a component at its start.
void patch_decoder_begin(PatchDecoder* decoder, const PatchJob& job, uint8_t* workspace);
// Begins at a restart point; false when new_offset cannot be one.
bool patch_decoder_begin_at(PatchDecoder* decoder, const PatchJob& job, uint8_t* workspace,
                            uint64_t new_offset);
// Works until something must be said. `budget` is lowered by the bytes written (and is at least 1).
PatchEvent patch_decoder_run(PatchDecoder* decoder, PatchInput* input, size_t* budget);
uint64_t patch_decoder_new_offset(const PatchDecoder* decoder);
tensorpatch_status patch_decoder_status(const PatchDecoder* decoder);

}  // namespace tensorpatch
