// toolkit/profile_choice.cc: see profile_choice.h.
// SPDX-License-Identifier: Apache-2.0
#include "toolkit/profile_choice.h"

#include "base/file.h"

namespace tensorpatch::toolkit {
namespace {

constexpr size_t kMaxProfileSize = 65536;

}  // namespace

Result<bundle::Profile> load_profile(const ProfileChoice& choice) {
  const bool is_file = choice.profile.find_first_of("./") != std::string::npos;
  auto profile = bundle::find_profile(choice.profile);
  if (!profile && is_file) {
    auto text = base::read_small_file(choice.profile, kMaxProfileSize);
    if (!text) return tl::unexpected(text.error());
    profile = bundle::parse_profile(*text);
  }
  if (!profile || !choice.memory) return profile;
  return bundle::lower_workspace(std::move(*profile), *choice.memory);
}

Result<ChosenProfile> choose_profile(const ProfileChoice& choice) {
  auto profile = load_profile(choice);
  if (!profile) return tl::unexpected(profile.error());
  auto limits = bundle::fit_limits(*profile, choice.largest_new_size);
  if (!limits) {
    Error error = limits.error();  // the device's limits, not ours
    if (error.code == TENSORPATCH_E_LIMIT) error.code = TENSORPATCH_E_WORKSPACE;
    return tl::unexpected(std::move(error));
  }
  return ChosenProfile{profile->codecs, *limits, profile->region_size};
}

}  // namespace tensorpatch::toolkit
