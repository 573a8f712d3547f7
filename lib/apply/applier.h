// applier.h: the state of one update, for the files that make up the applier: applier.cc, and
// resume.cc and in_place.cc, which the linker drops when nothing names what they give.
//
// Workspace: [kMessageSize: the statement in DSSE framing][4 digests][kMaxStepInput: left-over
// payload][block buffer][decoder]. While signatures are read, the block buffer holds the record at
// hand and the key hints seen; while files are hashed, the bytes read.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string.h>

#include "block_reader.h"
#include "format.h"
#include "packed_statement.h"
#include "patch_decoder.h"
#include "tensorpatch/apply.h"
#include "wire.h"

namespace tensorpatch {

inline constexpr size_t kDigest = format::kDigestSize;

// "DSSEv1", the type with its size, the size of the statement in decimal: always three digits.
inline constexpr char kFraming[] = "DSSEv1 37 application/vnd.tensorpatch.statement ";
inline constexpr size_t kFramingSize = sizeof(kFraming) - 1 + 4;
static_assert(sizeof(format::kStatementType) - 1 == 37);
static_assert(format::header::kSize + format::component::kSize >= 100 &&
              format::kMaxStatementSize <= 999);

inline constexpr size_t kStatementAt = kFramingSize;
inline constexpr size_t kMessageSize = 960;
inline constexpr size_t kStatementDigestAt = kMessageSize;
inline constexpr size_t kBlockDigestsAt = kStatementDigestAt + kDigest;  // three of them
inline constexpr size_t kBufferAt = kStatementArea + format::kMaxStepInput;
static_assert(kBlockDigestsAt + 3 * kDigest == kStatementArea && kBufferAt % 8 == 0);
static_assert(kStatementAt + format::kMaxStatementSize <= kMessageSize);
static_assert(kMessageSize <= TENSORPATCH_MAX_MESSAGE_SIZE);

enum class State : uint8_t {
  kUnused = 0,  // memory that init has not seen
  kPrefix,
  kStatement,
  kSignatureHeader,
  kSignature,      // by a key of the ring
  kSkipSignature,  // by an unknown key
  kManifest,
  kHashOld,
  kHashOldAsNew,  // an old digest was wrong: perhaps the update is in place already
  kComponent,
  kBlock,
  kErase,
  kDecode,
  kMove,  // in place: old, before new is written
  kHashNew,
};

// Where an update in place stands; see in_place.cc.
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
};

// Numbers that most states look at come first, where small instructions reach them.
struct Applier {
  State state;
  uint8_t component;
  uint8_t component_count;
  uint8_t resume_component;
  uint8_t resuming;
  uint8_t cancelled;
  uint8_t paused;  // the next byte wanted is not the one after the last consumed
  uint8_t signature_count;
  uint8_t version[2];
  PlacePhase phase;
  uint16_t status;           // OK while it goes on; else DONE, ALREADY_NEW or an error
  uint16_t signatures_left;  // bytes
  PackedStatement packed;
  uint32_t filled;  // bytes collected of the thing that the state waits for
  uint32_t wanted;  // bytes of the stored statement, of the signature at hand, of the manifest
  uint8_t* workspace;
  size_t workspace_size;
  uint32_t valid_signatures;
  uint32_t skip;  // payload bytes before the restart point in the block that a checkpoint names
  const tensorpatch_key* key;  // of the signature at hand
  // Goes to the component that a record names, then to its block; linked with resume only.
  tensorpatch_status (*resume)(Applier* a);
  uint64_t consumed;  // bytes of the bundle
  uint64_t done;      // for those who ask how far it is
  uint64_t total;
  uint64_t offset;          // in the file being hashed
  uint64_t erased;          // bytes of the current new file that are ready to be written
  uint64_t restart_offset;  // last restart point in the current new file
  uint64_t resume_index;    // of the block that a checkpoint names
  uint64_t first_block;     // offset in the bundle
  PatchInput input;
  BlockReader blocks;
  tensorpatch_ports ports;
  tensorpatch_options options;
  InPlace place;
  PatchDecoder decoder;  // its job's limits are the statement's, once that is trusted
};
static_assert(sizeof(Applier) <= sizeof(tensorpatch_applier));

inline Applier* applier_of(tensorpatch_applier* applier) {
  return reinterpret_cast<Applier*>(applier);
}
inline const Applier* applier_of(const tensorpatch_applier* applier) {
  return reinterpret_cast<const Applier*>(applier);
}

inline const PatchLimits& limits(const Applier& a) {
  return a.decoder.job.limits;
}
inline const uint8_t* statement(const Applier& a) {
  return a.workspace + kStatementAt;
}
inline const uint8_t* component_at(const Applier& a, uint32_t index) {
  return statement(a) + format::header::kSize + index * format::component::kSize;
}
uint64_t old_size(const Applier& a, uint32_t index);
uint64_t new_size(const Applier& a, uint32_t index);
uint64_t patch_size(const Applier& a, uint32_t index);

// A state function and the steps that it shares with others say: OK: go on, with the next state if
// there is one; MORE: wait for input or work; anything else is the end.
tensorpatch_status enter(Applier* a, State state);
tensorpatch_status enter_hash(Applier* a, State state);

// The digest of some bytes; OK or E_HASH.
tensorpatch_status digest_of(const Applier& a, const uint8_t* data, size_t size, uint8_t* digest);

// What a record says of where the update stands.
struct Checkpoint {
  BlockPosition position;
  uint64_t offset;
  const uint8_t* block_digest;
};
tensorpatch_status save_record(Applier* a, const Checkpoint& at);

}  // namespace tensorpatch

// What the linker drops when no region is given.
struct tensorpatch_in_place {
  // Settles where old goes. E_IN_PLACE; E_CAPACITY when the region cannot hold it; E_CHECKPOINT
  // when a record's place cannot be.
  tensorpatch_status (*plan)(tensorpatch::Applier* a);
  // Everything was decoded once without a write.
  tensorpatch_status (*end_checking)(tensorpatch::Applier* a);
  // Moves a piece of old.
  tensorpatch_status (*move)(tensorpatch::Applier* a, tensorpatch::Feed* feed);
};
