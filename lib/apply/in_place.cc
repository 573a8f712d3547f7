// in_place.cc: old and new in one region of storage, and the move of old.
//
// New is written from the region's start, ascending, while old is read further on. A restart point
// can be gone on from as long as nothing that is read behind it has been written over: old begins
// at least a margin (restart interval + reach, whole erase pages) behind the region's start. If it
// does not, it is first moved to the region's end, page by page from its end downwards. A record
// comes before every erase that would take away what an earlier record needs, so that whatever a
// power cut leaves can be done again; no page is ever kept twice.
// SPDX-License-Identifier: Apache-2.0
#include "applier.h"

namespace tensorpatch {
namespace {

tensorpatch_status plan(Applier* a) {
  InPlace* place = &a->place;
  const PatchLimits& limits = tensorpatch::limits(*a);
  const uint8_t* fields = component_at(*a, 0);
  const bool whole = (fields[format::component::kFlags] & format::kComponentWhole) != 0;
  if (a->component_count != 1 || (limits.reach == 0 && !whole)) return TENSORPATCH_E_IN_PLACE;
  if (a->resuming != 0 && a->phase == PlacePhase::kBeside) return TENSORPATCH_E_CHECKPOINT;

  const tensorpatch_region& region = *a->options.region;
  const uint64_t old = old_size(*a, 0);
  const uint64_t page_mask = limits.erase_size - 1;
  const uint64_t margin =
      (uint64_t{limits.restart_interval} + limits.reach + page_mask) & ~page_mask;
  if (((region.size | region.old_offset) & page_mask) != 0 || region.old_offset > region.size ||
      old > region.size || new_size(*a, 0) > region.size ||
      region.size / limits.erase_size > UINT32_MAX) {
    return TENSORPATCH_E_CAPACITY;
  }
  const uint64_t recorded_at = uint64_t{place->record_page} * limits.erase_size;
  if (a->phase == PlacePhase::kWriting) {  // old_offset says where old was
    place->old_at = recorded_at;
    place->moved = 0;
    const bool fits = recorded_at >= margin && recorded_at <= region.size - old;
    return fits ? TENSORPATCH_OK : TENSORPATCH_E_CHECKPOINT;
  }
  const uint64_t top = (old + page_mask) & ~page_mask;  // region.size bounds it
  if (region.old_offset > region.size - top) return TENSORPATCH_E_CAPACITY;
  const bool stays = region.old_offset >= margin || old == 0;
  if (!stays && region.size - top < margin) return TENSORPATCH_E_CAPACITY;
  place->old_at = stays ? region.old_offset : region.size - top;
  if (a->phase == PlacePhase::kMoving) {
    const bool possible = !stays && place->moved <= top && (place->moved & page_mask) == 0 &&
                          place->old_at == recorded_at;
    place->recorded = place->moved;
    return possible ? TENSORPATCH_OK : TENSORPATCH_E_CHECKPOINT;
  }
  place->moved = stays ? 0 : top;
  place->recorded = UINT64_MAX;
  a->phase = PlacePhase::kChecking;
  return TENSORPATCH_OK;
}

// Only if what was decoded makes new, something is written.
tensorpatch_status end_checking(Applier* a) {
  const tensorpatch_status status =
      expect_digest(a->options.region->hash, component_at(*a, 0) + format::component::kNewDigest);
  if (status != TENSORPATCH_OK) return status;
  if (a->ports.write_new == nullptr) return TENSORPATCH_DONE;
  a->consumed = a->first_block;
  a->phase = PlacePhase::kMoving;
  return enter(a, State::kMove);
}

// Stores that old from `moved` on is in its place.
tensorpatch_status record_move(Applier* a) {
  a->place.recorded = a->place.moved;
  return save_record(
      a, {{0, 0}, a->place.moved, component_at(*a, 0) + format::component::kFirstBlock});
}

// Moves old out of new's way, a piece a call, and at last notes that it may be written over.
tensorpatch_status move(Applier* a, Feed* feed) {
  InPlace* place = &a->place;
  if (place->moved == 0) {
    a->phase = PlacePhase::kWriting;
    const tensorpatch_status status = record_move(a);
    return status == TENSORPATCH_OK ? enter(a, State::kComponent) : status;
  }
  const tensorpatch_ports& ports = a->ports;
  const PatchLimits& limits = tensorpatch::limits(*a);
  const uint64_t old_offset = a->options.region->old_offset;
  const uint64_t begin = place->moved - limits.erase_size;  // of the page, in old
  if (place->copied == 0) {
    // What the last record needs must stay: all of old below it where it was.
    if (place->recorded - begin > place->old_at - old_offset) return record_move(a);
    if (ports.erase != nullptr &&
        ports.erase(ports.context, 0, place->old_at + begin, limits.erase_size) != 0) {
      return TENSORPATCH_E_ERASE;
    }
    feed->charge(limits.erase_size);
  }
  const uint64_t old = old_size(*a, 0);
  const uint64_t end = place->moved < old ? place->moved : old;
  const uint64_t at = begin + place->copied;
  uint8_t* buffer = a->workspace + kBufferAt;  // nothing else is in the workspace now
  uint32_t size =
      (workspace_size(limits) - static_cast<uint32_t>(kBufferAt)) & ~(limits.write_size - 1);
  if (end - at < size) size = static_cast<uint32_t>(end - at);
  if (ports.read_new(ports.context, 0, old_offset + at, buffer, size) != 0) {
    return TENSORPATCH_E_READ_NEW;
  }
  if (ports.write_new(ports.context, 0, place->old_at + at, buffer, size) != 0) {
    return TENSORPATCH_E_WRITE_NEW;
  }
  feed->charge(size);
  place->copied += size;
  if (at + size == end) {
    a->done += place->moved - begin;
    place->moved = begin;
    place->copied = 0;
  }
  return TENSORPATCH_OK;
}

}  // namespace
}  // namespace tensorpatch

extern "C" const tensorpatch_in_place tensorpatch_in_place_method = {
    tensorpatch::plan, tensorpatch::end_checking, tensorpatch::move};
