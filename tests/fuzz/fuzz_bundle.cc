// fuzz_bundle.cc: the bundle reader on any bytes, and on bytes whose sums are made right first.
//
// What opens must write again with the same bytes, and must not be called signed.
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

namespace at = format::header;

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
  require(std::equal(copy.bytes.begin(), copy.bytes.end(), input.begin(), input.end()));
  const keys::PublicKey key = keys::make_public_key({1});
  require(!reader->verify_signatures({&key, 1}, 1));
  (void)reader->verify_blocks();
  (void)bundle::contract(reader->statement(), reader->manifest());
}

// Puts right what random bytes cannot hit: magic, workspace size, manifest digest.
void repair(std::vector<uint8_t>& bytes) {
  if (bytes.size() < format::kPrefixSize + at::kSize) return;
  std::copy(std::begin(format::kMagic), std::end(format::kMagic), bytes.begin());
  uint8_t* header = bytes.data() + format::kPrefixSize;
  const PatchLimits limits = {512, 4096, 1024, 64, 10, 1, 0, 8, 6, 0};
  wire::write_u32(header + at::kBlockSize, limits.block_size);
  wire::write_u32(header + at::kRestartInterval, limits.restart_interval);
  wire::write_u32(header + at::kEraseSize, limits.erase_size);
  wire::write_u32(header + at::kWriteSize, limits.write_size);
  header[at::kHistoryLog2] = limits.history_log2;
  header[at::kValueSlots] = limits.value_slots;
  header[at::kValueLevel] = limits.value_level;
  header[at::kByteCellsLog2] = limits.byte_cells_log2;
  header[at::kMatchLog2] = limits.match_log2;
  header[at::kZstdWindowLog2] = limits.zstd_window_log2;
  wire::write_u32(header + at::kWorkspaceSize, workspace_size(limits));
  const size_t manifest_at = format::kPrefixSize +
                             wire::read_u16(&bytes[format::kPrefixStatementSize]) +
                             wire::read_u16(&bytes[format::kPrefixSignaturesSize]);
  const size_t manifest_size = wire::read_u32(header + at::kManifestSize);
  if (manifest_at > bytes.size() || manifest_size > bytes.size() - manifest_at) return;
  const auto digest = bundle::sha256(base::Bytes(bytes).subspan(manifest_at, manifest_size));
  std::copy(digest.begin(), digest.end(), header + at::kManifestDigest);
}

}  // namespace
}  // namespace tensorpatch

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tensorpatch;
  const base::Bytes input(data, size);
  check(input);
  std::vector<uint8_t> repaired(input.begin(), input.end());
  repair(repaired);
  check(repaired);
  if (const auto manifest = bundle::read_manifest(input)) {
    require(bundle::write_manifest(*manifest).has_value());
  }
  (void)bundle::read_details(input, bundle::sha256(input));
  (void)bundle::parse_profile({reinterpret_cast<const char*>(data), size});
  return 0;
}
