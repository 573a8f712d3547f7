// in_place.h: where old and new are when they share one region of storage, and the move of old.
//
// New is written from the region's start, ascending, while old is read further on. A restart point
// can be gone on from as long as nothing that is read behind it has been written over: old begins
// at least a margin (restart interval + reach, whole erase pages) behind the region's start. If it
// does not, it is first moved to the region's end, page by page from its end downwards. A record
// comes before every erase that would take away what an earlier record needs, so that whatever a
// power cut leaves can be done again; no page is ever kept twice.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "block_reader.h"
#include "format.h"
#include "tensorpatch/apply.h"

namespace tensorpatch {

enum class PlacePhase : uint8_t {
  kBeside = format::checkpoint::kBeside,
  kMoving = format::checkpoint::kMoving,
  kWriting = format::checkpoint::kWriting,
  kChecking,  // everything is decoded, nothing is written
};

struct InPlace {
  uint64_t old_at;       // where old is while new is written
  uint64_t moved;        // bytes of old from here on are at old_at, those before at the old place
  uint64_t recorded;     // what `moved` was in the last record
  uint32_t copied;       // bytes of the page below `moved`
  uint32_t record_page;  // of a record to go on from: old_at in erase pages
  PlacePhase phase;
};

struct PlaceJob {
  const tensorpatch_ports* ports;
  const tensorpatch_region* region;
  uint64_t old_size;
  uint64_t new_size;
  uint64_t margin;  // restart interval + reach, not rounded
  uint32_t erase_size;
  uint8_t* buffer;
  uint32_t buffer_size;  // a multiple of the write size
};

enum class MoveEvent : uint8_t {
  kMore,    // call again
  kRecord,  // store a record of `moved` first
  kDone,
  kRead,  // failed
  kWrite,
  kErase,
};

}  // namespace tensorpatch

// What the linker drops when no region is given.
struct tensorpatch_in_place {
  // Settles where old goes; E_CAPACITY when the region cannot hold it, E_CHECKPOINT when a record's
  // place cannot be.
  tensorpatch_status (*plan)(tensorpatch::InPlace* place, const tensorpatch::PlaceJob& job);
  // Moves a piece.
  tensorpatch::MoveEvent (*move)(tensorpatch::InPlace* place, const tensorpatch::PlaceJob& job,
                                 tensorpatch::Feed* feed);
};
