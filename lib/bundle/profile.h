// bundle/profile.h: what kinds of devices can take: the largest limits, the workspace, the codecs.
//
// Named profiles and JSON files with the schema of docs/PROFILES.md. A profile never changes what
// is right, only what fits.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "apply/patch_decoder.h"
#include "tensorpatch/result.h"

namespace tensorpatch::bundle {

struct Profile {
  std::string name;
  uint64_t max_workspace = 0;  // bytes
  PatchLimits limits{};        // the largest allowed; together they may exceed max_workspace
  uint32_t codecs = 0;         // bit set of format::CodecId that a patch may use
  uint64_t region_size = 0;    // bytes that old and new share when applied in place; 0: not known
};

// linux, mcu-256k, mcu-64k, mcu-16k, mcu-8k.
std::span<const Profile> named_profiles();

// E_USAGE for another name, with the names as the hint.
Result<Profile> find_profile(std::string_view name);

// A profile from a JSON text. Unknown keys, the same key twice and values out of range: E_USAGE.
Result<Profile> parse_profile(std::string_view json);

// The same profile with no more workspace than `max_workspace` bytes.
Profile lower_workspace(Profile profile, uint64_t max_workspace);

// The limits of a bundle whose largest new file has `largest_new_size` bytes: no more than it can
// use, and no more workspace than the profile has. Given up in this order: match table, byte cells,
// value level, value slots, history. E_LIMIT when even the least does not fit.
Result<PatchLimits> fit_limits(const Profile& profile, uint64_t largest_new_size);

struct InPlaceSizes {
  uint64_t old_size = 0;
  uint64_t new_size = 0;
  uint64_t region_size = 0;  // 0: not known
};
// The same limits with a reach, and where the region asks for it a shorter restart interval: what
// the region leaves over beside old is the margin. Where the region is not known, a quarter of the
// larger file. E_CAPACITY when the region cannot hold the files and a margin of two erase pages.
Result<PatchLimits> fit_in_place(PatchLimits limits, const InPlaceSizes& sizes);

}  // namespace tensorpatch::bundle
