// applier.cc: the state machine behind tensorpatch/apply.h.
//
// One enum of states, one small function a state. Every function takes what input there is, does at
// most the work that is left of the call's budget, and can be called again at the same place. The
// order of checks is that of docs/FORMAT.md, section 1.6.
// SPDX-License-Identifier: Apache-2.0
#include "applier.h"

#include "codec.h"

namespace tensorpatch {
namespace {

namespace header = format::header;
namespace component = format::component;
namespace checkpoint = format::checkpoint;

// In the block buffer while signatures are read.
constexpr size_t kRecordAt = kBufferAt;
constexpr size_t kSeenHintsAt =
    kRecordAt + format::kSignatureHeaderSize + format::kMaxSignatureSize;
constexpr size_t kMinWorkspace =
    kSeenHintsAt + format::kMaxSignatures * format::kKeyHintSize;  // to reach the statement's own

constexpr size_t kEd25519KeySize = 32;
constexpr size_t kP256KeySize = 65;    // 0x04, x, y
constexpr size_t kSignatureSize = 64;  // of both algorithms

// --- Fields of the statement -------------------------------------------------------------------

bool is_whole(const Applier& a, uint32_t index) {
  return (component_at(a, index)[component::kFlags] & format::kComponentWhole) != 0;
}

PatchLimits limits_of(const uint8_t* fields) {
  PatchLimits limits{};
  limits.block_size = wire::read_u32(fields + header::kBlockSize);
  limits.restart_interval = wire::read_u32(fields + header::kRestartInterval);
  limits.erase_size = wire::power_of_two(fields[header::kEraseLog2]);
  limits.write_size = wire::power_of_two(fields[header::kWriteLog2]);
  limits.history_log2 = fields[header::kHistoryLog2];
  limits.value_slots = fields[header::kValueSlots];
  limits.value_level = fields[header::kValueLevel];
  limits.byte_cells_log2 = fields[header::kByteCellsLog2];
  limits.match_log2 = fields[header::kMatchLog2];
  limits.zstd_window_log2 = fields[header::kZstdWindowLog2];
  limits.column_log2 = fields[header::kColumnLog2];
  limits.reach = wire::read_u32(fields + header::kReach);
  return limits;
}

bool is_in_place(const Applier& a) {
  return a.options.region != nullptr;
}
// Whether this pass over the blocks writes.
bool writes(const Applier& a) {
  return a.ports.write_new != nullptr && a.phase != PlacePhase::kChecking;
}

// Copies input until `destination` holds `wanted` bytes; whether it does.
bool collect(Applier* a, Feed* feed, uint8_t* destination, uint32_t wanted) {
  const size_t count = feed->most(wanted - a->filled);
  if (count != 0) memcpy(destination + a->filled, feed->take(count), count);
  a->filled += static_cast<uint32_t>(count);
  return a->filled == wanted;
}

// --- Prefix, statement, signatures -------------------------------------------------------------

tensorpatch_status check_prefix(const uint8_t* prefix) {
  if (memcmp(prefix, format::kMagic, sizeof format::kMagic) != 0) return TENSORPATCH_E_FORMAT;
  if (prefix[format::kPrefixMajor] != format::kMajor) return TENSORPATCH_E_VERSION;
  return TENSORPATCH_OK;
}

tensorpatch_status state_prefix(Applier* a, Feed* feed) {
  uint8_t* prefix = a->workspace;  // the framing takes this place next
  if (!collect(a, feed, prefix, format::kPrefixSize)) return TENSORPATCH_MORE;
  const tensorpatch_status status = check_prefix(prefix);
  if (status != TENSORPATCH_OK) return status;
  a->version[0] = prefix[format::kPrefixMajor];
  a->version[1] = prefix[format::kPrefixMinor];
  a->wanted = wire::read_u16(prefix + format::kPrefixStatementSize);
  a->signatures_left = wire::read_u16(prefix + format::kPrefixSignaturesSize);
  memcpy(a->workspace, kFraming, sizeof(kFraming) - 1);
  return enter(a, State::kStatement);
}

tensorpatch_status state_statement(Applier* a, Feed* feed) {
  for (; a->filled != a->wanted; ++a->filled) {
    if (feed->most(1) == 0) return TENSORPATCH_MORE;
    if (!unpack_statement(a->packed, *feed->take(1), a->workspace + kStatementAt)) {
      return TENSORPATCH_E_FORMAT;
    }
  }
  if (!statement_is_whole(a->packed)) return TENSORPATCH_E_FORMAT;
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

tensorpatch_status trust_statement(Applier* a);

tensorpatch_status state_signature_header(Applier* a, Feed* feed) {
  if (a->signatures_left == 0) return trust_statement(a);
  if (a->signature_count == format::kMaxSignatures ||
      a->signatures_left < format::kSignatureHeaderSize) {
    return TENSORPATCH_E_FORMAT;
  }
  uint8_t* record = a->workspace + kRecordAt;
  if (!collect(a, feed, record, format::kSignatureHeaderSize)) return TENSORPATCH_MORE;
  a->wanted = wire::read_u16(record + 1);
  a->signatures_left = static_cast<uint16_t>(a->signatures_left - format::kSignatureHeaderSize);
  if (a->wanted > a->signatures_left || seen_before(a, record + 3)) {
    return TENSORPATCH_E_FORMAT;
  }
  a->signatures_left = static_cast<uint16_t>(a->signatures_left - a->wanted);
  ++a->signature_count;
  a->key = find_key(*a, record + 3);
  if (a->key == nullptr) return enter(a, State::kSkipSignature);
  if (record[0] != a->key->algorithm || a->wanted != kSignatureSize) {
    return TENSORPATCH_E_SIGNATURE;
  }
  return enter(a, State::kSignature);
}

tensorpatch_status state_signature(Applier* a, Feed* feed) {
  uint8_t* signature = a->workspace + kRecordAt + format::kSignatureHeaderSize;
  if (!collect(a, feed, signature, a->wanted)) return TENSORPATCH_MORE;
  const size_t message_size = kFramingSize + a->packed.size;
  feed->charge(message_size);
  if (a->ports.verify(a->ports.context, a->key, a->workspace, message_size, signature, a->wanted) !=
      0) {
    return TENSORPATCH_E_SIGNATURE;
  }
  ++a->valid_signatures;
  return enter(a, State::kSignatureHeader);
}

tensorpatch_status state_skip_signature(Applier* a, Feed* feed) {
  const size_t count = feed->most(a->wanted - a->filled);
  feed->take(count);
  a->filled += static_cast<uint32_t>(count);
  if (a->filled != a->wanted) return TENSORPATCH_MORE;
  return enter(a, State::kSignatureHeader);
}

// --- The statement, once it is authentic -------------------------------------------------------

// What can be said of a header without its components and without this device.
tensorpatch_status check_header(const uint8_t* fields, const PatchLimits& limits,
                                size_t components) {
  const uint32_t flags = wire::read_u32(fields + header::kRequiredFlags);
  if (fields[header::kKind] != format::kKindUpdate || (flags & ~format::kKnownFlags) != 0) {
    return TENSORPATCH_E_VERSION;
  }
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
  if ((wire::read_u32(fields + component::kFlags) & ~uint32_t{format::kComponentWhole}) != 0) {
    return TENSORPATCH_E_VERSION;
  }
  const bool no_patch = patch_size(a, index) == 0;
  if (fields[component::kId] != index || !wire::is_zero(fields + component::kZero2, 2) ||
      (is_whole(a, index) && old_size(a, index) != 0) || no_patch != (new_size(a, index) == 0) ||
      (no_patch && !wire::is_zero(fields + component::kFirstBlock, kDigest))) {
    return TENSORPATCH_E_FORMAT;
  }
  return TENSORPATCH_OK;
}

bool has_codecs(const Applier& a, uint32_t required) {
  uint32_t known = 1u << format::kCodecOperations;
  for (size_t i = 0; i < a.options.codec_count; ++i) known |= a.options.codecs[i]->provides;
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

tensorpatch_status check_statement(Applier* a) {
  const uint8_t* fields = statement(*a);
  if (memcmp(fields, a->version, sizeof a->version) != 0) return TENSORPATCH_E_FORMAT;
  a->component_count = static_cast<uint8_t>((a->packed.size - header::kSize) / component::kSize);
  PatchLimits& limits = a->decoder.job.limits;
  limits = limits_of(fields);
  tensorpatch_status status = check_header(fields, limits, a->component_count);
  for (uint32_t i = 0; status == TENSORPATCH_OK && i < a->component_count; ++i) {
    status = check_component(*a, i);
  }
  return status == TENSORPATCH_OK ? check_device(*a) : status;
}

// The digest of the statement is the bundle's identity; a checkpoint must name the same.
tensorpatch_status identify(Applier* a) {
  uint8_t digest[kDigest];
  uint8_t* identity = a->workspace + kStatementDigestAt;
  const tensorpatch_status status = digest_of(*a, statement(*a), a->packed.size, digest);
  if (status != TENSORPATCH_OK) return status;
  if (a->resuming != 0 && memcmp(digest, identity, kDigest) != 0) {
    return TENSORPATCH_E_CHECKPOINT;
  }
  memcpy(identity, digest, kDigest);
  return TENSORPATCH_OK;
}

// Whether old and new can share the region, and where old goes.
tensorpatch_status plan_place(Applier* a) {
  if (is_in_place(*a)) return a->options.region->method->plan(a);
  return a->phase == PlacePhase::kBeside ? TENSORPATCH_OK : TENSORPATCH_E_CHECKPOINT;
}

tensorpatch_status trust_statement(Applier* a) {
  if (a->valid_signatures < a->options.threshold) return TENSORPATCH_E_UNTRUSTED;
  tensorpatch_status status = check_statement(a);
  if (status == TENSORPATCH_OK) status = identify(a);
  if (status == TENSORPATCH_OK) status = plan_place(a);
  if (status != TENSORPATCH_OK) return status;
  PatchJob* job = &a->decoder.job;
  job->ports = &a->ports;
  job->codecs = a->options.codecs;
  job->codec_count = a->options.codec_count;
  job->component_count = a->component_count;
  a->total = is_in_place(*a) ? new_size(*a, 0) + a->place.moved : 0;
  for (uint32_t i = 0; i < a->component_count; ++i) {
    job->old_sizes[i] = old_size(*a, i);
    a->total += job->old_sizes[i] + new_size(*a, i);
    if (a->ports.write_new != nullptr) a->total += new_size(*a, i);
  }
  a->blocks.buffer = a->workspace + kBufferAt;
  a->blocks.digests = a->workspace + kBlockDigestsAt;
  a->blocks.block_size = limits(*a).block_size;
  a->wanted = wire::read_u32(statement(*a) + header::kManifestSize);
  return enter_hash(a, State::kManifest);
}

// --- Manifest and whole files ------------------------------------------------------------------

// Goes to the first block, of the component that a checkpoint names or of the first one.
tensorpatch_status begin_writing(Applier* a) {
  a->component = 0;
  a->first_block = a->consumed;
  if (a->phase == PlacePhase::kMoving) {
    a->resuming = 0;
    a->skip = 0;
    return enter(a, State::kMove);
  }
  if (a->phase == PlacePhase::kChecking) {
    const tensorpatch_hash_port& hash = a->options.region->hash;
    if (hash.init(hash.state) != 0) return TENSORPATCH_E_HASH;
  }
  if (a->resuming != 0) {
    const tensorpatch_status status = a->resume(a);
    if (status != TENSORPATCH_OK) return status;
  }
  return enter(a, State::kComponent);
}

tensorpatch_status state_manifest(Applier* a, Feed* feed) {
  const tensorpatch_hash_port& hash = a->ports.hash;
  const size_t count = feed->most(a->wanted - a->filled);
  if (count != 0 && hash.update(hash.state, feed->take(count), count) != 0) {
    return TENSORPATCH_E_HASH;
  }
  a->filled += static_cast<uint32_t>(count);
  if (a->filled != a->wanted) return TENSORPATCH_MORE;
  const uint8_t* digest = statement(*a) + header::kManifestDigest;
  const tensorpatch_status status = expect_digest(hash, a->wanted != 0 ? digest : nullptr);
  if (status != TENSORPATCH_OK) return status;
  if (a->phase == PlacePhase::kWriting) return begin_writing(a);  // old is there in part
  return enter_hash(a, State::kHashOld);
}

// Where the next slice of a file that is hashed can be read.
struct FileSlice {
  ReadFunction read;
  uint64_t at;
  uint64_t size;  // at most
};

FileSlice slice_of(const Applier& a, uint64_t size) {
  FileSlice slice = {a.ports.read_old, a.offset, size - a.offset};
  if (a.state != State::kHashNew && !is_in_place(a)) return slice;
  slice.read = a.ports.read_new;
  if (a.state != State::kHashOld) return slice;
  if (a.offset >= a.place.moved) {
    slice.at += a.place.old_at;
  } else {
    slice.at += a.options.region->old_offset;
    if (slice.size > a.place.moved - a.offset) slice.size = a.place.moved - a.offset;
  }
  return slice;
}

// Reads and hashes the next slice of a file of the current component. OK: there is more; DONE: the
// digest is right; E_DIGEST: wrong.
tensorpatch_status hash_slice(Applier* a, Feed* feed, uint64_t size, const uint8_t* digest) {
  const tensorpatch_hash_port& hash = a->ports.hash;
  if (a->offset == size) {
    const tensorpatch_status status = expect_digest(hash, digest);
    return status == TENSORPATCH_OK ? TENSORPATCH_DONE : status;
  }
  const FileSlice slice = slice_of(*a, size);
  uint8_t* buffer = a->workspace + kBufferAt;
  size_t count = a->blocks.block_size < feed->budget ? a->blocks.block_size : feed->budget;
  if (slice.size < count) count = static_cast<size_t>(slice.size);
  const int result = slice.read(a->ports.context, a->component, slice.at, buffer, count);
  if (result == TENSORPATCH_BEYOND_END) return TENSORPATCH_E_DIGEST;
  if (result != 0) {
    return a->state == State::kHashNew ? TENSORPATCH_E_READ_NEW : TENSORPATCH_E_READ_OLD;
  }
  if (hash.update(hash.state, buffer, count) != 0) return TENSORPATCH_E_HASH;
  feed->charge(count);
  a->offset += count;
  if (a->state != State::kHashOldAsNew) a->done += count;
  return TENSORPATCH_OK;
}

// Three states that hash whole files, one after the other from the first on. kHashOldAsNew looks at
// all again, also those whose old digest was right: a new file may begin with its old one.
tensorpatch_status state_hash_files(Applier* a, Feed* feed) {
  const uint8_t* fields = component_at(*a, a->component);
  const bool as_old = a->state == State::kHashOld;
  const bool whole = is_whole(*a, a->component);
  if (whole && a->state == State::kHashOldAsNew) return TENSORPATCH_E_OLD;
  const tensorpatch_status status =
      as_old ? hash_slice(a, feed, old_size(*a, a->component), fields + component::kOldDigest)
             : hash_slice(a, feed, new_size(*a, a->component), fields + component::kNewDigest);
  if (status == TENSORPATCH_E_DIGEST) {
    if (a->state == State::kHashNew) return TENSORPATCH_E_NEW;
    if (!as_old) return TENSORPATCH_E_OLD;
    if (whole) return TENSORPATCH_E_FORMAT;
    a->component = 0;
    return enter_hash(a, State::kHashOldAsNew);
  }
  if (status != TENSORPATCH_DONE) return status;
  if (a->component + 1 != a->component_count) {
    ++a->component;
    return enter_hash(a, a->state);
  }
  if (as_old) return begin_writing(a);
  return a->state == State::kHashNew ? TENSORPATCH_DONE : TENSORPATCH_ALREADY_NEW;
}

// --- Blocks ------------------------------------------------------------------------------------

// What the decoder must know of the component at hand.
void set_job(Applier* a) {
  PatchJob* job = &a->decoder.job;
  job->component = a->component;
  job->new_size = new_size(*a, a->component);
  job->read_old = a->ports.read_old;
  if (!is_in_place(*a)) return;
  const bool checking = a->phase == PlacePhase::kChecking;
  job->read_old = a->ports.read_new;
  job->old_base = checking ? a->options.region->old_offset : a->place.old_at;
  job->digest = checking ? &a->options.region->hash : nullptr;
}

tensorpatch_status state_component(Applier* a, Feed*) {
  if (a->component == a->component_count) {
    a->component = 0;
    if (a->phase == PlacePhase::kChecking) return a->options.region->method->end_checking(a);
    if (a->ports.write_new == nullptr) return TENSORPATCH_DONE;
    return enter_hash(a, State::kHashNew);
  }
  set_job(a);
  if (a->resuming != 0) return a->resume(a);
  const uint64_t size = patch_size(*a, a->component);
  if (size == 0) {
    ++a->component;
    return TENSORPATCH_OK;
  }
  patch_decoder_begin(&a->decoder, a->blocks.buffer + a->blocks.block_size);
  block_reader_begin(&a->blocks, size, 0, component_at(*a, a->component) + component::kFirstBlock);
  a->input.patch_remaining = size;
  a->restart_offset = 0;
  a->erased = 0;
  return enter(a, State::kBlock);
}

tensorpatch_status state_block(Applier* a, Feed* feed) {
  const tensorpatch_status status = block_reader_collect(&a->blocks, a->ports.hash, feed);
  if (status != TENSORPATCH_OK) return status;
  const Payload payload = block_reader_payload(&a->blocks);
  a->input.data = payload.data + a->skip;
  a->input.size = payload.size - a->skip;
  a->skip = 0;
  return enter(a, State::kErase);
}

// Makes ready what will be written before the next restart point, so that an interrupted update
// erases one interval again and not the whole place.
tensorpatch_status state_erase(Applier* a, Feed* feed) {
  enter(a, State::kDecode);
  if (a->ports.erase == nullptr || !writes(*a)) return TENSORPATCH_OK;
  const uint32_t interval = limits(*a).restart_interval;
  const uint64_t size = a->decoder.job.new_size;
  const bool to_the_end = size - a->restart_offset <= interval;
  const uint64_t end =
      to_the_end ? ((size - 1) | (limits(*a).erase_size - 1)) + 1 : a->restart_offset + interval;
  if (end <= a->erased) return TENSORPATCH_OK;
  const uint64_t count = end - a->erased;
  if (a->ports.erase(a->ports.context, a->component, a->erased, count) != 0) {
    return TENSORPATCH_E_ERASE;
  }
  feed->charge(static_cast<size_t>(count));
  a->erased = end;
  return TENSORPATCH_OK;
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

tensorpatch_status state_decode(Applier* a, Feed* feed) {
  const uint64_t before = patch_decoder_new_offset(&a->decoder);
  const PatchEvent event = patch_decoder_run(&a->decoder, &a->input, &feed->budget);
  const uint64_t after = patch_decoder_new_offset(&a->decoder);
  a->done += after - before;
  switch (event) {
    case PatchEvent::kNeedInput:
      if (!block_reader_next(&a->blocks, {a->input.data, a->input.size})) {
        return TENSORPATCH_E_FORMAT;  // the stream ends inside an operation
      }
      return enter(a, State::kBlock);
    case PatchEvent::kWorkLimit:
      feed->budget = 0;
      return TENSORPATCH_MORE;
    case PatchEvent::kCheckpoint:
      a->restart_offset = after;
      enter(a, State::kErase);
      return save_checkpoint(a);
    case PatchEvent::kDone:
      if (a->input.patch_remaining != 0) return TENSORPATCH_E_FORMAT;
      ++a->component;
      return enter(a, State::kComponent);
    case PatchEvent::kFailed:
      break;
  }
  return patch_decoder_status(&a->decoder);
}

// --- The machine -------------------------------------------------------------------------------

tensorpatch_status run_state(Applier* a, Feed* feed) {
  switch (a->state) {
    case State::kUnused:
      break;
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
    case State::kHashOldAsNew:
    case State::kHashNew:
      return state_hash_files(a, feed);
    case State::kComponent:
      return state_component(a, feed);
    case State::kBlock:
      return state_block(a, feed);
    case State::kErase:
      return state_erase(a, feed);
    case State::kDecode:
      return state_decode(a, feed);
    case State::kMove:
      return a->options.region->method->move(a, feed);
  }
  return TENSORPATCH_E_STATE;
}

// Whether all blocks have been taken, so that one more byte is one too many.
bool has_all_input(const Applier& a) {
  if (a.status != TENSORPATCH_OK) return a.status == TENSORPATCH_DONE;
  return a.state == State::kHashNew ||
         (a.state == State::kComponent && a.component == a.component_count);
}

// Works until it is over, the input is used up or the work limit is reached.
tensorpatch_status run(Applier* a, Feed* feed) {
  tensorpatch_status step = TENSORPATCH_OK;
  while (step == TENSORPATCH_OK && feed->budget != 0 && a->status == TENSORPATCH_OK) {
    if (a->cancelled != 0) {
      a->status = TENSORPATCH_E_CANCELLED;
      break;
    }
    if (feed->size != 0 && has_all_input(*a)) break;
    const size_t size = feed->size;
    step = run_state(a, feed);
    a->consumed += size - feed->size;
    if (step > TENSORPATCH_MORE) a->status = static_cast<uint16_t>(step);
    if (a->paused != 0 && a->state == State::kBlock) {
      a->paused = 0;
      break;
    }
  }
  if (feed->size != 0 && has_all_input(*a)) a->status = TENSORPATCH_E_TRAILING;
  return a->status != TENSORPATCH_OK ? static_cast<tensorpatch_status>(a->status)
                                     : TENSORPATCH_MORE;
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

// --- What the other files share ----------------------------------------------------------------

uint64_t old_size(const Applier& a, uint32_t index) {
  return wire::read_u64(component_at(a, index) + component::kOldSize);
}
uint64_t new_size(const Applier& a, uint32_t index) {
  return wire::read_u64(component_at(a, index) + component::kNewSize);
}
uint64_t patch_size(const Applier& a, uint32_t index) {
  return wire::read_u64(component_at(a, index) + component::kPatchSize);
}

tensorpatch_status enter(Applier* a, State state) {
  a->state = state;
  a->filled = 0;
  return TENSORPATCH_OK;
}

tensorpatch_status enter_hash(Applier* a, State state) {
  if (a->ports.hash.init(a->ports.hash.state) != 0) return TENSORPATCH_E_HASH;
  a->offset = 0;
  return enter(a, state);
}

tensorpatch_status digest_of(const Applier& a, const uint8_t* data, size_t size, uint8_t* digest) {
  const tensorpatch_hash_port& hash = a.ports.hash;
  const bool made = hash.init(hash.state) == 0 && hash.update(hash.state, data, size) == 0 &&
                    hash.finish(hash.state, digest) == 0;
  return made ? TENSORPATCH_OK : TENSORPATCH_E_HASH;
}

tensorpatch_status save_record(Applier* a, const Checkpoint& at) {
  uint8_t record[checkpoint::kSize] = {};
  memcpy(record + checkpoint::kMagicAt, checkpoint::kMagic, sizeof checkpoint::kMagic);
  wire::write_u16(record + checkpoint::kVersionAt, checkpoint::kVersion);
  record[checkpoint::kComponentAt] = a->component;
  record[checkpoint::kPhaseAt] = static_cast<uint8_t>(a->phase);
  if (is_in_place(*a)) {
    const uint64_t page = a->place.old_at / limits(*a).erase_size;
    wire::write_u32(record + checkpoint::kOldPageAt, static_cast<uint32_t>(page));
  }
  wire::write_u32(record + checkpoint::kBlockOffsetAt, at.position.offset);
  wire::write_u64(record + checkpoint::kNewOffsetAt, at.offset);
  wire::write_u64(record + checkpoint::kBlockIndexAt, at.position.index);
  memcpy(record + checkpoint::kStatementDigestAt, a->workspace + kStatementDigestAt, kDigest);
  memcpy(record + checkpoint::kBlockDigestAt, at.block_digest, kDigest);
  const tensorpatch_status status =
      digest_of(*a, record, checkpoint::kCheckAt, record + checkpoint::kCheckAt);
  if (status != TENSORPATCH_OK) return status;
  return a->ports.save_checkpoint(a->ports.context, record) == 0 ? TENSORPATCH_OK
                                                                 : TENSORPATCH_E_SAVE_CHECKPOINT;
}

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
  status = check_header(fields, limits_of(fields), fields[header::kComponentCount]);
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
  a->status = TENSORPATCH_E_TRUNCATED;
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
