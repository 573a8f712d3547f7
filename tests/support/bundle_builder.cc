// tests/support/bundle_builder.cc: see bundle_builder.h.
// SPDX-License-Identifier: Apache-2.0
#include "support/bundle_builder.h"

#include <sodium.h>

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstdlib>

#include "apply/format.h"
#include "apply/operation_model.h"
#include "apply/wire.h"
#include "delta/entropy_encoder.h"

namespace tensorpatch::test {
namespace {

namespace header = format::header;
namespace component = format::component;

void append(Bytes& to, const Bytes& bytes) {
  to.insert(to.end(), bytes.begin(), bytes.end());
}

void append_varint(Bytes& to, uint32_t value) {
  for (; value >= 128; value >>= 7) to.push_back(static_cast<uint8_t>(value | 128));
  to.push_back(static_cast<uint8_t>(value));
}

template <size_t kCount>
void put(Bytes& to, size_t offset, const std::array<uint8_t, kCount>& value) {
  std::copy(value.begin(), value.end(), to.begin() + static_cast<std::ptrdiff_t>(offset));
}

// Section 1.5: the blocks of a patch stream, last one first because each names its successor.
struct Chain {
  Bytes blocks;
  Digest first{};
};

Chain chain_blocks(const Bytes& patch, uint32_t block_size) {
  Chain chain;
  if (patch.empty()) return chain;
  std::vector<Bytes> pieces;
  auto rest = patch.begin();
  while (patch.end() - rest > static_cast<std::ptrdiff_t>(block_size)) {
    pieces.emplace_back(rest, rest + static_cast<std::ptrdiff_t>(block_size - 32));
    rest += static_cast<std::ptrdiff_t>(block_size - 32);
  }
  pieces.emplace_back(rest, patch.end());
  for (size_t i = pieces.size() - 1; i-- > 0;) {
    const Digest next = sha256(pieces[i + 1]);
    pieces[i].insert(pieces[i].begin(), next.begin(), next.end());
  }
  chain.first = sha256(pieces[0]);
  for (const Bytes& piece : pieces) append(chain.blocks, piece);
  return chain;
}

void write_header(const BundleSpec& spec, Bytes& statement) {
  uint8_t* fields = statement.data();
  fields[header::kMajor] = format::kMajor;
  fields[header::kMinor] = format::kMinor;
  fields[header::kKind] = format::kKindUpdate;
  fields[header::kComponentCount] = static_cast<uint8_t>(spec.components.size());
  wire::write_u32(fields + header::kSecurityVersion, spec.security_version);
  wire::write_u64(fields + header::kSequence, spec.sequence);
  put(statement, header::kDeviceClass, spec.device_class);
  wire::write_u32(fields + header::kRequiredFlags, spec.required_flags);
  wire::write_u32(fields + header::kWorkspaceSize, workspace_size(spec.limits));
  wire::write_u16(fields + header::kRequiredCodecs, static_cast<uint16_t>(spec.required_codecs));
  wire::write_u32(fields + header::kBlockSize, spec.limits.block_size);
  wire::write_u32(fields + header::kRestartInterval, spec.limits.restart_interval);
  fields[header::kEraseLog2] = static_cast<uint8_t>(std::bit_width(spec.limits.erase_size) - 1);
  fields[header::kWriteLog2] = static_cast<uint8_t>(std::bit_width(spec.limits.write_size) - 1);
  fields[header::kHistoryLog2] = spec.limits.history_log2;
  fields[header::kValueSlots] = spec.limits.value_slots;
  fields[header::kValueLevel] = spec.limits.value_level;
  fields[header::kByteCellsLog2] = spec.limits.byte_cells_log2;
  fields[header::kMatchLog2] = spec.limits.match_log2;
  fields[header::kZstdWindowLog2] = spec.limits.zstd_window_log2;
  fields[header::kColumnLog2] = spec.limits.column_log2;
  wire::write_u32(fields + header::kReach, spec.limits.reach);
  wire::write_u32(fields + header::kManifestSize, static_cast<uint32_t>(spec.manifest.size()));
  if (!spec.manifest.empty()) put(statement, header::kManifestDigest, sha256(spec.manifest));
}

void write_component(const ComponentSpec& spec, uint32_t index, const Digest& first_block,
                     Bytes& statement) {
  const size_t at = header::kSize + index * component::kSize;
  uint8_t* fields = statement.data() + at;
  wire::write_u64(fields + component::kOldSize, spec.old_file.size());
  wire::write_u64(fields + component::kNewSize, spec.new_file.size());
  wire::write_u64(fields + component::kPatchSize, spec.patch.size());
  fields[component::kId] = static_cast<uint8_t>(index);
  wire::write_u32(fields + component::kFlags, spec.flags);
  put(statement, at + component::kOldDigest, sha256(spec.old_file));
  put(statement, at + component::kNewDigest, sha256(spec.new_file));
  put(statement, at + component::kFirstBlock, first_block);
}

// Section 1.2, in the simplest way: each run of zeros, however short, is left out.
Bytes pack_statement(const Bytes& statement) {
  Bytes stored;
  for (size_t at = 0; at < statement.size();) {
    const bool is_zero = statement[at] == 0;
    size_t end = at;
    while (end < statement.size() && end < at + 128 && (statement[end] == 0) == is_zero) ++end;
    stored.push_back(static_cast<uint8_t>((is_zero ? 128 : 0) + end - at - 1));
    if (!is_zero) {
      for (size_t i = at; i < end; ++i) stored.push_back(statement[i]);
    }
    at = end;
  }
  return stored;
}

Bytes make_prefix(size_t statement_size, size_t signatures_size) {
  Bytes prefix(format::kMagic, format::kMagic + sizeof format::kMagic);
  prefix.resize(format::kPrefixSize);
  prefix[format::kPrefixMajor] = format::kMajor;
  prefix[format::kPrefixMinor] = format::kMinor;
  wire::write_u16(prefix.data() + format::kPrefixStatementSize,
                  static_cast<uint16_t>(statement_size));
  wire::write_u16(prefix.data() + format::kPrefixSignaturesSize,
                  static_cast<uint16_t>(signatures_size));
  return prefix;
}

Bytes make_records(const std::vector<SignatureSpec>& signatures) {
  Bytes records;
  for (const SignatureSpec& signature : signatures) {
    uint8_t fields[3] = {static_cast<uint8_t>(signature.algorithm)};
    wire::write_u16(fields + 1, static_cast<uint16_t>(signature.signature.size()));
    records.insert(records.end(), fields, fields + 3);
    records.insert(records.end(), signature.key.begin(), signature.key.end());
    append(records, signature.signature);
  }
  return records;
}

}  // namespace

Digest sha256(const Bytes& data) {
  Digest digest;
  crypto_hash_sha256(digest.data(), data.data(), data.size());
  return digest;
}

Bytes noise(size_t size, uint32_t seed) {
  Bytes bytes(size);
  uint32_t state = seed * 2654435761u + 1;
  for (uint8_t& byte : bytes) {
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    byte = static_cast<uint8_t>(state >> 11);
  }
  return bytes;
}

TestKey::TestKey(uint8_t number) {
  if (sodium_init() < 0) {
    std::fprintf(stderr, "libsodium does not start\n");
    std::abort();
  }
  std::array<uint8_t, 32> seed;
  seed.fill(number);
  crypto_sign_seed_keypair(public_key.data(), secret_key.data(), seed.data());
  Bytes spki = {0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00};
  for (const uint8_t byte : public_key) spki.push_back(byte);  // insert() looks wrong to g++ -O3
  id = sha256(spki);
}

tensorpatch_key TestKey::entry(uint16_t role) const {
  tensorpatch_key key{};
  key.algorithm = TENSORPATCH_ED25519;
  key.role = role;
  std::copy(id.begin(), id.end(), key.id);
  key.public_key = public_key.data();
  key.public_key_size = public_key.size();
  return key;
}

Bytes encode_copies(const CopyPatch& patch) {
  Bytes stream;
  uint64_t new_offset = 0;
  for (size_t i = 0; i < patch.pieces.size();) {
    size_t end = i + 1;
    while (end < patch.pieces.size() && !patch.pieces[end].restarts) ++end;
    delta::RangeEncoder coder;
    OperationModel model;
    operation_model_reset(model, {new_offset, patch.component});
    OperationCoder<delta::RangeEncoder> operations(coder, model, patch.component_count);
    uint32_t size = 0;
    for (; i < end; ++i) {
      Operation operation;
      operation.size = patch.pieces[i].size;
      operation.old = {patch.pieces[i].old_offset, patch.pieces[i].component};
      operations.code(operation);
      size += operation.size;
    }
    const Bytes payload = coder.finish();
    stream.push_back(format::kChunkRestart | format::kCodecOperations);
    append_varint(stream, size);
    append_varint(stream, static_cast<uint32_t>(payload.size()));
    append(stream, payload);
    new_offset += size;
  }
  return stream;
}

Bytes apply_copies(const CopyPatch& patch, const std::vector<Bytes>& files) {
  Bytes made;
  for (const CopyPiece& piece : patch.pieces) {
    const auto from =
        files.at(piece.component).begin() + static_cast<std::ptrdiff_t>(piece.old_offset);
    made.insert(made.end(), from, from + piece.size);
  }
  return made;
}

Bytes framed_statement(const Bytes& statement) {
  const std::string type = format::kStatementType;
  const std::string frame = "DSSEv1 " + std::to_string(type.size()) + " " + type + " " +
                            std::to_string(statement.size()) + " ";
  Bytes message(frame.begin(), frame.end());
  append(message, statement);
  return message;
}

SignatureSpec sign_statement(const Bytes& statement, const TestKey& key) {
  SignatureSpec made;
  std::copy_n(key.id.begin(), made.key.size(), made.key.begin());
  made.signature.resize(crypto_sign_BYTES);
  const Bytes message = framed_statement(statement);
  crypto_sign_detached(made.signature.data(), nullptr, message.data(), message.size(),
                       key.secret_key.data());
  return made;
}

BuiltBundle build_bundle(const BundleSpec& spec) {
  Bytes statement(header::kSize + spec.components.size() * component::kSize);
  write_header(spec, statement);
  Bytes blocks;
  for (uint32_t i = 0; i < spec.components.size(); ++i) {
    const Chain chain = chain_blocks(spec.components[i].patch, spec.limits.block_size);
    write_component(spec.components[i], i, chain.first, statement);
    append(blocks, chain.blocks);
  }
  if (spec.edit_statement) spec.edit_statement(statement);
  std::vector<SignatureSpec> signatures;
  for (const uint8_t signer : spec.signers) {
    signatures.push_back(sign_statement(statement, TestKey(signer)));
  }
  if (spec.edit_signatures) spec.edit_signatures(signatures);
  const Bytes records = make_records(signatures);
  Bytes stored = pack_statement(statement);
  if (spec.edit_stored) spec.edit_stored(stored);
  Bytes prefix = make_prefix(stored.size(), records.size());
  if (spec.edit_prefix) spec.edit_prefix(prefix);

  BuiltBundle built;
  built.bytes = prefix;
  built.statement_offset = built.bytes.size();
  append(built.bytes, stored);
  built.signatures_offset = built.bytes.size();
  append(built.bytes, records);
  built.manifest_offset = built.bytes.size();
  append(built.bytes, spec.manifest);
  built.blocks_offset = built.bytes.size();
  append(built.bytes, blocks);
  if (spec.edit_bundle) spec.edit_bundle(built.bytes);
  return built;
}

BundleSpec small_spec() {
  CopyPatch patch;
  const Bytes old_file = noise(300, 1);
  // Every piece reads elsewhere, so that the stream is long enough for several blocks.
  for (uint32_t i = 0; i < 110; ++i) {
    patch.pieces.push_back({(i * 137) % 290, 3 + i % 5, i % 2 == 0, 0});
  }
  BundleSpec spec;
  ComponentSpec made;
  made.old_file = old_file;
  made.new_file = apply_copies(patch, {old_file});
  made.patch = encode_copies(patch);
  spec.components.push_back(made);
  return spec;
}

BundleSpec two_component_spec() {
  const std::vector<Bytes> olds = {noise(80, 2), noise(50, 3)};
  const CopyPatch patches[] = {
      {0, 2, {{0, 40, true, 0}, {10, 20, false, 1}, {40, 40, true, 0}}},
      {1, 2, {{20, 30, true, 0}, {0, 50, true, 1}}},
  };
  BundleSpec spec;
  for (size_t i = 0; i < 2; ++i) {
    ComponentSpec made;
    made.old_file = olds[i];
    made.new_file = apply_copies(patches[i], olds);
    made.patch = encode_copies(patches[i]);
    spec.components.push_back(made);
  }
  return spec;
}

std::vector<Bytes> old_files(const BundleSpec& spec) {
  std::vector<Bytes> files;
  for (const ComponentSpec& each : spec.components) files.push_back(each.old_file);
  return files;
}

std::vector<Bytes> new_files(const BundleSpec& spec) {
  std::vector<Bytes> files;
  for (const ComponentSpec& each : spec.components) files.push_back(each.new_file);
  return files;
}

}  // namespace tensorpatch::test
