// tests/support/bundle_builder.h: writes bundles by hand, field by field, right or wrong on
// purpose.
//
// Independent of lib/bundle, so that the applier is not tested against our own writer's idea of the
// format: only the offsets of format.h are shared. Signatures are real, by keys made from a number.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "apply/patch_decoder.h"
#include "tensorpatch/apply.h"

namespace tensorpatch::test {

using Bytes = std::vector<uint8_t>;
using Digest = std::array<uint8_t, 32>;

Digest sha256(const Bytes& data);

// Reproducible noise.
Bytes noise(size_t size, uint32_t seed);

// An Ed25519 key pair whose seed is 32 times `number`.
struct TestKey {
  explicit TestKey(uint8_t number);
  std::array<uint8_t, 32> public_key;
  std::array<uint8_t, 64> secret_key;
  Digest id;  // SHA-256 of the SubjectPublicKeyInfo

  // A ring's entry; points into this object.
  tensorpatch_key entry(uint16_t role = TENSORPATCH_ROLE_RELEASE) const;
};

// A piece of old that becomes the next piece of new. Where `restarts` is set, a chunk with a
// restart point begins there; the first piece of a component always has one.
struct CopyPiece {
  uint64_t old_offset;
  uint32_t size;
  bool restarts = false;
  uint32_t component = 0;
};

// A patch stream of nothing but copies, for component `component` of `component_count`.
struct CopyPatch {
  uint32_t component = 0;
  uint32_t component_count = 1;
  std::vector<CopyPiece> pieces;
};
Bytes encode_copies(const CopyPatch& patch);
// What the patch makes of old files.
Bytes apply_copies(const CopyPatch& patch, const std::vector<Bytes>& old_files);

struct ComponentSpec {
  Bytes old_file;
  Bytes new_file;
  Bytes patch;
  uint32_t flags = 0;
};

struct SignatureSpec {
  uint16_t algorithm = TENSORPATCH_ED25519;
  std::array<uint8_t, 8> key{};  // how its id begins
  Bytes signature;
};

struct BundleSpec {
  PatchLimits limits{256, 64, 1, 1, 8, 1, 0, 8, 0, 0, 0};
  uint32_t security_version = 3;
  uint64_t sequence = 7;
  std::array<uint8_t, 16> device_class{};
  uint32_t required_codecs = 1;
  uint32_t required_flags = 0;
  Bytes manifest = {'m', 'a', 'n', 'i', 'f', 'e', 's', 't'};
  std::vector<ComponentSpec> components;
  std::vector<uint8_t> signers = {1};  // numbers of test keys

  // Changes to what was built: the statement before it is signed, as it is stored, the signatures
  // before they are written (with their size in the prefix), the prefix, and the bundle at the end.
  std::function<void(Bytes&)> edit_statement;
  std::function<void(Bytes&)> edit_stored;
  std::function<void(std::vector<SignatureSpec>&)> edit_signatures;
  std::function<void(Bytes&)> edit_prefix;
  std::function<void(Bytes&)> edit_bundle;
};

struct BuiltBundle {
  Bytes bytes;
  size_t statement_offset = 0;
  size_t signatures_offset = 0;
  size_t manifest_offset = 0;
  size_t blocks_offset = 0;
};

BuiltBundle build_bundle(const BundleSpec& spec);

// The bytes that are signed.
Bytes framed_statement(const Bytes& statement);
SignatureSpec sign_statement(const Bytes& statement, const TestKey& key);

// One component of a few hundred bytes: pieces of old in another order, several restart points and
// several blocks.
BundleSpec small_spec();
// Two components that copy from each other's old.
BundleSpec two_component_spec();

std::vector<Bytes> old_files(const BundleSpec& spec);
std::vector<Bytes> new_files(const BundleSpec& spec);

}  // namespace tensorpatch::test
