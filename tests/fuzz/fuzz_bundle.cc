// fuzz_bundle.cc: the bundle reader on any bytes, and on any bytes in place of its signatures,
// manifest and blocks.
//
// corpus/bundle holds one seed of each kind: a manifest, details, a profile, and what wrap() takes,
// with and without a signature. What opens must write again with the same bytes, and must not be
// called signed.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdlib>
#include <vector>

#include "apply/wire.h"
#include "bundle/bundle_reader.h"
#include "bundle/bundle_writer.h"
#include "bundle/details.h"
#include "bundle/profile.h"

namespace tensorpatch {
namespace {

void require(bool ok) {
  if (!ok) std::abort();
}

class MemorySink : public base::Sink {
 public:
  Result<void> write(base::Bytes data) override {
    bytes.insert(bytes.end(), data.begin(), data.end());
    return {};
  }
  std::vector<uint8_t> bytes;
};

void check(base::Bytes input) {
  const auto reader = bundle::BundleReader::open(input);
  if (!reader) return;
  require(bundle::write_statement(reader->statement()).value() ==
          std::vector<uint8_t>(reader->statement_bytes().begin(), reader->statement_bytes().end()));
  require(bundle::write_manifest(reader->manifest()).has_value());
  MemorySink copy;
  require(bundle::replace_signatures(*reader, reader->signatures(), copy).has_value());
  const auto again = bundle::BundleReader::open(copy.bytes);  // perhaps packed another way
  require(again && again->identity() == reader->identity());
  require(std::ranges::equal(again->after_signatures(), reader->after_signatures()));
  const keys::PublicKey key = keys::make_public_key({1});
  require(!reader->verify_signatures({&key, 1}, 1));
  (void)reader->verify_blocks();
  (void)bundle::contract(reader->statement(), reader->manifest());
}

// A bundle of one component around the input: the first two bytes say how long its signatures and
// its manifest are, then come these two and the blocks. What random bytes cannot hit is right.
std::vector<uint8_t> wrap(base::Bytes input) {
  constexpr size_t kSizes = 2;
  if (input.size() < kSizes) return {};
  const base::Bytes rest = input.subspan(kSizes);
  const size_t signatures_size = std::min<size_t>(input[0], rest.size());
  const size_t manifest_size = std::min<size_t>(input[1] * 4u, rest.size() - signatures_size);
  const base::Bytes manifest = rest.subspan(signatures_size, manifest_size);

  bundle::Statement statement;
  statement.limits = {512, 4096, 1024, 64, 10, 1, 0, 8, 6, 0, 7};
  statement.manifest_size = static_cast<uint32_t>(manifest_size);
  if (manifest_size != 0) statement.manifest_digest = bundle::sha256(manifest);
  bundle::Component component;
  component.patch_size = rest.size() - signatures_size - manifest_size;
  component.new_size = component.patch_size;
  if (component.patch_size != 0) component.first_block = bundle::sha256(rest);
  statement.components = {component};
  const auto statement_bytes = bundle::write_statement(statement);
  require(statement_bytes.has_value());
  const std::vector<uint8_t> stored = bundle::pack_statement(*statement_bytes);

  std::vector<uint8_t> bytes(format::kPrefixSize);
  std::copy(std::begin(format::kMagic), std::end(format::kMagic), bytes.begin());
  bytes[format::kPrefixMajor] = format::kMajor;
  bytes[format::kPrefixMinor] = format::kMinor;
  wire::write_u16(&bytes[format::kPrefixStatementSize], static_cast<uint16_t>(stored.size()));
  wire::write_u16(&bytes[format::kPrefixSignaturesSize], static_cast<uint16_t>(signatures_size));
  bytes.insert(bytes.end(), stored.begin(), stored.end());
  bytes.insert(bytes.end(), rest.begin(), rest.end());
  return bytes;
}

}  // namespace
}  // namespace tensorpatch

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tensorpatch;
  const base::Bytes input(data, size);
  check(input);
  check(wrap(input));
  if (const auto manifest = bundle::read_manifest(input)) {
    require(bundle::write_manifest(*manifest).has_value());
  }
  (void)bundle::read_details(input, bundle::sha256(input));
  (void)bundle::parse_profile({reinterpret_cast<const char*>(data), size});
  return 0;
}
