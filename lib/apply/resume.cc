// resume.cc: going on from a checkpoint; linked only where tensorpatch_apply_resume is called.
// SPDX-License-Identifier: Apache-2.0
#include "applier.h"

namespace tensorpatch {
namespace {

namespace checkpoint = format::checkpoint;

// Goes to the component that the record names.
tensorpatch_status find_component(Applier* a) {
  a->component = a->resume_component;
  if (a->component >= a->component_count) return TENSORPATCH_E_CHECKPOINT;
  for (uint32_t i = 0; i < a->component; ++i) {
    const uint64_t blocks = format::block_count(patch_size(*a, i), a->blocks.block_size);
    a->consumed += patch_size(*a, i) + (blocks == 0 ? 0 : (blocks - 1) * kDigest);
    a->done += new_size(*a, i);
  }
  a->paused = 1;
  return TENSORPATCH_OK;
}

// Goes to the block and the restart point that it names. The decoder's job is set.
tensorpatch_status find_block(Applier* a) {
  a->resuming = 0;
  BlockReader* blocks = &a->blocks;
  const uint64_t size = patch_size(*a, a->component);
  if (size == 0) {
    if (a->restart_offset != 0) return TENSORPATCH_E_CHECKPOINT;
    ++a->component;
    return TENSORPATCH_OK;
  }
  const uint64_t index = a->resume_index;
  const uint8_t* digest = blocks->digests;  // tensorpatch_apply_resume put it there
  const uint8_t* first = component_at(*a, a->component) + format::component::kFirstBlock;
  if (index >= format::block_count(size, blocks->block_size) ||
      (index == 0 && memcmp(digest, first, kDigest) != 0)) {
    return TENSORPATCH_E_CHECKPOINT;
  }
  block_reader_begin(blocks, size, index, digest);
  const uint64_t payload_offset = index * format::block_payload(blocks->block_size) + a->skip;
  const BlockPosition position = block_reader_position(*blocks, payload_offset);
  if (payload_offset >= size || position.index != index ||
      !patch_decoder_begin_at(&a->decoder, blocks->buffer + blocks->block_size,
                              a->restart_offset)) {
    return TENSORPATCH_E_CHECKPOINT;
  }
  a->consumed += index * blocks->block_size;
  a->input.patch_remaining = size - payload_offset;
  a->erased = a->restart_offset;
  a->done += a->restart_offset;
  return enter(a, State::kBlock);
}

tensorpatch_status resume(Applier* a) {
  return a->state == State::kComponent ? find_block(a) : find_component(a);
}

// The record's fields; OK, E_HASH or E_CHECKPOINT.
tensorpatch_status take_record(Applier* a, const uint8_t* record) {
  uint8_t digest[kDigest];
  const tensorpatch_status status = digest_of(*a, record, checkpoint::kCheckAt, digest);
  if (status != TENSORPATCH_OK) return status;
  const uint8_t phase = record[checkpoint::kPhaseAt];
  const uint32_t old_page = wire::read_u32(record + checkpoint::kOldPageAt);
  a->resume_component = record[checkpoint::kComponentAt];
  if (memcmp(record + checkpoint::kMagicAt, checkpoint::kMagic, sizeof checkpoint::kMagic) != 0 ||
      wire::read_u16(record + checkpoint::kVersionAt) != checkpoint::kVersion ||
      memcmp(digest, record + checkpoint::kCheckAt, kDigest) != 0 ||
      a->resume_component >= format::kMaxComponents || phase > checkpoint::kWriting ||
      (phase == checkpoint::kBeside && old_page != 0)) {
    return TENSORPATCH_E_CHECKPOINT;
  }
  a->resuming = 1;
  a->resume = resume;
  a->phase = static_cast<PlacePhase>(phase);
  a->place.record_page = old_page;
  a->restart_offset = wire::read_u64(record + checkpoint::kNewOffsetAt);
  a->place.moved = a->restart_offset;
  a->resume_index = wire::read_u64(record + checkpoint::kBlockIndexAt);
  a->skip = wire::read_u32(record + checkpoint::kBlockOffsetAt);
  memcpy(a->workspace + kStatementDigestAt, record + checkpoint::kStatementDigestAt, kDigest);
  memcpy(a->workspace + kBlockDigestsAt, record + checkpoint::kBlockDigestAt, kDigest);
  return TENSORPATCH_OK;
}

}  // namespace
}  // namespace tensorpatch

extern "C" tensorpatch_status tensorpatch_apply_resume(
    tensorpatch_applier* applier, const uint8_t record[TENSORPATCH_CHECKPOINT_SIZE]) {
  using namespace tensorpatch;
  if (applier == nullptr || record == nullptr) return TENSORPATCH_E_ARGUMENT;
  Applier* a = applier_of(applier);
  if (a->status != TENSORPATCH_OK) return static_cast<tensorpatch_status>(a->status);
  if (a->state != State::kPrefix || a->filled != 0) return TENSORPATCH_E_STATE;
  const tensorpatch_status status = take_record(a, record);
  a->status = static_cast<uint16_t>(status);
  return status;
}
