// bundle/bundle_writer.cc: the block chain, built from its end, and the sections in order.
// SPDX-License-Identifier: Apache-2.0
#include "bundle/bundle_writer.h"

#include <algorithm>
#include <string>

#include "apply/wire.h"

namespace tensorpatch::bundle {
namespace {

// The patch bytes in block `index` of `count`.
base::Bytes block_body(base::Bytes patch, uint64_t index, uint64_t count, uint32_t block_size) {
  const size_t step = static_cast<size_t>(format::block_payload(block_size));
  const base::Bytes rest = patch.subspan(static_cast<size_t>(index) * step);
  return index + 1 == count ? rest : rest.first(step);
}

// Digests of a patch's blocks. Each covers the next one's, so the last is computed first.
std::vector<Digest> block_chain(base::Bytes patch, uint32_t block_size) {
  const uint64_t count = format::block_count(patch.size(), block_size);
  std::vector<Digest> chain(static_cast<size_t>(count));
  Sha256 hash;
  for (size_t i = chain.size(); i-- > 0;) {
    if (i + 1 < chain.size()) hash.update(chain[i + 1]);
    hash.update(block_body(patch, i, count, block_size));
    chain[i] = hash.finish();
  }
  return chain;
}

size_t section_size(std::span<const keys::Signature> signatures) {
  size_t size = 0;
  for (const auto& signature : signatures) {
    size += format::kSignatureHeaderSize + signature.bytes.size();
  }
  return size;
}

Result<void> check_signatures(std::span<const keys::Signature> signatures) {
  if (signatures.size() > format::kMaxSignatures) {
    return fail(TENSORPATCH_E_LIMIT, "a bundle has at most 8 signatures");
  }
  for (size_t i = 0; i < signatures.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      if (signatures[i].key == signatures[j].key) {
        return fail(TENSORPATCH_E_ARGUMENT, "two signatures of one key");
      }
    }
  }
  if (section_size(signatures) > UINT16_MAX) {
    return fail(TENSORPATCH_E_LIMIT, "the signatures have more than 65,535 bytes");
  }
  return {};
}

// Prefix, statement and signature records.
Result<void> write_front(base::Bytes statement_bytes, std::span<const keys::Signature> signatures,
                         base::Sink& sink) {
  if (auto ok = check_signatures(signatures); !ok) return ok;
  const std::vector<uint8_t> statement = pack_statement(statement_bytes);
  std::vector<uint8_t> front(format::kPrefixSize);
  std::copy(std::begin(format::kMagic), std::end(format::kMagic), front.begin());
  front[format::kPrefixMajor] = statement_bytes[format::header::kMajor];
  front[format::kPrefixMinor] = statement_bytes[format::header::kMinor];
  wire::write_u16(&front[format::kPrefixStatementSize], static_cast<uint16_t>(statement.size()));
  wire::write_u16(&front[format::kPrefixSignaturesSize],
                  static_cast<uint16_t>(section_size(signatures)));
  front.insert(front.end(), statement.begin(), statement.end());
  for (const auto& signature : signatures) {
    uint8_t head[3] = {static_cast<uint8_t>(signature.algorithm)};
    wire::write_u16(head + 1, static_cast<uint16_t>(signature.bytes.size()));
    front.insert(front.end(), std::begin(head), std::end(head));
    front.insert(front.end(), signature.key.begin(), signature.key.end());
    front.insert(front.end(), signature.bytes.begin(), signature.bytes.end());
  }
  return sink.write(front);
}

}  // namespace

Result<BundleWriter> BundleWriter::prepare(Statement statement, const Manifest& manifest,
                                           std::vector<base::Bytes> patches) {
  if (patches.size() != statement.components.size() ||
      patches.size() != manifest.components.size()) {
    return fail(TENSORPATCH_E_ARGUMENT, "components, patches and names are different in number");
  }
  auto manifest_bytes = write_manifest(manifest);
  if (!manifest_bytes) return tl::unexpected(manifest_bytes.error());
  statement.manifest_size = static_cast<uint32_t>(manifest_bytes->size());
  if (!manifest_bytes->empty()) statement.manifest_digest = sha256(*manifest_bytes);
  if (!limits_valid(statement.limits)) {
    return fail(TENSORPATCH_E_ARGUMENT, "a decoder limit is out of its range");
  }
  BundleWriter writer;
  for (size_t i = 0; i < patches.size(); ++i) {
    Component& component = statement.components[i];
    writer.chains_.push_back(block_chain(patches[i], statement.limits.block_size));
    component.patch_size = patches[i].size();
    if ((component.flags & format::kComponentWhole) != 0) component.old_digest = sha256({});
    component.first_block = patches[i].empty() ? Digest{} : writer.chains_.back().front();
  }
  auto statement_bytes = write_statement(statement);
  if (!statement_bytes) return tl::unexpected(statement_bytes.error());
  writer.statement_ = std::move(statement);
  writer.statement_bytes_ = std::move(*statement_bytes);
  writer.manifest_bytes_ = std::move(*manifest_bytes);
  writer.patches_ = std::move(patches);
  return writer;
}

uint64_t BundleWriter::bundle_size(std::span<const keys::Signature> signatures) const {
  uint64_t size = format::kPrefixSize + pack_statement(statement_bytes_).size() +
                  section_size(signatures) + manifest_bytes_.size();
  for (const base::Bytes patch : patches_) {
    size += blocks_size(patch.size(), statement_.limits.block_size).value();
  }
  return size;
}

Result<void> BundleWriter::write(std::span<const keys::Signature> signatures,
                                 base::Sink& sink) const {
  if (auto ok = write_front(statement_bytes_, signatures, sink); !ok) return ok;
  if (auto ok = sink.write(manifest_bytes_); !ok) return ok;
  for (size_t i = 0; i < patches_.size(); ++i) {
    const auto& chain = chains_[i];
    for (size_t block = 0; block < chain.size(); ++block) {
      if (block + 1 < chain.size()) {
        if (auto ok = sink.write(chain[block + 1]); !ok) return ok;
      }
      const base::Bytes body =
          block_body(patches_[i], block, chain.size(), statement_.limits.block_size);
      if (auto ok = sink.write(body); !ok) return ok;
    }
  }
  return {};
}

BundleWriter::Resumption BundleWriter::resumption(std::span<const keys::Signature> signatures,
                                                  const RestartPlace& place) const {
  namespace checkpoint = format::checkpoint;
  const uint32_t block_size = statement_.limits.block_size;
  const uint64_t payload = format::block_payload(block_size);
  const std::vector<Digest>& chain = chains_[place.component];
  const uint64_t index = std::min<uint64_t>(place.patch_offset / payload, chain.size() - 1);
  Resumption result;
  uint8_t* record = result.record.data();
  std::copy(std::begin(checkpoint::kMagic), std::end(checkpoint::kMagic), record);
  wire::write_u16(record + checkpoint::kVersionAt, checkpoint::kVersion);
  record[checkpoint::kComponentAt] = static_cast<uint8_t>(place.component);
  wire::write_u32(record + checkpoint::kBlockOffsetAt,
                  static_cast<uint32_t>(place.patch_offset - index * payload));
  wire::write_u64(record + checkpoint::kNewOffsetAt, place.new_offset);
  wire::write_u64(record + checkpoint::kBlockIndexAt, index);
  std::ranges::copy(sha256(statement_bytes_), record + checkpoint::kStatementDigestAt);
  std::ranges::copy(chain[static_cast<size_t>(index)], record + checkpoint::kBlockDigestAt);
  const Digest check = sha256(base::Bytes(record, checkpoint::kCheckAt));
  std::ranges::copy(check, record + checkpoint::kCheckAt);
  uint64_t blocks = 0, before = 0;
  for (size_t i = 0; i < patches_.size(); ++i) {
    if (i == place.component) before = blocks;
    blocks += blocks_size(patches_[i].size(), block_size).value();
  }
  result.head_size = bundle_size(signatures) - blocks;
  result.block_offset = result.head_size + before + index * block_size;
  return result;
}

Result<void> add_signature(std::vector<keys::Signature>& signatures, keys::Signature signature) {
  const auto same =
      std::find_if(signatures.begin(), signatures.end(),
                   [&](const keys::Signature& other) { return other.key == signature.key; });
  if (same != signatures.end()) {
    *same = std::move(signature);
    return {};
  }
  if (signatures.size() == format::kMaxSignatures) {
    return fail(TENSORPATCH_E_LIMIT, "a bundle has at most 8 signatures");
  }
  signatures.push_back(std::move(signature));
  return {};
}

Result<void> replace_signatures(const BundleReader& bundle,
                                std::span<const keys::Signature> signatures, base::Sink& sink) {
  if (auto ok = write_front(bundle.statement_bytes(), signatures, sink); !ok) return ok;
  return sink.write(bundle.after_signatures());
}

}  // namespace tensorpatch::bundle
