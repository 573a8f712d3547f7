// bundle/bundle_reader.cc: sections one after another, each measured against what is left.
// SPDX-License-Identifier: Apache-2.0
#include "bundle/bundle_reader.h"

#include <algorithm>
#include <string>

#include "apply/wire.h"

namespace tensorpatch::bundle {
namespace {

Error truncated() {
  return {TENSORPATCH_E_TRUNCATED, "the bundle ends too early", "the copy may be incomplete"};
}

// Takes bytes off the front of what is left.
class Cursor {
 public:
  explicit Cursor(base::Bytes left) : left_(left) {}
  Result<base::Bytes> take(uint64_t size) {
    if (size > left_.size()) return tl::unexpected(truncated());
    const base::Bytes front = left_.first(static_cast<size_t>(size));
    left_ = left_.subspan(front.size());
    return front;
  }
  base::Bytes left() const { return left_; }

 private:
  base::Bytes left_;
};

struct Prefix {
  uint8_t minor = 0;
  size_t statement_size = 0;  // as it is stored
  size_t signatures_size = 0;
};

Result<Prefix> read_prefix(Cursor& cursor) {
  const base::Bytes start = cursor.left();
  if (!std::equal(start.begin(),
                  start.begin() +
                      static_cast<std::ptrdiff_t>(std::min(start.size(), sizeof(format::kMagic))),
                  format::kMagic)) {
    return fail(TENSORPATCH_E_FORMAT, "not a tensorpatch bundle");
  }
  const auto bytes = cursor.take(format::kPrefixSize);
  if (!bytes) return tl::unexpected(bytes.error());
  const uint8_t* p = bytes->data();
  if (p[format::kPrefixMajor] != format::kMajor) {
    return fail(
        TENSORPATCH_E_VERSION,
        "the bundle has the unknown major version " + std::to_string(p[format::kPrefixMajor]),
        "a newer tensorpatch may know it");
  }
  return Prefix{p[format::kPrefixMinor], wire::read_u16(p + format::kPrefixStatementSize),
                wire::read_u16(p + format::kPrefixSignaturesSize)};
}

Result<std::vector<keys::Signature>> read_signatures(base::Bytes section) {
  const auto refuse = [](const std::string& what) {
    return fail(TENSORPATCH_E_FORMAT, "the signatures are malformed: " + what);
  };
  Cursor cursor(section);
  std::vector<keys::Signature> signatures;
  while (!cursor.left().empty()) {
    if (signatures.size() == format::kMaxSignatures) return refuse("more than 8");
    const auto head = cursor.take(format::kSignatureHeaderSize);
    if (!head) return refuse("a record does not fit");
    const auto body = cursor.take(wire::read_u16(head->data() + 1));
    if (!body) return refuse("a record does not fit");
    keys::Signature signature;
    signature.algorithm = head->front();
    std::copy_n(head->data() + 3, signature.key.size(), signature.key.begin());
    signature.bytes.assign(body->begin(), body->end());
    const auto is_same_key = [&](const keys::Signature& other) {
      return other.key == signature.key;
    };
    if (std::any_of(signatures.begin(), signatures.end(), is_same_key)) {
      return refuse("two of one key");
    }
    signatures.push_back(std::move(signature));
  }
  return signatures;
}

}  // namespace

Result<uint64_t> blocks_size(uint64_t patch_size, uint32_t block_size) {
  const uint64_t blocks = format::block_count(patch_size, block_size);
  uint64_t size = patch_size;
  if (blocks > 1 && (__builtin_mul_overflow(blocks - 1, uint64_t{format::kDigestSize}, &size) ||
                     __builtin_add_overflow(size, patch_size, &size))) {
    return fail(TENSORPATCH_E_FORMAT, "a patch size is out of range");
  }
  return size;
}

Result<BundleReader> BundleReader::open(base::Bytes bundle) {
  Cursor cursor(bundle);
  const auto prefix = read_prefix(cursor);
  if (!prefix) return tl::unexpected(prefix.error());
  BundleReader reader;
  reader.bytes_ = bundle;

  const auto packed = cursor.take(prefix->statement_size);
  if (!packed) return tl::unexpected(packed.error());
  auto statement_bytes = unpack_statement(*packed);
  if (!statement_bytes) return tl::unexpected(statement_bytes.error());
  auto statement = read_statement(*statement_bytes);
  if (!statement) return tl::unexpected(statement.error());
  if (statement->minor != prefix->minor) {
    return fail(TENSORPATCH_E_FORMAT, "the statement's version differs from the prefix's");
  }
  reader.statement_bytes_ = std::move(*statement_bytes);
  reader.statement_ = std::move(*statement);

  const auto section = cursor.take(prefix->signatures_size);
  if (!section) return tl::unexpected(section.error());
  auto signatures = read_signatures(*section);
  if (!signatures) return tl::unexpected(signatures.error());
  reader.signatures_ = std::move(*signatures);
  reader.after_signatures_ = cursor.left();

  const auto manifest_bytes = cursor.take(reader.statement_.manifest_size);
  if (!manifest_bytes) return tl::unexpected(manifest_bytes.error());
  if (!manifest_bytes->empty() && sha256(*manifest_bytes) != reader.statement_.manifest_digest) {
    return fail(TENSORPATCH_E_DIGEST, "the manifest is not the statement's");
  }
  auto manifest = read_manifest(*manifest_bytes);
  if (!manifest) return tl::unexpected(manifest.error());
  if (manifest->components.size() != reader.statement_.components.size()) {
    return fail(TENSORPATCH_E_FORMAT,
                "the manifest and the statement have different numbers of components");
  }
  reader.manifest_ = std::move(*manifest);

  for (const Component& component : reader.statement_.components) {
    const auto size = blocks_size(component.patch_size, reader.statement_.limits.block_size);
    if (!size) return tl::unexpected(size.error());
    const auto blocks = cursor.take(*size);
    if (!blocks) return tl::unexpected(blocks.error());
    reader.blocks_.push_back(*blocks);
  }
  if (!cursor.left().empty()) {
    return fail(TENSORPATCH_E_TRAILING, "there are bytes after the bundle's end");
  }
  return reader;
}

Result<SignatureReport> BundleReader::verify_signatures(std::span<const keys::PublicKey> ring,
                                                        uint32_t threshold) const {
  if (threshold == 0) return fail(TENSORPATCH_E_ARGUMENT, "a threshold of zero proves nothing");
  const std::vector<uint8_t> message = dsse_message(statement_bytes_);
  SignatureReport report;
  for (const keys::Signature& signature : signatures_) {
    const auto key = std::find_if(ring.begin(), ring.end(), [&](const keys::PublicKey& candidate) {
      return hint_of(candidate) == signature.key;
    });
    if (key == ring.end()) {
      report.unknown.push_back(signature.key);
      continue;
    }
    if (key->algorithm != signature.algorithm || !keys::verify(*key, message, signature)) {
      return fail(TENSORPATCH_E_SIGNATURE,
                  "the signature of key " + to_hex(signature.key) + " is wrong",
                  "the bundle was changed after it was signed, or was not signed by this key");
    }
    report.valid.push_back(key->id);
  }
  if (report.valid.size() < threshold) {
    return fail(TENSORPATCH_E_UNTRUSTED,
                signatures_.empty()
                    ? "the bundle is not signed"
                    : std::to_string(report.valid.size()) + " of " + std::to_string(threshold) +
                          " needed signatures are by known keys",
                signatures_.empty() ? "sign it with tensorpatch sign"
                                    : "give the public keys of those who signed");
  }
  return report;
}

Result<void> BundleReader::verify_blocks() const {
  class Discard : public base::Sink {
    Result<void> write(base::Bytes) override { return {}; }
  } discard;
  for (uint32_t i = 0; i < blocks_.size(); ++i) {
    if (auto ok = read_patch(i, discard); !ok) return ok;
  }
  return {};
}

Result<void> BundleReader::read_patch(uint32_t component, base::Sink& sink) const {
  if (component >= blocks_.size()) return fail(TENSORPATCH_E_ARGUMENT, "no such component");
  const uint32_t block_size = statement_.limits.block_size;
  Digest expected = statement_.components[component].first_block;
  Cursor cursor(blocks_[component]);
  while (!cursor.left().empty()) {
    const bool is_last = cursor.left().size() <= block_size;
    const base::Bytes block = *cursor.take(is_last ? cursor.left().size() : block_size);
    if (sha256(block) != expected) {
      return fail(TENSORPATCH_E_DIGEST,
                  "a block of component " + std::to_string(component) + " was changed");
    }
    if (!is_last) std::copy_n(block.begin(), expected.size(), expected.begin());
    const size_t head = is_last ? 0 : format::kDigestSize;
    if (auto ok = sink.write(block.subspan(head)); !ok) return ok;
  }
  return {};
}

}  // namespace tensorpatch::bundle
