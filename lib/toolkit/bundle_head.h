// toolkit/bundle_head.h: the first bytes of a bundle that streams by: prefix, statement,
// signatures, manifest.
//
// Kept for the component names and for going on after an interruption. Bounded; what it holds means
// something only after the applier accepted the same bytes.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "apply/format.h"
#include "base/file.h"
#include "bundle/manifest.h"
#include "bundle/statement.h"
#include "toolkit/applier_run.h"

namespace tensorpatch::toolkit {

class BundleHead {
 public:
  // Shown all bytes of the bundle from its start, keeps those of the head.
  void take(base::Bytes data);
  bool is_complete() const { return part_ == Part::kManifest && bytes_.size() == wanted_; }
  base::Bytes bytes() const { return bytes_; }

  // Of a complete head.
  Result<bundle::Statement> statement() const;
  Result<bundle::Manifest> manifest() const;
  // Where in the bundle the block begins that a checkpoint names.
  Result<uint64_t> offset_of(const CheckpointRecord& record) const;

 private:
  enum class Part : uint8_t { kPrefix, kStatement, kManifest };  // signatures: the statement's
  void look_further();

  std::vector<uint8_t> bytes_;
  size_t wanted_ = format::kPrefixSize;  // bytes to the end of the part at hand
  Part part_ = Part::kPrefix;
};

}  // namespace tensorpatch::toolkit
