// patch_decoder.h: replays the operations of one component's patch stream.
//
// The applier feeds authenticated payload bytes; the decoder reads old and writes new through the
// ports. It keeps no pointer into the input between calls: what it cannot use yet stays with the
// caller, who puts the next payload bytes behind it (at most kMaxStepInput - 1 bytes are ever left
// over). New is written in ascending order and never read back. All sizes in a PatchJob come from a
// verified statement; everything in the stream is checked, since a signature says who made it and
// not that it is right.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "codec.h"
#include "entropy_decoder.h"
#include "format.h"
#include "operation_model.h"
#include "tensorpatch/apply.h"

namespace tensorpatch {

// The decoder's part of a statement: what sizes its buffers have.
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
  uint8_t column_log2;
  uint32_t reach = 0;  // not 0: in place; how far behind a restart point old may be read
};

// The first byte of old that may be read from a restart point on.
inline uint64_t old_floor(const PatchLimits& limits, uint64_t restart_offset) {
  return limits.reach != 0 && restart_offset > limits.reach ? restart_offset - limits.reach : 0;
}

// Whether tables are larger than the small codec of bytes works with.
inline bool byte_tables_full(const PatchLimits& limits) {
  return limits.match_log2 != 0 || limits.byte_cells_log2 >= kStrongCells;
}

// Whether every field is in the range that docs/FORMAT.md gives.
bool limits_valid(const PatchLimits& limits);

// Bytes of workspace that a decoder with these limits uses (a multiple of 8), without the applier's
// own buffers.
uint32_t decoder_workspace_size(const PatchLimits& limits);

// The applier's buffer for the statement and its framing, and then for one signature.
inline constexpr uint32_t kStatementArea = 1088;

// Bytes of the whole workspace: statement area, left-over, block, decoder. What a bundle declares.
uint32_t workspace_size(const PatchLimits& limits);

using ReadFunction = int (*)(void* context, uint32_t component, uint64_t offset, uint8_t* data,
                             size_t size);

// Everything of one component that the decoder needs to know.
struct PatchJob {
  const tensorpatch_ports* ports;
  ReadFunction read_old;
  uint64_t old_base;                    // what read_old calls the first byte of old
  const tensorpatch_hash_port* digest;  // not null: new is hashed instead of written
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
  kCheckpoint,  // a restart point: all before new_offset is written; input.data is at its chunk
  kDone,        // new is complete and written, the patch stream ended exactly there
  kFailed,      // see patch_decoder_status
};

// What changes while a component is decoded. The numbers that most code looks at come first, where
// small instructions reach them.
struct DecoderState {
  uint8_t state;
  PatchEvent event;
  uint8_t bytes_ready;
  uint8_t checkpointed;  // the restart point at hand has been reported
  uint8_t tile_unchanged;
  uint8_t input_whole;  // all that is left of the payload lies between range.next and range.end
  RangeDecoder range;

  uint32_t position;  // of new, counted from the last restart point
  uint32_t written;   // position up to which write_new was called
  uint8_t* ring;
  uint32_t ring_mask;  // of a position
  size_t budget;       // bytes of new before kWorkLimit

  // The chunk and the operation at work.
  uint32_t chunk_left;           // bytes of new
  uint32_t operation_left;       // bytes of new
  uint32_t tile_left;            // values: elements up to the next tile flag
  uint32_t field;                // records: of the next value
  uint32_t field_left;           // records: values of the field to come
  uint32_t column;               // rows: of the next value
  uint32_t column_numbers_left;  // rows: to come in front of the first value
  uint32_t row_numbers_left;     // rows: to come in front of the next value
  uint32_t learn_left;           // bytes: of old, to be learnt before
  int32_t ratio;                 // records: old scale / new scale

  // Old bytes read ahead.
  uint8_t* old_buffer;
  uint32_t old_used;
  uint32_t old_filled;
  uint64_t old_next;   // offset behind what is in old_buffer
  uint64_t old_floor;  // in place: no byte of old before it is there any more

  uint64_t new_offset;  // in the component
  uint64_t restart_offset;
  uint32_t payload_left;  // bytes of payload, counted between calls
  uint32_t ready_slots;   // bit set of value slots that were reset since the restart point
  tensorpatch_status status;
  const tensorpatch_codec* codec;
  Operation operation;

  // More buffers in the workspace.
  OperationModel* operations;
  ByteState* byte_state;
  Cell* byte_cells;
  uint32_t* matches;
  RowState* rows;
  int32_t* columns;
  uint8_t* slots;
};

// Private to lib/apply; complete here so that an applier can hold it.
struct PatchDecoder : DecoderState {
  PatchJob job;
};

// Begins a component at its start; decoder->job is set.
void patch_decoder_begin(PatchDecoder* decoder, uint8_t* workspace);
// Begins at a restart point; false when new_offset cannot be one.
bool patch_decoder_begin_at(PatchDecoder* decoder, uint8_t* workspace, uint64_t new_offset);
// Works until something must be said; *budget (>= 1) is lowered by the bytes of new that were made.
PatchEvent patch_decoder_run(PatchDecoder* decoder, PatchInput* input, size_t* budget);

inline uint64_t patch_decoder_new_offset(const PatchDecoder* decoder) {
  return decoder->new_offset;
}
inline tensorpatch_status patch_decoder_status(const PatchDecoder* decoder) {
  return decoder->status;
}

// For codecs: bytes of new that may be made now (operation, write unit and budget allow), at most.
uint32_t decoder_output_room(const PatchDecoder* decoder);
// For codecs: says that `size` bytes were put into the ring at position.
void decoder_advance(PatchDecoder* decoder, uint32_t size);
// For codecs: the operation's old as it is; OK or E_READ_OLD.
tensorpatch_status decoder_read_bytes(PatchDecoder* decoder, uint64_t offset, uint8_t* bytes,
                                      uint32_t size);
// For codecs: bytes that old_buffer can hold.
uint32_t decoder_old_buffer_size(const PatchDecoder* decoder);
// For codecs: fills old_buffer with [offset, offset + size) of the operation's old; false: failed.
bool decoder_read_old(PatchDecoder* decoder, uint64_t offset, uint32_t size);
// For codecs: makes at least `size` (<= 8) bytes of old available at old_buffer + old_used; false:
// failed.
bool decoder_need_old(PatchDecoder* decoder, uint32_t size);

inline History decoder_history(const PatchDecoder* decoder) {
  return {decoder->ring, decoder->ring_mask, decoder->ring_mask, decoder->position};
}
// Whether one more step can be decoded from what input there is.
inline bool decoder_can_step(const PatchDecoder* decoder) {
  return decoder->input_whole != 0 ||
         decoder->range.end - decoder->range.next >= static_cast<ptrdiff_t>(format::kMaxStepInput);
}

}  // namespace tensorpatch
