// bundle/statement.h: the signed facts of a bundle, as a struct and as bytes.
//
// docs/FORMAT.md section 1.2. What read_statement accepts, write_statement writes with the same
// bytes, but for optional flags' meaning, which nobody knows yet; both refuse what that page says
// must be refused. Device limits that a statement cannot know (floors, capacity, ring) are the
// applier's.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "apply/format.h"
#include "apply/patch_decoder.h"
#include "base/file.h"
#include "bundle/digest.h"
#include "tensorpatch/result.h"

namespace tensorpatch::bundle {

using Uuid = std::array<uint8_t, 16>;  // in the order the digits are printed

// One file; its id in the bytes is its index in Statement::components.
struct Component {
  uint64_t old_size = 0;
  uint64_t new_size = 0;
  uint64_t patch_size = 0;  // bytes of the patch stream, without the digests between blocks
  uint8_t format = 0;       // of new, for people: a model::Format
  uint32_t flags = 0;       // format::ComponentFlag
  Digest old_digest{};      // of zero bytes for a whole file
  Digest new_digest{};
  Digest first_block{};  // zero when the patch is empty
  bool operator==(const Component&) const = default;
};

struct Statement {
  uint8_t minor = format::kMinor;
  uint8_t kind = format::kKindUpdate;
  uint32_t required_flags = 0;
  uint32_t optional_flags = 0;
  uint32_t security_version = 0;
  uint64_t sequence = 0;
  Uuid device_class{};  // zero: any device
  PatchLimits limits{};
  uint32_t required_codecs = 1u << format::kCodecOperations;
  uint32_t manifest_size = 0;  // 0: none, and its digest is zero
  Digest manifest_digest{};
  std::vector<Component> components;  // 1..6
};

// The bytes; refuses what read_statement would refuse.
Result<std::vector<uint8_t>> write_statement(const Statement& statement);
Result<Statement> read_statement(base::Bytes bytes);

// The statement's bytes as a bundle stores them, without runs of zeros, and back. E_FORMAT for what
// is not a header and 1 to 6 components.
std::vector<uint8_t> pack_statement(base::Bytes bytes);
Result<std::vector<uint8_t>> unpack_statement(base::Bytes packed);

// The update's identity: the digest of the statement's bytes.
Digest identity(base::Bytes statement_bytes);

// What is signed: the statement's bytes in DSSE pre-authentication encoding.
std::vector<uint8_t> dsse_message(base::Bytes statement_bytes);

// "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx", digits of either case; E_USAGE otherwise.
Result<Uuid> parse_uuid(std::string_view text);
std::string format_uuid(const Uuid& uuid);

}  // namespace tensorpatch::bundle
