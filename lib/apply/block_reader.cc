// block_reader.cc: collects, hashes and compares blocks; see block_reader.h.
// SPDX-License-Identifier: Apache-2.0
#include "block_reader.h"

#include <string.h>

namespace tensorpatch {
namespace {

constexpr size_t kDigest = format::kDigestSize;

uint8_t* expected_digest(const BlockReader& reader) {
  return reader.digests;
}
uint8_t* verified_digest(const BlockReader& reader) {
  return reader.digests + kDigest;
}
uint8_t* previous_digest(const BlockReader& reader) {
  return reader.digests + 2 * kDigest;
}

bool is_last(const BlockReader& reader) {
  return reader.index + 1 == reader.count;
}

// Bytes before the payload: the digest of the next block.
size_t payload_begin(const BlockReader& reader) {
  return is_last(reader) ? 0 : kDigest;
}

tensorpatch_status verify(BlockReader* reader, const tensorpatch_hash_port& hash) {
  const tensorpatch_status status = expect_digest(hash, expected_digest(*reader));
  if (status != TENSORPATCH_OK) return status;
  // Verified becomes previous, expected becomes verified.
  memmove(verified_digest(*reader), expected_digest(*reader), 2 * kDigest);
  if (!is_last(*reader)) memcpy(expected_digest(*reader), reader->buffer, kDigest);
  return TENSORPATCH_OK;
}

}  // namespace

size_t Feed::most(size_t wanted) const {
  const size_t here = size < budget ? size : budget;
  return wanted < here ? wanted : here;
}

const uint8_t* Feed::take(size_t count) {
  const uint8_t* begin = data;
  if (count != 0) data += count;  // `data` may be null when there is nothing
  size -= count;
  budget -= count;
  return begin;
}

void Feed::charge(size_t work) {
  budget -= work < budget ? work : budget;
}

tensorpatch_status expect_digest(const tensorpatch_hash_port& hash, const uint8_t* expected) {
  uint8_t digest[kDigest];
  if (hash.finish(hash.state, digest) != 0) return TENSORPATCH_E_HASH;
  if (expected == nullptr || memcmp(digest, expected, kDigest) == 0) return TENSORPATCH_OK;
  return TENSORPATCH_E_DIGEST;
}

void block_reader_begin(BlockReader* reader, uint64_t patch_size, uint64_t index,
                        const uint8_t* digest) {
  reader->patch_size = patch_size;
  reader->count = format::block_count(patch_size, reader->block_size);
  reader->index = index;
  reader->filled = 0;
  reader->kept = 0;
  memmove(expected_digest(*reader), digest, kDigest);
}

uint32_t block_reader_block_size(const BlockReader& reader) {
  if (!is_last(reader)) return reader.block_size;
  const uint64_t before = reader.index * format::block_payload(reader.block_size);
  return static_cast<uint32_t>(reader.patch_size - before);
}

tensorpatch_status block_reader_collect(BlockReader* reader, const tensorpatch_hash_port& hash,
                                        Feed* feed) {
  const uint32_t size = block_reader_block_size(*reader);
  const size_t count = feed->most(size - reader->filled);
  if (count == 0) return TENSORPATCH_MORE;
  if (reader->filled == 0 && hash.init(hash.state) != 0) return TENSORPATCH_E_HASH;
  uint8_t* piece = reader->buffer + reader->filled;
  memcpy(piece, feed->take(count), count);
  if (hash.update(hash.state, piece, count) != 0) return TENSORPATCH_E_HASH;
  reader->filled += static_cast<uint32_t>(count);
  return reader->filled == size ? verify(reader, hash) : TENSORPATCH_MORE;
}

Payload block_reader_payload(BlockReader* reader) {
  uint8_t* payload = reader->buffer + payload_begin(*reader);
  uint8_t* begin = payload - reader->kept;
  memmove(begin, reader->buffer - reader->kept, reader->kept);
  return {begin, block_reader_block_size(*reader) - payload_begin(*reader) + reader->kept};
}

bool block_reader_next(BlockReader* reader, Payload rest) {
  if (is_last(*reader) || rest.size >= format::kMaxStepInput) return false;
  memmove(reader->buffer - rest.size, rest.data, rest.size);
  reader->kept = static_cast<uint32_t>(rest.size);
  reader->filled = 0;
  ++reader->index;
  return true;
}

BlockPosition block_reader_position(const BlockReader& reader, uint64_t payload_offset) {
  const uint64_t payload = format::block_payload(reader.block_size);
  uint64_t index = payload_offset / payload;
  if (index >= reader.count) index = reader.count - 1;  // the last block may hold more
  return {index, static_cast<uint32_t>(payload_offset - index * payload)};
}

const uint8_t* block_reader_digest(const BlockReader& reader, uint64_t index) {
  if (index == reader.index) return verified_digest(reader);
  if (index + 1 == reader.index) return previous_digest(reader);
  return nullptr;
}

}  // namespace tensorpatch
