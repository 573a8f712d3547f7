// toolkit/profile_choice.h: what a patch may use, from what the caller named.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>

#include "bundle/profile.h"

namespace tensorpatch::toolkit {

struct ProfileChoice {
  std::string profile;             // a built-in name, or the path of a profile file
  std::optional<uint64_t> memory;  // the workspace must not be larger
  uint64_t largest_new_size = 0;
};

// E_USAGE for an unknown profile.
Result<bundle::Profile> load_profile(const ProfileChoice& choice);

struct ChosenProfile {
  uint32_t codecs = 0;
  PatchLimits limits{};
  uint64_t region_size = 0;  // in place; 0: not known
};

// E_USAGE for an unknown profile; E_WORKSPACE when the files do not fit into it.
Result<ChosenProfile> choose_profile(const ProfileChoice& choice);

}  // namespace tensorpatch::toolkit
