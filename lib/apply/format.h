// format.h: the numbers of docs/FORMAT.md, in the words of that page.
//
// Encoder and decoder both take them from here. All integers in files are little-endian.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace tensorpatch::format {

inline constexpr uint8_t kMagic[4] = {0x89, 'T', 'P', 'B'};
inline constexpr uint8_t kMajor = 0;  // 1 once the format is declared
inline constexpr uint8_t kMinor = 1;

// The type that the DSSE framing of a statement's signature names.
inline constexpr char kStatementType[] = "application/vnd.tensorpatch.statement";

inline constexpr size_t kDigestSize = 32;

// Prefix: magic, major, minor, stored size of the statement u16, signatures size u16.
inline constexpr size_t kPrefixSize = 10;
inline constexpr size_t kPrefixMajor = 4;
inline constexpr size_t kPrefixMinor = 5;
inline constexpr size_t kPrefixStatementSize = 6;
inline constexpr size_t kPrefixSignaturesSize = 8;

// Statement: one header, then 1..6 components; FlatBuffers structs of schemas/bundle.fbs. Fields
// that are mostly zero stand together, since bundles store the statement packed.
namespace header {
inline constexpr size_t kSize = 128;
inline constexpr size_t kMajor = 0;           // u8, as in the prefix
inline constexpr size_t kMinor = 1;           // u8, as in the prefix
inline constexpr size_t kKind = 2;            // u8, see Kind
inline constexpr size_t kComponentCount = 3;  // u8, 1..6
inline constexpr size_t kHistoryLog2 = 4;     // u8, 8..22: bytes of new that the decoder remembers
inline constexpr size_t kValueSlots = 5;      // u8, 0..16: independent states of the values codec
inline constexpr size_t kValueLevel = 6;      // u8, 0 = S, 1 = L
inline constexpr size_t kByteCellsLog2 = 7;   // u8, 0 or 8..20: hashed cells of the bytes codec
inline constexpr size_t kMatchLog2 = 8;  // u8, 0 or 6..18: entries of the bytes codec's match table
inline constexpr size_t kColumnLog2 = 9;  // u8, 0 or 6..18: numbers that the rows predictor keeps
inline constexpr size_t kZstdWindowLog2 = 10;   // u8, 0 or 10..22
inline constexpr size_t kEraseLog2 = 11;        // u8, 0..20; restart points are multiples of it
inline constexpr size_t kWriteLog2 = 12;        // u8; offsets of writes are multiples of it
inline constexpr size_t kZero13 = 13;           // u8, zero
inline constexpr size_t kRequiredCodecs = 14;   // u16, bit set of codec ids
inline constexpr size_t kWorkspaceSize = 16;    // u32, equals workspace_size(limits)
inline constexpr size_t kBlockSize = 20;        // u32, 256..1 MiB
inline constexpr size_t kRestartInterval = 24;  // u32, bytes of new between restart points at most
inline constexpr size_t kReach = 28;  // u32, in place: how far behind a restart point old is read
inline constexpr size_t kManifestSize = 32;     // u32, 0..65,536
inline constexpr size_t kRequiredFlags = 36;    // u32, an unknown bit: refused
inline constexpr size_t kOptionalFlags = 40;    // u32, an unknown bit: ignored
inline constexpr size_t kSecurityVersion = 44;  // u32
inline constexpr size_t kSequence = 48;         // u64
inline constexpr size_t kDeviceClass = 56;      // 16 bytes, all zero: any device
inline constexpr size_t kManifestDigest = 72;   // 32 bytes, zero when there is no manifest
inline constexpr size_t kZero24 = 104;          // 24 bytes, zero
}  // namespace header

namespace component {
inline constexpr size_t kSize = 128;
inline constexpr size_t kOldDigest = 0;
inline constexpr size_t kNewDigest = 32;
inline constexpr size_t kFirstBlock = 64;  // digest; zero when the patch is empty
inline constexpr size_t kNewSize = 96;     // u64
inline constexpr size_t kOldSize = 104;    // u64, 0 for a whole file
inline constexpr size_t kPatchSize = 112;  // u64, of the patch stream; 0 only when new is empty
inline constexpr size_t kId = 120;         // u8, first component 0, then ascending by one
inline constexpr size_t kFormat = 121;     // u8, of new, for people
inline constexpr size_t kZero2 = 122;      // 2 bytes, zero
inline constexpr size_t kFlags = 124;      // u32, see ComponentFlag; an unknown bit: refused
}  // namespace component

inline constexpr size_t kMaxComponents = 6;
inline constexpr size_t kMaxStatementSize = header::kSize + kMaxComponents * component::kSize;
inline constexpr uint32_t kMinBlockSize = 256;
inline constexpr uint32_t kMaxBlockSize = 1u << 20;
inline constexpr uint32_t kMaxManifestSize = 1u << 16;

enum Kind : uint8_t { kKindUpdate = 1 };

enum RequiredFlag : uint32_t {
  kFlagInPlace = 1u << 0,    // old is read within the reach only: new may take its place
  kFlagUndo = 1u << 1,       // leads back to what was before an update
  kFlagEncrypted = 1u << 2,  // reserved: refused by this version
};
inline constexpr uint32_t kKnownFlags = kFlagInPlace | kFlagUndo;

enum ComponentFlag : uint32_t {
  kComponentWhole = 1u << 0,  // made without an old file: old size 0
  kComponentKeep = 1u << 1,   // reserved: refused by this version
};

// Signatures: records one after another: algorithm u8, size u16, key hint, signature. The hint is
// how the key id begins.
inline constexpr size_t kKeyHintSize = 8;
inline constexpr size_t kSignatureHeaderSize = 3 + kKeyHintSize;
inline constexpr size_t kMaxSignatures = 8;
inline constexpr size_t kMaxSignatureSize = 128;  // of a known algorithm

// Codecs, as numbers in chunk headers and bits in kRequiredCodecs.
enum CodecId : uint8_t {
  kCodecOperations = 0,  // range-coded operations: copies, always there
  kCodecValues = 1,      // typed values inside operations
  kCodecBytes = 2,       // literal bytes inside operations
  kCodecZstd = 3,        // a chunk that is one zstd frame
  // In kRequiredCodecs only: what small decoders leave out.
  kCodecValuesFull = 4,  // level L, zero maps, predictors, records, floats by themselves
  kCodecBytesFull = 5,   // a match table or 2^14 cells and more
};
inline constexpr uint32_t kAllOfValues = 1u << kCodecValues | 1u << kCodecValuesFull;
inline constexpr uint32_t kAllOfBytes = 1u << kCodecBytes | 1u << kCodecBytesFull;

// Chunk header: codec and flags u8, new size and payload size as varints (LEB128, at most 5 bytes).
inline constexpr uint8_t kChunkCodecMask = 0x0F;
inline constexpr uint8_t kChunkRestart = 0x80;
inline constexpr size_t kMaxChunkHeader = 11;
inline constexpr uint32_t kMaxChunkSize = 1u << 30;

// Most bytes of payload that one step of the decoder may take: one operation header or one element.
inline constexpr size_t kMaxStepInput = 128;

// Payload bytes of a block that is not the last of its component.
inline constexpr uint64_t block_payload(uint32_t block_size) {
  return block_size - kDigestSize;
}

// Number of blocks that carry a patch stream of the given size; block_size >= kMinBlockSize.
inline constexpr uint64_t block_count(uint64_t patch_size, uint32_t block_size) {
  if (patch_size <= block_size) return patch_size != 0 ? 1 : 0;
  return 1 + (patch_size - block_size + block_payload(block_size) - 1) / block_payload(block_size);
}

// Checkpoint record, TENSORPATCH_CHECKPOINT_SIZE bytes.
namespace checkpoint {
inline constexpr uint8_t kMagic[4] = {'T', 'P', 'C', 'K'};
inline constexpr uint16_t kVersion = 1;
inline constexpr size_t kMagicAt = 0;
inline constexpr size_t kVersionAt = 4;    // u16
inline constexpr size_t kComponentAt = 6;  // u8
inline constexpr size_t kPhaseAt = 7;      // u8, see Phase
inline constexpr size_t kBlockOffsetAt =
    8;  // u32, first byte of the restart chunk in the block's payload
inline constexpr size_t kOldPageAt = 12;     // u32, in place: where old is or goes, in erase pages
inline constexpr size_t kNewOffsetAt = 16;   // u64
inline constexpr size_t kBlockIndexAt = 24;  // u64, in the component
inline constexpr size_t kStatementDigestAt = 32;  // identity of the bundle
inline constexpr size_t kBlockDigestAt = 64;      // of the block at kBlockIndexAt
inline constexpr size_t kCheckAt = 96;            // SHA-256 of the 96 bytes before
inline constexpr size_t kSize = 128;

enum Phase : uint8_t {
  kBeside = 0,   // new is written beside old
  kMoving = 1,   // in place: old is being moved; kNewOffsetAt: bytes of old that are not yet
  kWriting = 2,  // in place: new is being written
};
}  // namespace checkpoint

}  // namespace tensorpatch::format
