// toolkit/bundle_head.cc: see bundle_head.h; docs/FORMAT.md sections 1.1, 1.2 and 1.5.
// SPDX-License-Identifier: Apache-2.0
#include "toolkit/bundle_head.h"

#include <algorithm>

#include "apply/wire.h"
#include "bundle/bundle_reader.h"

namespace tensorpatch::toolkit {

void BundleHead::take(base::Bytes data) {
  while (!data.empty() && !is_complete()) {
    const size_t count = std::min(data.size(), wanted_ - bytes_.size());
    bytes_.insert(bytes_.end(), data.begin(), data.begin() + static_cast<std::ptrdiff_t>(count));
    data = data.subspan(count);
    if (bytes_.size() == wanted_) look_further();
  }
}

// What is wanted once the part at hand is there. The applier refuses what is out of range here; it
// must only not take memory.
void BundleHead::look_further() {
  if (part_ == Part::kPrefix) {
    wanted_ += size_t{wire::read_u16(bytes_.data() + format::kPrefixStatementSize)} +
               wire::read_u16(bytes_.data() + format::kPrefixSignaturesSize);
    part_ = Part::kStatement;
  } else if (part_ == Part::kStatement) {
    if (const auto read = statement()) wanted_ += read->manifest_size;
    part_ = Part::kManifest;
  }
}

Result<bundle::Statement> BundleHead::statement() const {
  const size_t size = wire::read_u16(bytes_.data() + format::kPrefixStatementSize);
  if (bytes_.size() < format::kPrefixSize + size) {
    return fail(TENSORPATCH_E_FORMAT, "the statement is cut off");
  }
  auto unpacked = bundle::unpack_statement(bytes().subspan(format::kPrefixSize, size));
  if (!unpacked) return tl::unexpected(unpacked.error());
  return bundle::read_statement(*unpacked);
}

Result<bundle::Manifest> BundleHead::manifest() const {
  auto read = statement();
  if (!read) return tl::unexpected(read.error());
  if (bytes_.size() < read->manifest_size) {
    return fail(TENSORPATCH_E_FORMAT, "the manifest is cut off");
  }
  return bundle::read_manifest(bytes().last(read->manifest_size));
}

Result<uint64_t> BundleHead::offset_of(const CheckpointRecord& record) const {
  auto read = statement();
  if (!read) return tl::unexpected(read.error());
  const uint16_t component = wire::read_u16(record.data() + format::checkpoint::kComponentAt);
  const uint64_t block = wire::read_u64(record.data() + format::checkpoint::kBlockIndexAt);
  if (component >= read->components.size() ||
      block >=
          format::block_count(read->components[component].patch_size, read->limits.block_size)) {
    return fail(TENSORPATCH_E_CHECKPOINT, "the kept state names a place outside the bundle");
  }
  uint64_t offset = bytes_.size();
  for (size_t i = 0; i < component; ++i) {
    auto size = bundle::blocks_size(read->components[i].patch_size, read->limits.block_size);
    if (!size) return size;
    offset += *size;
  }
  return offset + block * read->limits.block_size;
}

}  // namespace tensorpatch::toolkit
