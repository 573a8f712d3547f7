// bundle/statement.cc: the statement's bytes through the offsets of lib/apply/format.h, as devices
// read them.
// SPDX-License-Identifier: Apache-2.0
#include "bundle/statement.h"

#include <algorithm>
#include <bit>
#include <string>

#include "apply/packed_statement.h"
#include "apply/wire.h"

namespace tensorpatch::bundle {
namespace {

// A run of zeros must be this long to be worth the control bytes around it.
constexpr size_t kMinZeroRun = 3;
constexpr size_t kMaxRun = 128;

constexpr uint32_t kKnownCodecs = 1u << format::kCodecOperations | format::kAllOfValues |
                                  format::kAllOfBytes | 1u << format::kCodecZstd;

tl::unexpected<Error> malformed(const std::string& what) {
  return fail(TENSORPATCH_E_FORMAT, "the statement is malformed: " + what);
}

template <size_t N>
void put(uint8_t* place, const std::array<uint8_t, N>& value) {
  std::copy(value.begin(), value.end(), place);
}

template <size_t N>
std::array<uint8_t, N> get(const uint8_t* place) {
  std::array<uint8_t, N> value;
  std::copy_n(place, N, value.begin());
  return value;
}

void encode_header(const Statement& s, uint8_t* p) {
  namespace at = format::header;
  p[at::kMajor] = format::kMajor;
  p[at::kMinor] = s.minor;
  p[at::kKind] = s.kind;
  p[at::kComponentCount] = static_cast<uint8_t>(s.components.size());
  wire::write_u32(p + at::kRequiredFlags, s.required_flags);
  wire::write_u32(p + at::kOptionalFlags, s.optional_flags);
  wire::write_u32(p + at::kSecurityVersion, s.security_version);
  wire::write_u64(p + at::kSequence, s.sequence);
  put(p + at::kDeviceClass, s.device_class);
  wire::write_u32(p + at::kWorkspaceSize, workspace_size(s.limits));
  wire::write_u16(p + at::kRequiredCodecs, static_cast<uint16_t>(s.required_codecs));
  wire::write_u32(p + at::kBlockSize, s.limits.block_size);
  wire::write_u32(p + at::kRestartInterval, s.limits.restart_interval);
  p[at::kEraseLog2] = static_cast<uint8_t>(std::countr_zero(s.limits.erase_size));
  p[at::kWriteLog2] = static_cast<uint8_t>(std::countr_zero(s.limits.write_size));
  p[at::kHistoryLog2] = s.limits.history_log2;
  p[at::kValueSlots] = s.limits.value_slots;
  p[at::kValueLevel] = s.limits.value_level;
  p[at::kByteCellsLog2] = s.limits.byte_cells_log2;
  p[at::kMatchLog2] = s.limits.match_log2;
  p[at::kZstdWindowLog2] = s.limits.zstd_window_log2;
  p[at::kColumnLog2] = s.limits.column_log2;
  wire::write_u32(p + at::kReach, s.limits.reach);
  wire::write_u32(p + at::kManifestSize, s.manifest_size);
  put(p + at::kManifestDigest, s.manifest_digest);
}

void encode_component(const Component& c, uint8_t id, uint8_t* p) {
  namespace at = format::component;
  wire::write_u64(p + at::kOldSize, c.old_size);
  wire::write_u64(p + at::kNewSize, c.new_size);
  wire::write_u64(p + at::kPatchSize, c.patch_size);
  p[at::kId] = id;
  p[at::kFormat] = c.format;
  wire::write_u32(p + at::kFlags, c.flags);
  put(p + at::kOldDigest, c.old_digest);
  put(p + at::kNewDigest, c.new_digest);
  put(p + at::kFirstBlock, c.first_block);
}

Statement decode_header(const uint8_t* p) {
  namespace at = format::header;
  Statement s;
  s.minor = p[at::kMinor];
  s.kind = p[at::kKind];
  s.required_flags = wire::read_u32(p + at::kRequiredFlags);
  s.optional_flags = wire::read_u32(p + at::kOptionalFlags);
  s.security_version = wire::read_u32(p + at::kSecurityVersion);
  s.sequence = wire::read_u64(p + at::kSequence);
  s.device_class = get<16>(p + at::kDeviceClass);
  s.required_codecs = wire::read_u16(p + at::kRequiredCodecs);
  s.limits.block_size = wire::read_u32(p + at::kBlockSize);
  s.limits.restart_interval = wire::read_u32(p + at::kRestartInterval);
  s.limits.erase_size = wire::power_of_two(p[at::kEraseLog2]);
  s.limits.write_size = wire::power_of_two(p[at::kWriteLog2]);
  s.limits.history_log2 = p[at::kHistoryLog2];
  s.limits.value_slots = p[at::kValueSlots];
  s.limits.value_level = p[at::kValueLevel];
  s.limits.byte_cells_log2 = p[at::kByteCellsLog2];
  s.limits.match_log2 = p[at::kMatchLog2];
  s.limits.zstd_window_log2 = p[at::kZstdWindowLog2];
  s.limits.column_log2 = p[at::kColumnLog2];
  s.limits.reach = wire::read_u32(p + at::kReach);
  s.manifest_size = wire::read_u32(p + at::kManifestSize);
  s.manifest_digest = get<32>(p + at::kManifestDigest);
  return s;
}

Component decode_component(const uint8_t* p) {
  namespace at = format::component;
  Component c;
  c.old_size = wire::read_u64(p + at::kOldSize);
  c.new_size = wire::read_u64(p + at::kNewSize);
  c.patch_size = wire::read_u64(p + at::kPatchSize);
  c.format = p[at::kFormat];
  c.flags = wire::read_u32(p + at::kFlags);
  c.old_digest = get<32>(p + at::kOldDigest);
  c.new_digest = get<32>(p + at::kNewDigest);
  c.first_block = get<32>(p + at::kFirstBlock);
  return c;
}

Result<void> check_header(const Statement& s, const uint8_t* p) {
  namespace at = format::header;
  if (p[at::kMajor] != format::kMajor) {
    return malformed("its major version is not the prefix's");
  }
  if (s.kind != format::kKindUpdate || (s.required_flags & ~format::kKnownFlags) != 0) {
    return fail(TENSORPATCH_E_VERSION, "the statement has a kind or a flag that is not known here",
                "a newer tensorpatch may know it");
  }
  if ((s.required_codecs & ~kKnownCodecs) != 0) {
    return fail(TENSORPATCH_E_CODEC, "the statement requires a codec that is not known here",
                "a newer tensorpatch may know it");
  }
  if ((s.required_codecs & 1u << format::kCodecOperations) == 0) {
    return malformed("the codec of operations is not among the required ones");
  }
  if (!limits_valid(s.limits)) return malformed("a decoder limit is out of its range");
  if (wire::read_u32(p + at::kWorkspaceSize) != workspace_size(s.limits)) {
    return malformed("the workspace size is not what its limits need");
  }
  if (s.manifest_size > format::kMaxManifestSize ||
      (s.manifest_size == 0 && s.manifest_digest != Digest{})) {
    return malformed("the manifest size is out of its range");
  }
  const bool in_place = (s.required_flags & format::kFlagInPlace) != 0;
  if (in_place != (s.limits.reach != 0) || (in_place && p[at::kComponentCount] != 1)) {
    return malformed("in place goes with a reach and with one component");
  }
  if (p[at::kZero13] != 0 || !wire::is_zero(p + at::kZero24, at::kSize - at::kZero24)) {
    return malformed("a reserved field is not zero");
  }
  return {};
}

Result<void> check_component(const Component& c) {
  if ((c.flags & ~static_cast<uint32_t>(format::kComponentWhole)) != 0) {
    return fail(TENSORPATCH_E_VERSION, "a component has a flag that is not known here",
                "a newer tensorpatch may know it");
  }
  const bool whole = (c.flags & format::kComponentWhole) != 0;
  if (whole && c.old_size != 0) return malformed("a whole file with an old size");
  if ((c.patch_size == 0) != (c.new_size == 0)) {
    return malformed(c.patch_size == 0 ? "a new file without a patch"
                                       : "a patch for an empty file");
  }
  if (whole && c.old_digest != sha256({})) {
    return malformed("a whole file whose old digest is not that of no bytes");
  }
  if (c.patch_size == 0 && !wire::is_zero(c.first_block.data(), c.first_block.size())) {
    return malformed("an empty patch with a first block");
  }
  return {};
}

}  // namespace

std::vector<uint8_t> pack_statement(base::Bytes bytes) {
  std::vector<uint8_t> packed;
  const auto zeros_at = [&](size_t at) {
    size_t end = at;
    while (end < bytes.size() && end < at + kMaxRun && bytes[end] == 0) ++end;
    return end - at;
  };
  for (size_t at = 0; at < bytes.size();) {
    size_t count = zeros_at(at);
    if (count >= kMinZeroRun) {
      packed.push_back(static_cast<uint8_t>(127 + count));
    } else {
      count = 1;
      while (at + count < bytes.size() && count < kMaxRun && zeros_at(at + count) < kMinZeroRun) {
        ++count;
      }
      packed.push_back(static_cast<uint8_t>(count - 1));
      const auto run = bytes.subspan(at, count);
      packed.insert(packed.end(), run.begin(), run.end());
    }
    at += count;
  }
  return packed;
}

Result<std::vector<uint8_t>> unpack_statement(base::Bytes packed) {
  std::vector<uint8_t> bytes(format::kMaxStatementSize);
  PackedStatement state;
  const bool fits = std::ranges::all_of(packed, [&](uint8_t stored) {
    return tensorpatch::unpack_statement(state, stored, bytes.data());
  });
  if (!fits || !statement_is_whole(state)) {
    return malformed("its size is not that of a header and 1 to 6 components");
  }
  bytes.resize(state.size);
  return bytes;
}

Result<std::vector<uint8_t>> write_statement(const Statement& statement) {
  const size_t count = statement.components.size();
  if (count == 0 || count > format::kMaxComponents) {
    return fail(TENSORPATCH_E_LIMIT,
                "a bundle has 1 to 6 components, not " + std::to_string(count));
  }
  if (!limits_valid(statement.limits)) return malformed("a decoder limit is out of its range");
  if (statement.required_codecs > UINT16_MAX) return malformed("a codec's number is out of range");
  std::vector<uint8_t> bytes(format::header::kSize + count * format::component::kSize);
  encode_header(statement, bytes.data());
  for (size_t i = 0; i < count; ++i) {
    encode_component(statement.components[i], static_cast<uint8_t>(i),
                     bytes.data() + format::header::kSize + i * format::component::kSize);
  }
  if (auto checked = read_statement(bytes); !checked) return tl::unexpected(checked.error());
  return bytes;
}

Result<Statement> read_statement(base::Bytes bytes) {
  if (!statement_size_valid(bytes.size())) {
    return malformed("its size is not that of a header and 1 to 6 components");
  }
  const size_t count = (bytes.size() - format::header::kSize) / format::component::kSize;
  Statement statement = decode_header(bytes.data());
  if (auto ok = check_header(statement, bytes.data()); !ok) return tl::unexpected(ok.error());
  if (bytes[format::header::kComponentCount] != count) {
    return malformed("the component count does not fit its size");
  }
  for (size_t i = 0; i < count; ++i) {
    const uint8_t* place = bytes.data() + format::header::kSize + i * format::component::kSize;
    if (place[format::component::kId] != i ||
        !wire::is_zero(place + format::component::kZero2, 2)) {
      return malformed("component ids do not ascend from 0");
    }
    statement.components.push_back(decode_component(place));
    if (auto ok = check_component(statement.components.back()); !ok) {
      return tl::unexpected(ok.error());
    }
  }
  return statement;
}

Digest identity(base::Bytes statement_bytes) {
  return sha256(statement_bytes);
}

std::vector<uint8_t> dsse_message(base::Bytes statement_bytes) {
  const std::string type = format::kStatementType;
  const std::string head = "DSSEv1 " + std::to_string(type.size()) + " " + type + " " +
                           std::to_string(statement_bytes.size()) + " ";
  std::vector<uint8_t> message(head.begin(), head.end());
  message.insert(message.end(), statement_bytes.begin(), statement_bytes.end());
  return message;
}

Result<Uuid> parse_uuid(std::string_view text) {
  const auto refuse = [&] {
    return fail(TENSORPATCH_E_USAGE, "not a UUID: " + std::string(text),
                "write it as 123e4567-e89b-12d3-a456-426614174000");
  };
  if (text.size() != 36) return refuse();
  Uuid uuid{};
  size_t digits = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (i == 8 || i == 13 || i == 18 || i == 23) {
      if (c != '-') return refuse();
      continue;
    }
    int digit = 0;
    if (c >= '0' && c <= '9') {
      digit = c - '0';
    } else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f') {
      digit = (c | 0x20) - 'a' + 10;
    } else {
      return refuse();
    }
    uuid[digits / 2] = static_cast<uint8_t>(uuid[digits / 2] << 4 | digit);
    ++digits;
  }
  return uuid;
}

std::string format_uuid(const Uuid& uuid) {
  std::string text = to_hex(uuid);
  for (const size_t place : {8u, 13u, 18u, 23u}) text.insert(place, 1, '-');
  return text;
}

}  // namespace tensorpatch::bundle
