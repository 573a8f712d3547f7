// bundle/bundle_reader.h: a mapped bundle taken apart, every size checked before it is used.
//
// For `inspect`, `verify` and `sign`. Opening trusts nothing and proves nothing about who made the
// bundle: call verify_signatures for that, and verify_blocks for what no opening reads. Applying is
// lib/apply's. docs/FORMAT.md section 1; refuses with the statuses that the applier gives.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <vector>

#include "bundle/manifest.h"
#include "bundle/statement.h"
#include "keys/keys.h"

namespace tensorpatch::bundle {

struct SignatureReport {
  std::vector<Digest> valid;           // key ids, at least `threshold`
  std::vector<keys::KeyHint> unknown;  // of keys that the ring lacks; unchecked
};

class BundleReader {
 public:
  // `bundle` must outlive the reader. E_FORMAT, E_VERSION, E_CODEC, E_TRUNCATED, E_TRAILING, and
  // E_DIGEST for a manifest that is not the statement's.
  static Result<BundleReader> open(base::Bytes bundle);

  base::Bytes bytes() const { return bytes_; }
  const Statement& statement() const { return statement_; }
  base::Bytes statement_bytes() const { return statement_bytes_; }
  Digest identity() const { return bundle::identity(statement_bytes_); }
  const std::vector<keys::Signature>& signatures() const { return signatures_; }
  const Manifest& manifest() const { return manifest_; }
  // Manifest and blocks: what stays when signatures change.
  base::Bytes after_signatures() const { return after_signatures_; }

  // The rule of section 1.3 with a ring of release keys: E_SIGNATURE when a signature of a known
  // key is wrong, E_UNTRUSTED when fewer than `threshold` (>= 1) different known keys signed.
  Result<SignatureReport> verify_signatures(std::span<const keys::PublicKey> ring,
                                            uint32_t threshold) const;
  // E_DIGEST unless every block of every component is the one its predecessor names.
  Result<void> verify_blocks() const;
  // Checks a component's blocks as verify_blocks does and gives `sink` its patch stream; nothing of
  // a block reaches the sink before it is checked.
  Result<void> read_patch(uint32_t component, base::Sink& sink) const;

 private:
  BundleReader() = default;
  base::Bytes bytes_;
  std::vector<uint8_t> statement_bytes_;  // unpacked
  base::Bytes after_signatures_;
  Statement statement_;
  std::vector<keys::Signature> signatures_;
  Manifest manifest_;
  std::vector<base::Bytes> blocks_;  // by component
};

// How many bytes a component's blocks take in the bundle; nothing when that overflows.
Result<uint64_t> blocks_size(uint64_t patch_size, uint32_t block_size);

}  // namespace tensorpatch::bundle
