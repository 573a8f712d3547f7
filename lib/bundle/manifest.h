// bundle/manifest.h: what people, fleets and `inspect` want to know of a bundle.
//
// docs/FORMAT.md section 6. Sizes, digests, limits and versions that devices act on are in the
// statement and nowhere else; contract() puts both together. The bytes are a FlatBuffers table of
// schemas/bundle.fbs, at most 65,536, the same for the same content. Text is UTF-8 without control
// characters.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bundle/statement.h"

namespace tensorpatch::bundle {

// Of the only component, where nothing else is said.
inline constexpr char kDefaultName[] = "model";

struct ManifestComponent {
  std::string name = kDefaultName;  // valid_component_name, no name twice
  uint64_t old_reads =
      0;  // bytes of old that the operations read; the digest check reads old once more
  bool operator==(const ManifestComponent&) const = default;
};

struct Manifest {
  std::vector<ManifestComponent> components;  // as many as the statement has, in its order
  std::string version;                        // of the new content, for people; may be empty
  std::string tool;                           // what made the bundle: "tensorpatch 0.1.0"
  std::map<std::string, std::string> meta;    // keys as component names; values up to 4,096 bytes
  std::vector<std::string> compatibility;  // what the new content needs: "tflite-micro >= 2024-03"
  std::optional<Digest> details_digest;    // of the whole details file
  std::optional<uint32_t> time_ms;         // estimates for the device, when there is a model of it
  std::optional<uint32_t> energy_mj;
  bool operator==(const Manifest&) const = default;
};

// Whether there is nothing to store: one component of the default name.
bool says_nothing(const Manifest& manifest);

// No bytes when it says nothing. E_USAGE when a text or name is out of range, E_LIMIT when the
// bytes would be too many.
Result<std::vector<uint8_t>> write_manifest(const Manifest& manifest);
// E_FORMAT for anything that write_manifest would not have written, unknown fields apart.
Result<Manifest> read_manifest(base::Bytes bytes);

// [a-z0-9][a-z0-9._-]{0,31}
bool valid_component_name(std::string_view name);

// What an update costs the device. All but the last three follow from the statement.
struct ResourceContract {
  uint32_t workspace = 0;      // bytes of RAM given to init
  uint64_t flash_written = 0;  // bytes written, every new file up to a multiple of the write size
  uint64_t flash_erased = 0;   // the same, up to a multiple of the erase size
  uint64_t new_reads = 0;      // bytes of new read back
  uint64_t old_reads = 0;  // bytes of old: every old file once for its digest, and the operations'
  // In place, else 0. Flash written and erased, and reads of old, then count the move of old too.
  uint64_t margin = 0;           // bytes of the region before old while new is written
  uint64_t region_size = 0;      // of the least region that will do
  uint64_t journal_records = 0;  // at most; TENSORPATCH_CHECKPOINT_SIZE bytes each
  std::optional<uint32_t> time_ms;
  std::optional<uint32_t> energy_mj;
};
ResourceContract contract(const Statement& statement, const Manifest& manifest);

}  // namespace tensorpatch::bundle
