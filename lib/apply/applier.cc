// applier.cc: the state machine behind tensorpatch/apply.h.
//
// One enum of states, one small function a state. Every function takes what input there is, does at
// most the work that is left of the call's budget, and can be called again at the same place. The
// order of checks is that of docs/FORMAT.md, section 1.6.
//
// Workspace: [kMessageSize: the statement in DSSE framing][4 digests][kMaxStepInput: left-over
// payload][block buffer][decoder]. While signatures are read, the block buffer holds the record at
// hand and the key hints seen; while files are hashed, the bytes read.
// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "block_reader.h"
#include "codec.h"
#include "format.h"
#include "in_place.h"
#include "packed_statement.h"
#include "patch_decoder.h"
#include "tensorpatch/apply.h"
#include "wire.h"

namespace tensorpatch {
namespace {

namespace header = format::header;
namespace checkpoint = format::checkpoint;

constexpr size_t kDigest = format::kDigestSize;

// "DSSEv1", the type with its size, the size of the statement in decimal: always three digits.
constexpr char kFraming[] = "DSSEv1 37 application/vnd.tensorpatch.statement ";
constexpr size_t kFramingSize = sizeof(kFraming) - 1 + 4;
static_assert(sizeof(format::kStatementType) - 1 == 37);
static_assert(header::kSize + format::component::kSize >= 100 && format::kMaxStatementSize <= 999);

constexpr size_t kStatementAt = kFramingSize;
constexpr size_t kMessageSize = 960;
constexpr size_t kStatementDigestAt = kMessageSize;
constexpr size_t kBlockDigestsAt = kStatementDigestAt + kDigest;  // three of them
constexpr size_t kBufferAt = kStatementArea + format::kMaxStepInput;
static_assert(kBlockDigestsAt + 3 * kDigest == kStatementArea && kBufferAt % 8 == 0);
static_assert(kStatementAt + format::kMaxStatementSize <= kMessageSize);
static_assert(kMessageSize <= TENSORPATCH_MAX_MESSAGE_SIZE);

// In the block buffer while signatures are read.
constexpr size_t kRecordAt = kBufferAt;
constexpr size_t kSeenHintsAt =
    kRecordAt + format::kSignatureHeaderSize + format::kMaxSignatureSize;
constexpr size_t kMinWorkspace =
    kSeenHintsAt + format::kMaxSignatures * format::kKeyHintSize;  // to reach the statement's own

constexpr size_t kEd25519KeySize = 32;
constexpr size_t kP256KeySize = 65;    // 0x04, x, y
constexpr size_t kSignatureSize = 64;  // of both algorithms

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
  kDone,
  kAlreadyNew,
  kFailed,
};

struct Applier {
  tensorpatch_ports ports;
  tensorpatch_options options;
  uint8_t* workspace;
  size_t workspace_size;
  const tensorpatch_key* key;  // of the signature at hand
  uint64_t consumed;           // bytes of the bundle
  uint64_t done;
  uint64_t total;
  uint64_t offset;          // in the file being hashed
  uint64_t erased;          // bytes of the current new file that are ready to be written
  uint64_t restart_offset;  // last restart point in the current new file
  uint64_t resume_index;    // of the block that a checkpoint names
  uint64_t first_block;     // offset in the bundle
  InPlace place;
  BlockReader blocks;
  PatchInput input;
  PatchDecoder decoder;
  uint32_t filled;  // bytes collected of the thing that the state waits for
  uint32_t wanted;  // bytes of the stored statement, of the signature at hand, of the manifest
  uint32_t valid_signatures;
  uint32_t skip;  // payload bytes before the restart point in the block that a checkpoint names
  PackedStatement packed;
  uint16_t signatures_left;  // bytes
  uint16_t status;
  uint8_t version[2];
  uint8_t signature_count;
  uint8_t component;
  uint8_t component_count;
  uint8_t resume_component;
  uint8_t resuming;
  uint8_t cancelled;
  uint8_t paused;  // the next byte wanted is not the one after the last consumed
  State state;
};
static_assert(sizeof(Applier) <= sizeof(tensorpatch_applier));

Applier* applier_of(tensorpatch_applier* applier) {
  return reinterpret_cast<Applier*>(applier);
}
const Applier* applier_of(const tensorpatch_applier* applier) {
  return reinterpret_cast<const Applier*>(applier);
}

// --- Fields of the statement -------------------------------------------------------------------

const uint8_t* statement(const Applier& a) {
  return a.workspace + kStatementAt;
}
const uint8_t* component_at(const Applier& a, uint32_t index) {
  return statement(a) + header::kSize + index * format::component::kSize;
}
uint64_t old_size(const Applier& a, uint32_t index) {
  return wire::read_u64(component_at(a, index) + format::component::kOldSize);
}
uint64_t new_size(const Applier& a, uint32_t index) {
  return wire::read_u64(component_at(a, index) + format::component::kNewSize);
}
uint64_t patch_size(const Applier& a, uint32_t index) {
  return wire::read_u64(component_at(a, index) + format::component::kPatchSize);
}
bool is_whole(const Applier& a, uint32_t index) {
  return (wire::read_u32(component_at(a, index) + format::component::kFlags) &
          format::kComponentWhole) != 0;
}

PatchLimits limits_of(const uint8_t* statement_header) {
  PatchLimits limits{};
  limits.block_size = wire::read_u32(statement_header + header::kBlockSize);
  limits.restart_interval = wire::read_u32(statement_header + header::kRestartInterval);
  limits.erase_size = wire::power_of_two(statement_header[header::kEraseLog2]);
  limits.write_size = wire::power_of_two(statement_header[header::kWriteLog2]);
  limits.history_log2 = statement_header[header::kHistoryLog2];
  limits.value_slots = statement_header[header::kValueSlots];
  limits.value_level = statement_header[header::kValueLevel];
  limits.byte_cells_log2 = statement_header[header::kByteCellsLog2];
  limits.match_log2 = statement_header[header::kMatchLog2];
  limits.zstd_window_log2 = statement_header[header::kZstdWindowLog2];
  limits.column_log2 = statement_header[header::kColumnLog2];
  limits.reach = wire::read_u32(statement_header + header::kReach);
  return limits;
}

bool is_in_place(const Applier& a) {
  return a.options.region != nullptr;
}
// Whether this pass over the blocks writes.
bool writes(const Applier& a) {
  return a.ports.write_new != nullptr && a.place.phase != PlacePhase::kChecking;
}

PlaceJob place_job(const Applier& a) {
  const PatchLimits limits = limits_of(statement(a));
  PlaceJob job{};
  job.ports = &a.ports;
  job.region = a.options.region;
  job.old_size = old_size(a, 0);
  job.new_size = new_size(a, 0);
  job.margin = uint64_t{limits.restart_interval} + limits.reach;
  job.erase_size = limits.erase_size;
  job.buffer = a.workspace + kBufferAt;  // nothing else is in the workspace during a move
  job.buffer_size =
      (workspace_size(limits) - static_cast<uint32_t>(kBufferAt)) & ~(limits.write_size - 1);
  return job;
}

uint64_t add_saturated(uint64_t a, uint64_t b) {
  return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

// --- Small steps that several states share -----------------------------------------------------

// What a state function says: go on with the next state, or stop until there is more input or work.
enum class Next : uint8_t { kGoOn, kWait };

Next fail(Applier* a, tensorpatch_status status) {
  a->state = State::kFailed;
  a->status = static_cast<uint16_t>(status);
  return Next::kGoOn;
}

Next enter(Applier* a, State state) {
  a->state = state;
  a->filled = 0;
  return Next::kGoOn;
}

// Copies input until `destination` holds `wanted` bytes; whether it does.
bool collect(Applier* a, Feed* feed, uint8_t* destination, uint32_t wanted) {
  const size_t count = feed->most(wanted - a->filled);
  if (count != 0) memcpy(destination + a->filled, feed->take(count), count);
  a->filled += static_cast<uint32_t>(count);
  return a->filled == wanted;
}

bool digest_of(const Applier& a, const uint8_t* data, size_t size, uint8_t* digest) {
  const tensorpatch_hash_port& hash = a.ports.hash;
  return hash.init(hash.state) == 0 && hash.update(hash.state, data, size) == 0 &&
         hash.finish(hash.state, digest) == 0;
}

Next enter_hash(Applier* a, State state) {
  if (a->ports.hash.init(a->ports.hash.state) != 0) return fail(a, TENSORPATCH_E_HASH);
  a->offset = 0;
  return enter(a, state);
}

struct HashJob {
  ReadFunction read;
  uint64_t base;  // what `read` calls the file's first byte
  uint64_t most;  // bytes that lie together there
  uint64_t size;
  const uint8_t* digest;  // what the file should have
};

enum class HashResult : uint8_t { kMore, kRight, kWrong, kReadFailed, kHashFailed };

// Reads and hashes the next slice of a file of the current component.
HashResult hash_slice(Applier* a, Feed* feed, const HashJob& job) {
  const tensorpatch_hash_port& hash = a->ports.hash;
  uint8_t* buffer = a->workspace + kBufferAt;
  const uint64_t rest = job.size - a->offset;
  if (rest != 0) {
    uint64_t slice = a->blocks.block_size < feed->budget ? a->blocks.block_size : feed->budget;
    if (rest < slice) slice = rest;
    if (job.most < slice) slice = job.most;
    const size_t count = static_cast<size_t>(slice);
    const int result =
        job.read(a->ports.context, a->component, job.base + a->offset, buffer, count);
    if (result == TENSORPATCH_BEYOND_END) return HashResult::kWrong;
    if (result != 0) return HashResult::kReadFailed;
    if (hash.update(hash.state, buffer, count) != 0) return HashResult::kHashFailed;
    feed->charge(count);
    a->offset += count;
    return HashResult::kMore;
  }
  uint8_t digest[kDigest];
  if (hash.finish(hash.state, digest) != 0) return HashResult::kHashFailed;
  return memcmp(digest, job.digest, kDigest) == 0 ? HashResult::kRight : HashResult::kWrong;
}

// --- Prefix, statement, signatures -------------------------------------------------------------

tensorpatch_status check_prefix(const uint8_t* prefix) {
  if (memcmp(prefix, format::kMagic, sizeof format::kMagic) != 0) return TENSORPATCH_E_FORMAT;
  if (prefix[format::kPrefixMajor] != format::kMajor) return TENSORPATCH_E_VERSION;
  return TENSORPATCH_OK;
}

Next state_prefix(Applier* a, Feed* feed) {
  uint8_t* prefix = a->workspace;  // the framing takes this place next
  if (!collect(a, feed, prefix, format::kPrefixSize)) return Next::kWait;
  const tensorpatch_status status = check_prefix(prefix);
  if (status != TENSORPATCH_OK) return fail(a, status);
  a->version[0] = prefix[format::kPrefixMajor];
  a->version[1] = prefix[format::kPrefixMinor];
  a->wanted = wire::read_u16(prefix + format::kPrefixStatementSize);
  a->signatures_left = wire::read_u16(prefix + format::kPrefixSignaturesSize);
  memcpy(a->workspace, kFraming, sizeof(kFraming) - 1);
  return enter(a, State::kStatement);
}

Next state_statement(Applier* a, Feed* feed) {
  for (; a->filled != a->wanted; ++a->filled) {
    if (feed->most(1) == 0) return Next::kWait;
    if (!unpack_statement(a->packed, *feed->take(1), a->workspace + kStatementAt)) {
      return fail(a, TENSORPATCH_E_FORMAT);
    }
  }
  if (!statement_is_whole(a->packed)) return fail(a, TENSORPATCH_E_FORMAT);
  uint8_t* digits = a->workspace + sizeof(kFraming) - 1;
  digits[0] = static_cast<uint8_t>('0' + a->packed.size / 100);
  digits[1] = static_cast<uint8_t>('0' + a->packed.size / 10 % 10);
  digits[2] = static_cast<uint8_t>('0' + a->packed.size % 10);
  digits[3] = ' ';
  return enter(a, State::kSignatureHeader);
}

// What counts is the ring's entry, which the hint only finds. Keys of other roles are as good as
// unknown.
const tensorpatch_key* find_key(const Applier& a, const uint8_t* hint) {
  for (size_t i = 0; i < a.options.key_count; ++i) {
    const tensorpatch_key& key = a.options.keys[i];
    if (key.role == TENSORPATCH_ROLE_RELEASE && memcmp(key.id, hint, format::kKeyHintSize) == 0) {
      return &key;
    }
  }
  return nullptr;
}

// Whether the key was in an earlier record; remembers it.
bool seen_before(Applier* a, const uint8_t* hint) {
  uint8_t* seen = a->workspace + kSeenHintsAt;
  for (size_t i = 0; i < a->signature_count; ++i, seen += format::kKeyHintSize) {
    if (memcmp(seen, hint, format::kKeyHintSize) == 0) return true;
  }
  memcpy(seen, hint, format::kKeyHintSize);
  return false;
}

Next trust_statement(Applier* a);

Next state_signature_header(Applier* a, Feed* feed) {
  if (a->signatures_left == 0) return trust_statement(a);
  if (a->signature_count == format::kMaxSignatures ||
      a->signatures_left < format::kSignatureHeaderSize) {
    return fail(a, TENSORPATCH_E_FORMAT);
  }
  uint8_t* record = a->workspace + kRecordAt;
  if (!collect(a, feed, record, format::kSignatureHeaderSize)) return Next::kWait;
  a->wanted = wire::read_u16(record + 1);
  a->signatures_left = static_cast<uint16_t>(a->signatures_left - format::kSignatureHeaderSize);
  if (a->wanted > a->signatures_left || seen_before(a, record + 3)) {
    return fail(a, TENSORPATCH_E_FORMAT);
  }
  a->signatures_left = static_cast<uint16_t>(a->signatures_left - a->wanted);
  ++a->signature_count;
  a->key = find_key(*a, record + 3);
  if (a->key == nullptr) return enter(a, State::kSkipSignature);
  if (record[0] != a->key->algorithm || a->wanted != kSignatureSize) {
    return fail(a, TENSORPATCH_E_SIGNATURE);
  }
  return enter(a, State::kSignature);
}

Next state_signature(Applier* a, Feed* feed) {
  uint8_t* signature = a->workspace + kRecordAt + format::kSignatureHeaderSize;
  if (!collect(a, feed, signature, a->wanted)) return Next::kWait;
  const size_t message_size = kFramingSize + a->packed.size;
  feed->charge(message_size);
  if (a->ports.verify(a->ports.context, a->key, a->workspace, message_size, signature, a->wanted) !=
      0) {
    return fail(a, TENSORPATCH_E_SIGNATURE);
  }
  ++a->valid_signatures;
  return enter(a, State::kSignatureHeader);
}

Next state_skip_signature(Applier* a, Feed* feed) {
  const size_t count = feed->most(a->wanted - a->filled);
  feed->take(count);
  a->filled += static_cast<uint32_t>(count);
  if (a->filled != a->wanted) return Next::kWait;
  return enter(a, State::kSignatureHeader);
}

// --- The statement, once it is authentic -------------------------------------------------------

// What can be said of a header without its components and without this device.
tensorpatch_status check_header(const uint8_t* fields, size_t components) {
  const uint32_t flags = wire::read_u32(fields + header::kRequiredFlags);
  if (fields[header::kKind] != format::kKindUpdate || (flags & ~format::kKnownFlags) != 0) {
    return TENSORPATCH_E_VERSION;
  }
  const PatchLimits limits = limits_of(fields);
  const uint32_t manifest_size = wire::read_u32(fields + header::kManifestSize);
  const uint32_t operations = 1u << format::kCodecOperations;
  if (fields[header::kComponentCount] != components || components == 0 ||
      components > format::kMaxComponents || !limits_valid(limits) ||
      manifest_size > format::kMaxManifestSize ||
      (manifest_size == 0 && !wire::is_zero(fields + header::kManifestDigest, kDigest)) ||
      ((flags & format::kFlagInPlace) != 0) != (limits.reach != 0) ||
      (limits.reach != 0 && components != 1) || fields[header::kZero13] != 0 ||
      !wire::is_zero(fields + header::kZero24, 24) ||
      (wire::read_u16(fields + header::kRequiredCodecs) & operations) == 0 ||
      wire::read_u32(fields + header::kWorkspaceSize) != workspace_size(limits)) {
    return TENSORPATCH_E_FORMAT;
  }
  return TENSORPATCH_OK;
}

tensorpatch_status check_component(const Applier& a, uint32_t index) {
  const uint8_t* fields = component_at(a, index);
  if ((wire::read_u32(fields + format::component::kFlags) & ~uint32_t{format::kComponentWhole}) !=
      0) {
    return TENSORPATCH_E_VERSION;
  }
  const bool no_patch = patch_size(a, index) == 0;
  if (fields[format::component::kId] != index ||
      !wire::is_zero(fields + format::component::kZero2, 2) ||
      (is_whole(a, index) && old_size(a, index) != 0) || no_patch != (new_size(a, index) == 0) ||
      (no_patch && !wire::is_zero(fields + format::component::kFirstBlock, kDigest))) {
    return TENSORPATCH_E_FORMAT;
  }
  return TENSORPATCH_OK;
}

bool has_codecs(const Applier& a, uint32_t required) {
  uint32_t known = 1u << format::kCodecOperations;
  for (size_t i = 0; i < a.options.codec_count; ++i) known |= 1u << a.options.codecs[i]->id;
  return (required & ~known) == 0;
}

// Whether this device wants the update and can hold it.
tensorpatch_status check_device(const Applier& a) {
  const uint8_t* fields = statement(a);
  const uint8_t* device_class = fields + header::kDeviceClass;
  if (!wire::is_zero(device_class, 16) && (a.options.device_class == nullptr ||
                                           memcmp(device_class, a.options.device_class, 16) != 0)) {
    return TENSORPATCH_E_DEVICE_CLASS;
  }
  if (wire::read_u64(fields + header::kSequence) < a.options.sequence_floor) {
    return TENSORPATCH_E_SEQUENCE;
  }
  if (wire::read_u32(fields + header::kSecurityVersion) < a.options.security_version_floor) {
    return TENSORPATCH_E_SECURITY_VERSION;
  }
  if ((wire::read_u32(fields + header::kRequiredFlags) & format::kFlagUndo) != 0 &&
      (a.options.accept & TENSORPATCH_ACCEPT_UNDO) == 0) {
    return TENSORPATCH_E_UNDO;
  }
  if (!has_codecs(a, wire::read_u16(fields + header::kRequiredCodecs))) {
    return TENSORPATCH_E_CODEC;
  }
  if (wire::read_u32(fields + header::kWorkspaceSize) > a.workspace_size) {
    return TENSORPATCH_E_WORKSPACE;
  }
  for (uint32_t i = 0; !is_in_place(a) && i < a.component_count; ++i) {
    if (new_size(a, i) > a.options.capacity[i]) return TENSORPATCH_E_CAPACITY;
  }
  return TENSORPATCH_OK;
}

// Whether old and new can share the region, and where old goes.
tensorpatch_status plan_place(Applier* a) {
  const bool goes_on = a->place.phase != PlacePhase::kBeside;
  if (!is_in_place(*a)) return goes_on ? TENSORPATCH_E_CHECKPOINT : TENSORPATCH_OK;
  if (a->component_count != 1 || (limits_of(statement(*a)).reach == 0 && !is_whole(*a, 0))) {
    return TENSORPATCH_E_IN_PLACE;
  }
  if (a->resuming != 0 && !goes_on) return TENSORPATCH_E_CHECKPOINT;
  return a->options.region->method->plan(&a->place, place_job(*a));
}

tensorpatch_status check_statement(Applier* a) {
  const uint8_t* fields = statement(*a);
  if (memcmp(fields, a->version, sizeof a->version) != 0) return TENSORPATCH_E_FORMAT;
  a->component_count =
      static_cast<uint8_t>((a->packed.size - header::kSize) / format::component::kSize);
  tensorpatch_status status = check_header(fields, a->component_count);
  for (uint32_t i = 0; status == TENSORPATCH_OK && i < a->component_count; ++i) {
    status = check_component(*a, i);
  }
  return status == TENSORPATCH_OK ? check_device(*a) : status;
}

// The digest of the statement is the bundle's identity; a checkpoint must name the same.
tensorpatch_status identify(Applier* a) {
  uint8_t digest[kDigest];
  uint8_t* identity = a->workspace + kStatementDigestAt;
  if (!digest_of(*a, statement(*a), a->packed.size, digest)) return TENSORPATCH_E_HASH;
  if (a->resuming != 0 && memcmp(digest, identity, kDigest) != 0) {
    return TENSORPATCH_E_CHECKPOINT;
  }
  memcpy(identity, digest, kDigest);
  return TENSORPATCH_OK;
}

Next trust_statement(Applier* a) {
  if (a->valid_signatures < a->options.threshold) return fail(a, TENSORPATCH_E_UNTRUSTED);
  tensorpatch_status status = check_statement(a);
  if (status == TENSORPATCH_OK) status = identify(a);
  if (status == TENSORPATCH_OK) status = plan_place(a);
  if (status != TENSORPATCH_OK) return fail(a, status);
  a->total = is_in_place(*a) ? add_saturated(new_size(*a, 0), a->place.moved) : 0;
  for (uint32_t i = 0; i < a->component_count; ++i) {
    a->total = add_saturated(a->total, add_saturated(old_size(*a, i), new_size(*a, i)));
    if (a->ports.write_new != nullptr) a->total = add_saturated(a->total, new_size(*a, i));
  }
  a->blocks.buffer = a->workspace + kBufferAt;
  a->blocks.digests = a->workspace + kBlockDigestsAt;
  a->blocks.block_size = wire::read_u32(statement(*a) + header::kBlockSize);
  a->wanted = wire::read_u32(statement(*a) + header::kManifestSize);
  return enter_hash(a, State::kManifest);
}

// --- Manifest and old files --------------------------------------------------------------------

Next begin_writing(Applier* a);

Next state_manifest(Applier* a, Feed* feed) {
  const tensorpatch_hash_port& hash = a->ports.hash;
  const size_t count = feed->most(a->wanted - a->filled);
  if (count != 0 && hash.update(hash.state, feed->take(count), count) != 0) {
    return fail(a, TENSORPATCH_E_HASH);
  }
  a->filled += static_cast<uint32_t>(count);
  if (a->filled != a->wanted) return Next::kWait;
  uint8_t digest[kDigest];
  if (hash.finish(hash.state, digest) != 0) return fail(a, TENSORPATCH_E_HASH);
  if (a->wanted != 0 && memcmp(digest, statement(*a) + header::kManifestDigest, kDigest) != 0) {
    return fail(a, TENSORPATCH_E_DIGEST);
  }
  a->component = 0;
  if (a->place.phase == PlacePhase::kWriting) return begin_writing(a);  // old is there in part
  return enter_hash(a, State::kHashOld);
}

// Where to read the next slice of old.
HashJob old_job(const Applier& a) {
  HashJob job = {a.ports.read_old, 0, UINT64_MAX, old_size(a, a.component),
                 component_at(a, a.component) + format::component::kOldDigest};
  if (!is_in_place(a)) return job;
  job.read = a.ports.read_new;
  if (a.offset >= a.place.moved) {
    job.base = a.place.old_at;
  } else {
    job.base = a.options.region->old_offset;
    job.most = a.place.moved - a.offset;
  }
  return job;
}

// Goes to the first block of the component that a checkpoint names, or of the first one.
Next begin_writing(Applier* a) {
  a->component = a->resume_component;
  a->first_block = a->consumed;
  if (a->place.phase == PlacePhase::kMoving) {
    a->resuming = 0;
    a->skip = 0;
    return enter(a, State::kMove);
  }
  if (a->place.phase == PlacePhase::kChecking) {
    const tensorpatch_hash_port& hash = a->options.region->hash;
    if (hash.init(hash.state) != 0) return fail(a, TENSORPATCH_E_HASH);
  }
  if (a->resuming == 0) return enter(a, State::kComponent);
  if (a->component >= a->component_count) return fail(a, TENSORPATCH_E_CHECKPOINT);
  for (uint32_t i = 0; i < a->component; ++i) {
    const uint64_t blocks = format::block_count(patch_size(*a, i), a->blocks.block_size);
    a->consumed += patch_size(*a, i) + (blocks == 0 ? 0 : (blocks - 1) * kDigest);
    a->done = add_saturated(a->done, new_size(*a, i));
  }
  a->paused = 1;
  return enter(a, State::kComponent);
}

Next state_hash_old(Applier* a, Feed* feed) {
  const HashJob job = old_job(*a);
  switch (hash_slice(a, feed, job)) {
    case HashResult::kMore:
      return Next::kGoOn;
    case HashResult::kRight:
      a->done = add_saturated(a->done, job.size);
      if (++a->component == a->component_count) return begin_writing(a);
      return enter_hash(a, State::kHashOld);
    case HashResult::kWrong:
      if (is_whole(*a, a->component)) return fail(a, TENSORPATCH_E_FORMAT);
      a->component = 0;
      return enter_hash(a, State::kHashOldAsNew);
    case HashResult::kReadFailed:
      return fail(a, TENSORPATCH_E_READ_OLD);
    case HashResult::kHashFailed:
      break;
  }
  return fail(a, TENSORPATCH_E_HASH);
}

// All files from the first on, also those whose old digest was right: a new file may begin with
// its old one.
Next state_hash_old_as_new(Applier* a, Feed* feed) {
  if (is_whole(*a, a->component)) return fail(a, TENSORPATCH_E_OLD);
  const HashJob job = {is_in_place(*a) ? a->ports.read_new : a->ports.read_old, 0, UINT64_MAX,
                       new_size(*a, a->component),
                       component_at(*a, a->component) + format::component::kNewDigest};
  switch (hash_slice(a, feed, job)) {
    case HashResult::kMore:
      return Next::kGoOn;
    case HashResult::kRight:
      if (++a->component != a->component_count) return enter_hash(a, State::kHashOldAsNew);
      a->component = 0;
      a->status = TENSORPATCH_ALREADY_NEW;
      return enter(a, State::kAlreadyNew);
    case HashResult::kWrong:
      return fail(a, TENSORPATCH_E_OLD);
    case HashResult::kReadFailed:
      return fail(a, TENSORPATCH_E_READ_OLD);
    case HashResult::kHashFailed:
      break;
  }
  return fail(a, TENSORPATCH_E_HASH);
}

// --- Blocks ------------------------------------------------------------------------------------

PatchJob job_of(const Applier& a) {
  PatchJob job{};
  job.ports = &a.ports;
  job.codecs = a.options.codecs;
  job.codec_count = a.options.codec_count;
  job.limits = limits_of(statement(a));
  job.component = a.component;
  job.component_count = a.component_count;
  for (uint32_t i = 0; i < a.component_count; ++i) job.old_sizes[i] = old_size(a, i);
  job.new_size = new_size(a, a.component);
  job.read_old = a.ports.read_old;
  if (is_in_place(a)) {
    const bool checking = a.place.phase == PlacePhase::kChecking;
    job.read_old = a.ports.read_new;
    job.old_base = checking ? a.options.region->old_offset : a.place.old_at;
    if (checking) job.digest = &a.options.region->hash;
  }
  return job;
}

// Goes to the block and the restart point that the checkpoint names.
Next resume_component(Applier* a, const PatchJob& job, uint8_t* decoder_workspace) {
  BlockReader* blocks = &a->blocks;
  const uint64_t size = patch_size(*a, a->component);
  const uint64_t index = a->resume_index;
  const uint8_t* digest = blocks->digests;  // tensorpatch_apply_resume put it there
  const uint8_t* first = component_at(*a, a->component) + format::component::kFirstBlock;
  if (index >= format::block_count(size, blocks->block_size) ||
      (index == 0 && memcmp(digest, first, kDigest) != 0) || a->restart_offset >= job.new_size) {
    return fail(a, TENSORPATCH_E_CHECKPOINT);
  }
  block_reader_begin(blocks, size, index, digest);
  const uint64_t payload_offset = index * format::block_payload(blocks->block_size) + a->skip;
  const BlockPosition position = block_reader_position(*blocks, payload_offset);
  if (payload_offset >= size || position.index != index ||
      !patch_decoder_begin_at(&a->decoder, job, decoder_workspace, a->restart_offset)) {
    return fail(a, TENSORPATCH_E_CHECKPOINT);
  }
  a->consumed += index * blocks->block_size;
  a->input.patch_remaining = size - payload_offset;
  a->erased = a->restart_offset;
  a->done = add_saturated(a->done, a->restart_offset);
  return enter(a, State::kBlock);
}

// In place: everything was decoded once. Only if it makes new, something is written.
Next end_checking(Applier* a) {
  const tensorpatch_hash_port& hash = a->options.region->hash;
  const uint8_t* expected = component_at(*a, 0) + format::component::kNewDigest;
  uint8_t digest[kDigest];
  if (hash.finish(hash.state, digest) != 0) return fail(a, TENSORPATCH_E_HASH);
  if (memcmp(digest, expected, kDigest) != 0) return fail(a, TENSORPATCH_E_DIGEST);
  if (a->ports.write_new == nullptr) {
    a->status = TENSORPATCH_DONE;
    return enter(a, State::kDone);
  }
  a->consumed = a->first_block;
  a->place.phase = PlacePhase::kMoving;
  return enter(a, State::kMove);
}

Next state_component(Applier* a, Feed*) {
  if (a->component == a->component_count) {
    a->component = 0;
    if (a->place.phase == PlacePhase::kChecking) return end_checking(a);
    if (a->ports.write_new != nullptr) return enter_hash(a, State::kHashNew);
    a->status = TENSORPATCH_DONE;
    return enter(a, State::kDone);
  }
  const bool resume = a->resuming != 0;
  a->resuming = 0;
  const uint64_t size = patch_size(*a, a->component);
  if (size == 0) {
    if (resume && a->restart_offset != 0) return fail(a, TENSORPATCH_E_CHECKPOINT);
    ++a->component;
    return Next::kGoOn;
  }
  const PatchJob job = job_of(*a);
  uint8_t* decoder_workspace = a->workspace + kBufferAt + a->blocks.block_size;
  if (resume) return resume_component(a, job, decoder_workspace);
  patch_decoder_begin(&a->decoder, job, decoder_workspace);
  block_reader_begin(&a->blocks, size, 0,
                     component_at(*a, a->component) + format::component::kFirstBlock);
  a->input.patch_remaining = size;
  a->restart_offset = 0;
  a->erased = 0;
  return enter(a, State::kBlock);
}

Next state_block(Applier* a, Feed* feed) {
  const tensorpatch_status status = block_reader_collect(&a->blocks, a->ports.hash, feed);
  if (status == TENSORPATCH_MORE) return Next::kWait;
  if (status != TENSORPATCH_OK) return fail(a, status);
  const Payload payload = block_reader_payload(&a->blocks);
  a->input.data = payload.data;
  a->input.size = payload.size;
  a->input.data += a->skip;
  a->input.size -= a->skip;
  a->skip = 0;
  return enter(a, State::kErase);
}

// Makes ready what will be written before the next restart point, so that an interrupted update
// erases one interval again and not the whole place.
Next state_erase(Applier* a, Feed* feed) {
  if (a->ports.erase == nullptr || !writes(*a)) {
    return enter(a, State::kDecode);
  }
  const PatchLimits limits = limits_of(statement(*a));
  const uint64_t size = new_size(*a, a->component);
  const bool to_the_end = size - a->restart_offset <= limits.restart_interval;
  const uint64_t end = to_the_end ? ((size - 1) | (limits.erase_size - 1)) + 1
                                  : a->restart_offset + limits.restart_interval;
  if (end > a->erased) {
    const uint64_t count = end - a->erased;
    if (a->ports.erase(a->ports.context, a->component, a->erased, count) != 0) {
      return fail(a, TENSORPATCH_E_ERASE);
    }
    feed->charge(count);
    a->erased = end;
  }
  return enter(a, State::kDecode);
}

// What a record says of where the update stands.
struct Checkpoint {
  BlockPosition position;
  uint64_t offset;
  const uint8_t* block_digest;
};

tensorpatch_status save_record(Applier* a, const Checkpoint& at) {
  uint8_t record[checkpoint::kSize] = {};
  memcpy(record + checkpoint::kMagicAt, checkpoint::kMagic, sizeof checkpoint::kMagic);
  wire::write_u16(record + checkpoint::kVersionAt, checkpoint::kVersion);
  record[checkpoint::kComponentAt] = a->component;
  record[checkpoint::kPhaseAt] = static_cast<uint8_t>(a->place.phase);
  if (is_in_place(*a)) {
    const uint64_t page = a->place.old_at / limits_of(statement(*a)).erase_size;
    wire::write_u32(record + checkpoint::kOldPageAt, static_cast<uint32_t>(page));
  }
  wire::write_u32(record + checkpoint::kBlockOffsetAt, at.position.offset);
  wire::write_u64(record + checkpoint::kNewOffsetAt, at.offset);
  wire::write_u64(record + checkpoint::kBlockIndexAt, at.position.index);
  memcpy(record + checkpoint::kStatementDigestAt, a->workspace + kStatementDigestAt, kDigest);
  memcpy(record + checkpoint::kBlockDigestAt, at.block_digest, kDigest);
  if (!digest_of(*a, record, checkpoint::kCheckAt, record + checkpoint::kCheckAt)) {
    return TENSORPATCH_E_HASH;
  }
  return a->ports.save_checkpoint(a->ports.context, record) == 0 ? TENSORPATCH_OK
                                                                 : TENSORPATCH_E_SAVE_CHECKPOINT;
}

// Stores where the decoder stands: at a restart chunk, everything before it flushed.
tensorpatch_status save_checkpoint(Applier* a) {
  if (a->ports.save_checkpoint == nullptr || !writes(*a)) return TENSORPATCH_OK;
  const uint64_t payload_offset = a->blocks.patch_size - a->input.patch_remaining;
  const BlockPosition position = block_reader_position(a->blocks, payload_offset);
  const uint8_t* block_digest = block_reader_digest(a->blocks, position.index);
  if (block_digest == nullptr) return TENSORPATCH_E_FORMAT;
  return save_record(a, {position, a->restart_offset, block_digest});
}

// Moves old out of new's way, a piece a call, and at last notes that it may be written over.
Next state_move(Applier* a, Feed* feed) {
  InPlace* place = &a->place;
  const uint64_t before = place->moved;
  const MoveEvent event = a->options.region->method->move(place, place_job(*a), feed);
  a->done = add_saturated(a->done, before - place->moved);
  switch (event) {
    case MoveEvent::kMore:
      return Next::kGoOn;
    case MoveEvent::kRead:
      return fail(a, TENSORPATCH_E_READ_NEW);
    case MoveEvent::kWrite:
      return fail(a, TENSORPATCH_E_WRITE_NEW);
    case MoveEvent::kErase:
      return fail(a, TENSORPATCH_E_ERASE);
    case MoveEvent::kDone:
      place->phase = PlacePhase::kWriting;
      break;
    case MoveEvent::kRecord:
      place->recorded = place->moved;
      break;
  }
  const uint8_t* first = component_at(*a, 0) + format::component::kFirstBlock;
  const tensorpatch_status status = save_record(a, {{0, 0}, place->moved, first});
  if (status != TENSORPATCH_OK) return fail(a, status);
  return enter(a, place->phase == PlacePhase::kWriting ? State::kComponent : State::kMove);
}

Next state_decode(Applier* a, Feed* feed) {
  const uint64_t before = patch_decoder_new_offset(&a->decoder);
  const PatchEvent event = patch_decoder_run(&a->decoder, &a->input, &feed->budget);
  a->done = add_saturated(a->done, patch_decoder_new_offset(&a->decoder) - before);
  switch (event) {
    case PatchEvent::kNeedInput:
      if (!block_reader_next(&a->blocks, {a->input.data, a->input.size})) {
        return fail(a, TENSORPATCH_E_FORMAT);  // the stream ends inside an operation
      }
      return enter(a, State::kBlock);
    case PatchEvent::kWorkLimit:
      feed->budget = 0;
      return Next::kWait;
    case PatchEvent::kCheckpoint: {
      a->restart_offset = patch_decoder_new_offset(&a->decoder);
      const tensorpatch_status status = save_checkpoint(a);
      if (status != TENSORPATCH_OK) return fail(a, status);
      return enter(a, State::kErase);
    }
    case PatchEvent::kDone:
      if (a->input.patch_remaining != 0) return fail(a, TENSORPATCH_E_FORMAT);
      ++a->component;
      return enter(a, State::kComponent);
    case PatchEvent::kFailed:
      break;
  }
  return fail(a, patch_decoder_status(&a->decoder));
}

// --- The end -----------------------------------------------------------------------------------

Next state_hash_new(Applier* a, Feed* feed) {
  const HashJob job = {a->ports.read_new, 0, UINT64_MAX, new_size(*a, a->component),
                       component_at(*a, a->component) + format::component::kNewDigest};
  const uint64_t before = a->offset;
  const HashResult result = hash_slice(a, feed, job);
  a->done = add_saturated(a->done, a->offset - before);
  switch (result) {
    case HashResult::kMore:
      return Next::kGoOn;
    case HashResult::kRight:
      if (++a->component != a->component_count) return enter_hash(a, State::kHashNew);
      a->component = static_cast<uint8_t>(a->component_count - 1);
      a->status = TENSORPATCH_DONE;
      return enter(a, State::kDone);
    case HashResult::kWrong:
      return fail(a, TENSORPATCH_E_NEW);
    case HashResult::kReadFailed:
      return fail(a, TENSORPATCH_E_READ_NEW);
    case HashResult::kHashFailed:
      break;
  }
  return fail(a, TENSORPATCH_E_HASH);
}

Next run_state(Applier* a, Feed* feed) {
  switch (a->state) {
    case State::kPrefix:
      return state_prefix(a, feed);
    case State::kStatement:
      return state_statement(a, feed);
    case State::kSignatureHeader:
      return state_signature_header(a, feed);
    case State::kSignature:
      return state_signature(a, feed);
    case State::kSkipSignature:
      return state_skip_signature(a, feed);
    case State::kManifest:
      return state_manifest(a, feed);
    case State::kHashOld:
      return state_hash_old(a, feed);
    case State::kHashOldAsNew:
      return state_hash_old_as_new(a, feed);
    case State::kComponent:
      return state_component(a, feed);
    case State::kBlock:
      return state_block(a, feed);
    case State::kErase:
      return state_erase(a, feed);
    case State::kDecode:
      return state_decode(a, feed);
    case State::kMove:
      return state_move(a, feed);
    case State::kHashNew:
      return state_hash_new(a, feed);
    case State::kUnused:
    case State::kDone:
    case State::kAlreadyNew:
    case State::kFailed:
      break;
  }
  return Next::kWait;
}

bool is_over(const Applier& a) {
  return a.state == State::kDone || a.state == State::kAlreadyNew || a.state == State::kFailed;
}

// Whether all blocks have been taken, so that one more byte is one too many.
bool has_all_input(const Applier& a) {
  return a.state == State::kHashNew || a.state == State::kDone ||
         (a.state == State::kComponent && a.component == a.component_count);
}

// Works until it is over, the input is used up or the work limit is reached.
tensorpatch_status run(Applier* a, Feed* feed) {
  Next step = Next::kGoOn;
  while (step == Next::kGoOn && feed->budget != 0 && !is_over(*a)) {
    if (a->cancelled != 0) {
      fail(a, TENSORPATCH_E_CANCELLED);
      break;
    }
    if (feed->size != 0 && has_all_input(*a)) break;
    const size_t size = feed->size;
    step = run_state(a, feed);
    a->consumed += size - feed->size;
    if (a->paused != 0 && a->state == State::kBlock) {
      a->paused = 0;
      break;
    }
  }
  if (feed->size != 0 && has_all_input(*a)) fail(a, TENSORPATCH_E_TRAILING);
  return is_over(*a) ? static_cast<tensorpatch_status>(a->status) : TENSORPATCH_MORE;
}

size_t work_budget(const Applier& a) {
  return a.options.work_limit == 0 ? SIZE_MAX : a.options.work_limit;
}

bool key_complete(const tensorpatch_key& key) {
  const bool is_p256 = key.algorithm == TENSORPATCH_ECDSA_P256_SHA256;
  return (is_p256 || key.algorithm == TENSORPATCH_ED25519) && key.public_key != nullptr &&
         key.public_key_size == (is_p256 ? kP256KeySize : kEd25519KeySize);
}

bool options_complete(const tensorpatch_options& options) {
  if (options.threshold == 0 || (options.keys == nullptr && options.key_count != 0) ||
      (options.codecs == nullptr && options.codec_count != 0)) {
    return false;
  }
  for (size_t i = 0; i < options.key_count; ++i) {
    if (!key_complete(options.keys[i])) return false;
  }
  for (size_t i = 0; i < options.codec_count; ++i) {
    if (options.codecs[i] == nullptr) return false;
  }
  return true;
}

bool hash_complete(const tensorpatch_hash_port& hash) {
  return hash.init != nullptr && hash.update != nullptr && hash.finish != nullptr;
}

bool ports_complete(const tensorpatch_ports& ports, const tensorpatch_region* region) {
  if (!hash_complete(ports.hash) || ports.verify == nullptr ||
      (ports.write_new != nullptr && ports.read_new == nullptr)) {
    return false;
  }
  if (region == nullptr) return ports.read_old != nullptr;
  return region->method != nullptr && hash_complete(region->hash) && ports.read_new != nullptr &&
         (ports.write_new == nullptr || ports.save_checkpoint != nullptr);
}

}  // namespace
}  // namespace tensorpatch

// --- The public functions ----------------------------------------------------------------------

using namespace tensorpatch;

extern "C" {

tensorpatch_status tensorpatch_peek(const uint8_t* data, size_t size,
                                    tensorpatch_summary* summary) {
  if ((data == nullptr && size != 0) || summary == nullptr) return TENSORPATCH_E_ARGUMENT;
  if (size < format::kPrefixSize) return TENSORPATCH_E_TRUNCATED;
  tensorpatch_status status = check_prefix(data);
  if (status != TENSORPATCH_OK) return status;
  uint8_t fields[2 * header::kSize];  // the run that ends the header may go on behind it
  PackedStatement packed;
  for (size_t at = format::kPrefixSize; packed.size < header::kSize; ++at) {
    if (at == size) {
      return size < TENSORPATCH_PEEK_SIZE ? TENSORPATCH_E_TRUNCATED : TENSORPATCH_E_FORMAT;
    }
    unpack_statement(packed, data[at], fields);
  }
  status = check_header(fields, fields[header::kComponentCount]);
  if (status != TENSORPATCH_OK) return status;
  summary->workspace_size = wire::read_u32(fields + header::kWorkspaceSize);
  summary->component_count = fields[header::kComponentCount];
  summary->required_codecs = wire::read_u16(fields + header::kRequiredCodecs);
  summary->zstd_window_log2 = fields[header::kZstdWindowLog2];
  return TENSORPATCH_OK;
}

tensorpatch_status tensorpatch_apply_init(tensorpatch_applier* applier, void* workspace,
                                          size_t workspace_size, const tensorpatch_ports* ports,
                                          const tensorpatch_options* options) {
  if (applier == nullptr) return TENSORPATCH_E_ARGUMENT;
  memset(applier, 0, sizeof *applier);  // State::kUnused until everything is right
  if (workspace == nullptr || reinterpret_cast<uintptr_t>(workspace) % 8 != 0 || ports == nullptr ||
      options == nullptr || !options_complete(*options) ||
      !ports_complete(*ports, options->region)) {
    return TENSORPATCH_E_ARGUMENT;
  }
  if (workspace_size < kMinWorkspace) return TENSORPATCH_E_WORKSPACE;
  Applier* a = applier_of(applier);
  a->ports = *ports;
  a->options = *options;
  a->workspace = static_cast<uint8_t*>(workspace);
  a->workspace_size = workspace_size;
  a->state = State::kPrefix;
  return TENSORPATCH_OK;
}

tensorpatch_status tensorpatch_apply_resume(tensorpatch_applier* applier,
                                            const uint8_t record[TENSORPATCH_CHECKPOINT_SIZE]) {
  if (applier == nullptr || record == nullptr) return TENSORPATCH_E_ARGUMENT;
  Applier* a = applier_of(applier);
  if (a->state == State::kFailed) return static_cast<tensorpatch_status>(a->status);
  if (a->state != State::kPrefix || a->filled != 0) return TENSORPATCH_E_STATE;
  uint8_t digest[kDigest];
  if (!digest_of(*a, record, checkpoint::kCheckAt, digest)) {
    fail(a, TENSORPATCH_E_HASH);
    return TENSORPATCH_E_HASH;
  }
  const uint8_t component = record[checkpoint::kComponentAt];
  const uint8_t phase = record[checkpoint::kPhaseAt];
  const uint32_t old_page = wire::read_u32(record + checkpoint::kOldPageAt);
  if (memcmp(record + checkpoint::kMagicAt, checkpoint::kMagic, sizeof checkpoint::kMagic) != 0 ||
      wire::read_u16(record + checkpoint::kVersionAt) != checkpoint::kVersion ||
      memcmp(digest, record + checkpoint::kCheckAt, kDigest) != 0 ||
      component >= format::kMaxComponents || phase > checkpoint::kWriting ||
      (phase == checkpoint::kBeside && old_page != 0)) {
    fail(a, TENSORPATCH_E_CHECKPOINT);
    return TENSORPATCH_E_CHECKPOINT;
  }
  a->resuming = 1;
  a->resume_component = component;
  a->place.phase = static_cast<PlacePhase>(phase);
  a->place.record_page = old_page;
  a->place.moved = wire::read_u64(record + checkpoint::kNewOffsetAt);
  a->resume_index = wire::read_u64(record + checkpoint::kBlockIndexAt);
  a->skip = wire::read_u32(record + checkpoint::kBlockOffsetAt);
  a->restart_offset = wire::read_u64(record + checkpoint::kNewOffsetAt);
  memcpy(a->workspace + kStatementDigestAt, record + checkpoint::kStatementDigestAt, kDigest);
  memcpy(a->workspace + kBlockDigestsAt, record + checkpoint::kBlockDigestAt, kDigest);
  return TENSORPATCH_OK;
}

tensorpatch_status tensorpatch_apply_push(tensorpatch_applier* applier, const uint8_t* data,
                                          size_t size, size_t* consumed) {
  if (applier == nullptr || consumed == nullptr || (data == nullptr && size != 0)) {
    return TENSORPATCH_E_ARGUMENT;
  }
  *consumed = 0;
  Applier* a = applier_of(applier);
  if (a->state == State::kUnused) return TENSORPATCH_E_STATE;
  Feed feed = {data, size, work_budget(*a)};
  const tensorpatch_status status = run(a, &feed);
  *consumed = size - feed.size;
  return status;
}

tensorpatch_status tensorpatch_apply_finish(tensorpatch_applier* applier) {
  if (applier == nullptr) return TENSORPATCH_E_ARGUMENT;
  Applier* a = applier_of(applier);
  if (a->state == State::kUnused) return TENSORPATCH_E_STATE;
  Feed feed = {nullptr, 0, work_budget(*a)};
  const uint64_t consumed = a->consumed;
  const tensorpatch_status status = run(a, &feed);
  if (status != TENSORPATCH_MORE || feed.budget == 0 || a->consumed != consumed) return status;
  fail(a, TENSORPATCH_E_TRUNCATED);
  return TENSORPATCH_E_TRUNCATED;
}

uint64_t tensorpatch_apply_next_offset(const tensorpatch_applier* applier) {
  return applier == nullptr ? 0 : applier_of(applier)->consumed;
}

void tensorpatch_apply_cancel(tensorpatch_applier* applier) {
  if (applier != nullptr) applier_of(applier)->cancelled = 1;
}

void tensorpatch_apply_progress(const tensorpatch_applier* applier,
                                tensorpatch_progress* progress) {
  if (applier == nullptr || progress == nullptr) return;
  const Applier* a = applier_of(applier);
  progress->consumed = a->consumed;
  progress->done = a->done;
  progress->total = a->total;
  progress->component = a->component;
}

}  // extern "C"
