// block_reader.h: collects one block after another and gives out payload only after its digest is
// right.
//
// A component's blocks form a chain (docs/FORMAT.md, section 1.5): each block but the last begins
// with the digest of the next. The reader hashes a block while it arrives, so that no step is
// longer than the bytes at hand. Payload that the decoder could not use yet is kept in the
// format::kMaxStepInput bytes before the buffer and joined with the next payload.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "format.h"
#include "tensorpatch/apply.h"

namespace tensorpatch {

// Bytes offered by the caller of push and the work that this call may still do; both shrink.
struct Feed {
  const uint8_t* data;
  size_t size;
  size_t budget;

  size_t most(size_t wanted) const;   // how many of `wanted` bytes can be taken now
  const uint8_t* take(size_t count);  // count <= most(count)
  void charge(size_t work);           // lowers the budget, at most to zero
};

// Ends the digest at hand and compares; OK, E_HASH or E_DIGEST. Null: whatever it is.
tensorpatch_status expect_digest(const tensorpatch_hash_port& hash, const uint8_t* expected);

// Ends the digest at hand and compares; OK, E_HASH or E_DIGEST. Null: whatever it is.
tensorpatch_status expect_digest(const tensorpatch_hash_port& hash, const uint8_t* expected);

// Payload bytes whose block has been authenticated.
struct Payload {
  const uint8_t* data;
  size_t size;
};

struct BlockReader {
  uint8_t* buffer;  // block_size bytes, kMaxStepInput bytes of room before them
  uint8_t*
      digests;  // 3 x kDigestSize: of the block being collected, of the verified one, before it
  uint64_t patch_size;
  uint64_t count;  // blocks of the component
  uint64_t index;  // of the block being collected, then of the verified one
  uint32_t block_size;
  uint32_t filled;
  uint32_t kept;  // left-over payload bytes before the buffer
};

// Where a byte of a component's payload is.
struct BlockPosition {
  uint64_t index;
  uint32_t offset;  // in the block's payload
};

// Prepares for the block at `index` of a component whose digest is `digest`. buffer, digests and
// block_size have been set; patch_size > 0, index < block_count.
void block_reader_begin(BlockReader* reader, uint64_t patch_size, uint64_t index,
                        const uint8_t* digest);

// Takes bytes of the current block. MORE: needs more input or work; OK: the block is complete and
// right; E_DIGEST or E_HASH.
tensorpatch_status block_reader_collect(BlockReader* reader, const tensorpatch_hash_port& hash,
                                        Feed* feed);

// The verified block's payload with the kept bytes before it.
Payload block_reader_payload(BlockReader* reader);

// Keeps `rest` (less than kMaxStepInput bytes) and goes to the next block; false when there is
// none.
bool block_reader_next(BlockReader* reader, Payload rest);

// Bytes of the current block in the bundle.
uint32_t block_reader_block_size(const BlockReader& reader);

BlockPosition block_reader_position(const BlockReader& reader, uint64_t payload_offset);

// Digest of the verified block or of the one before it; null for any other index.
const uint8_t* block_reader_digest(const BlockReader& reader, uint64_t index);

}  // namespace tensorpatch
