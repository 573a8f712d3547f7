// bundle/bundle_writer.h: patch streams to a bundle, block by block.
//
// Memory: the statement, the manifest and 32 bytes a block; patches stay where they are mapped.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <span>
#include <vector>

#include "apply/format.h"
#include "bundle/bundle_reader.h"
#include "bundle/manifest.h"
#include "bundle/statement.h"
#include "keys/keys.h"

namespace tensorpatch::bundle {

// A bundle whose every byte but the signatures is settled. Written as often as wanted: for the
// self-check first, then signed. The patches' memory must outlive it.
class BundleWriter {
 public:
  // Fills in what follows from the rest: patch sizes, first block digests, the old digest of whole
  // files, manifest size and digest. One patch a component. E_ARGUMENT when the numbers of
  // components, patches and names differ; the statement's and the manifest's own errors.
  static Result<BundleWriter> prepare(Statement statement, const Manifest& manifest,
                                      std::vector<base::Bytes> patches);

  const Statement& statement() const { return statement_; }
  base::Bytes statement_bytes() const { return statement_bytes_; }
  uint64_t bundle_size(std::span<const keys::Signature> signatures) const;
  Result<void> write(std::span<const keys::Signature> signatures, base::Sink& sink) const;

  // A chunk of a component's patch that begins a restart point.
  struct RestartPlace {
    uint32_t component = 0;
    uint64_t new_offset = 0;
    uint64_t patch_offset = 0;
  };
  // What an interrupted device has kept that had come to that place.
  struct Resumption {
    std::array<uint8_t, format::checkpoint::kSize> record{};
    uint64_t head_size = 0;     // bytes of the bundle in front of its first block
    uint64_t block_offset = 0;  // in the bundle, of the block that the device wants next
  };
  Resumption resumption(std::span<const keys::Signature> signatures,
                        const RestartPlace& place) const;

 private:
  BundleWriter() = default;
  Statement statement_;
  std::vector<uint8_t> statement_bytes_;
  std::vector<uint8_t> manifest_bytes_;
  std::vector<base::Bytes> patches_;
  std::vector<std::vector<Digest>> chains_;  // by component: digests of its blocks
};

// Puts a signature into a list, in place of an earlier one by the same key. E_LIMIT beyond eight.
Result<void> add_signature(std::vector<keys::Signature>& signatures, keys::Signature signature);

// The same bundle with other signatures: the identity stays, manifest and blocks are copied.
Result<void> replace_signatures(const BundleReader& bundle,
                                std::span<const keys::Signature> signatures, base::Sink& sink);

}  // namespace tensorpatch::bundle
