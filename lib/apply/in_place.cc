// in_place.cc: see in_place.h.
// SPDX-License-Identifier: Apache-2.0
#include "in_place.h"

namespace tensorpatch {
namespace {

tensorpatch_status plan(InPlace* place, const PlaceJob& job) {
  const tensorpatch_region& region = *job.region;
  const uint64_t page_mask = job.erase_size - 1;
  const uint64_t margin = (job.margin + page_mask) & ~page_mask;
  if ((region.size & page_mask) != 0 || (region.old_offset & page_mask) != 0 ||
      region.old_offset > region.size || job.old_size > region.size || job.new_size > region.size ||
      region.size / job.erase_size > UINT32_MAX) {
    return TENSORPATCH_E_CAPACITY;
  }
  if (place->phase == PlacePhase::kWriting) {  // old_offset says where old was
    place->old_at = uint64_t{place->record_page} * job.erase_size;
    place->moved = 0;
    const bool fits = place->old_at >= margin && place->old_at <= region.size - job.old_size;
    return fits ? TENSORPATCH_OK : TENSORPATCH_E_CHECKPOINT;
  }
  const uint64_t top = (job.old_size + page_mask) & ~page_mask;  // region.size bounds it
  if (region.old_offset > region.size - top) return TENSORPATCH_E_CAPACITY;
  const bool stays = region.old_offset >= margin || job.old_size == 0;
  if (!stays && region.size - top < margin) return TENSORPATCH_E_CAPACITY;
  place->old_at = stays ? region.old_offset : region.size - top;
  if (place->phase == PlacePhase::kMoving) {
    const bool possible = !stays && place->moved <= top && (place->moved & page_mask) == 0 &&
                          place->old_at == uint64_t{place->record_page} * job.erase_size;
    place->recorded = place->moved;
    return possible ? TENSORPATCH_OK : TENSORPATCH_E_CHECKPOINT;
  }
  place->moved = stays ? 0 : top;
  place->recorded = UINT64_MAX;
  place->phase = PlacePhase::kChecking;
  return TENSORPATCH_OK;
}

MoveEvent move(InPlace* place, const PlaceJob& job, Feed* feed) {
  if (place->moved == 0) return MoveEvent::kDone;
  const tensorpatch_ports& ports = *job.ports;
  const uint64_t begin = place->moved - job.erase_size;  // of the page, in old
  if (place->copied == 0) {
    // What the last record needs must stay: all of old below it where it was.
    if (place->recorded - begin > place->old_at - job.region->old_offset) return MoveEvent::kRecord;
    if (ports.erase != nullptr &&
        ports.erase(ports.context, 0, place->old_at + begin, job.erase_size) != 0) {
      return MoveEvent::kErase;
    }
    feed->charge(job.erase_size);
  }
  const uint64_t end = place->moved < job.old_size ? place->moved : job.old_size;
  const uint64_t at = begin + place->copied;
  const uint32_t size =
      end - at < job.buffer_size ? static_cast<uint32_t>(end - at) : job.buffer_size;
  if (ports.read_new(ports.context, 0, job.region->old_offset + at, job.buffer, size) != 0) {
    return MoveEvent::kRead;
  }
  if (ports.write_new(ports.context, 0, place->old_at + at, job.buffer, size) != 0) {
    return MoveEvent::kWrite;
  }
  feed->charge(size);
  place->copied += size;
  if (at + size == end) {
    place->moved = begin;
    place->copied = 0;
  }
  return MoveEvent::kMore;
}

}  // namespace
}  // namespace tensorpatch

extern "C" const tensorpatch_in_place tensorpatch_in_place_method = {tensorpatch::plan,
                                                                     tensorpatch::move};
