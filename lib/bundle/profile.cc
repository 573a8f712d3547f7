// bundle/profile.cc: the table of named profiles, profiles from JSON, and limits that fit a file.
// SPDX-License-Identifier: Apache-2.0
#include "bundle/profile.h"

#include <algorithm>
#include <bit>
#include <nlohmann/json.hpp>
#include <set>

#include "bundle/manifest.h"

namespace tensorpatch::bundle {
namespace {

constexpr uint32_t kKiB = 1024;
// The small codecs are those of the small profiles, whose devices have little room for code.
constexpr uint32_t kSmallCodecs =
    1u << format::kCodecOperations | 1u << format::kCodecValues | 1u << format::kCodecBytes;
constexpr uint32_t kPlainCodecs =
    1u << format::kCodecOperations | format::kAllOfValues | format::kAllOfBytes;
constexpr uint32_t kZstdBit = 1u << format::kCodecZstd;

// All numbers of the named profiles. Columns of PatchLimits: block, restart interval, erase, write;
// log2 of history, value slots, value level, log2 of byte cells, of match entries, of the zstd
// window (0: none), of column numbers.
const Profile kNamed[] = {
    {"linux",
     4096 * kKiB,
     {64 * kKiB, 1024 * kKiB, 4 * kKiB, 4 * kKiB, 20, 8, 1, 18, 16, 20, 16},
     kPlainCodecs | kZstdBit},
    {"mcu-256k",
     256 * kKiB,
     {8 * kKiB, 128 * kKiB, 4 * kKiB, 256, 15, 4, 1, 15, 11, 0, 12},
     kPlainCodecs},
    {"mcu-64k",
     64 * kKiB,
     {4 * kKiB, 128 * kKiB, 4 * kKiB, 256, 12, 2, 1, 12, 8, 0, 11},
     kPlainCodecs},
    {"mcu-16k",
     16 * kKiB,
     {1 * kKiB, 64 * kKiB, 4 * kKiB, 256, 11, 2, 0, 10, 0, 0, 0},
     kSmallCodecs},
    {"mcu-8k", 8 * kKiB, {1 * kKiB, 64 * kKiB, 4 * kKiB, 64, 9, 1, 0, 8, 0, 0, 0}, kSmallCodecs},
};

// Least values that fit_limits goes down to; the ranges of docs/FORMAT.md.
constexpr uint8_t kMinHistoryLog2 = 8;
constexpr uint8_t kMinByteCellsLog2 = 8;
constexpr uint8_t kMinMatchLog2 = 6;
constexpr uint8_t kMinColumnLog2 = 6;

using Json = nlohmann::json;

tl::unexpected<Error> refuse(const std::string& what) {
  return fail(TENSORPATCH_E_USAGE, "the profile is not valid: " + what,
              "docs/PROFILES.md describes the file");
}

// The object of a profile file; a key that occurs twice is refused, which parsers otherwise hide.
Result<Json> parse_object(std::string_view text) {
  std::string twice;
  std::set<std::string> keys;
  const auto watch = [&](int depth, Json::parse_event_t event, Json& value) {
    if (event == Json::parse_event_t::key && depth == 1 &&
        !keys.insert(value.get<std::string>()).second) {
      twice = value.get<std::string>();
    }
    return true;
  };
  Json object = Json::parse(text.begin(), text.end(), watch, /*allow_exceptions=*/false);
  if (object.is_discarded()) return refuse("not JSON");
  if (!object.is_object()) return refuse("not an object");
  if (!twice.empty()) return refuse("the key " + twice + " occurs twice");
  return object;
}

struct Range {
  uint64_t least;
  uint64_t most;
};

template <class T>
bool take_number(const Json& value, Range range, T& place) {
  if (!value.is_number_unsigned()) return false;
  const uint64_t number = value.get<uint64_t>();
  if (number < range.least || number > range.most) return false;
  place = static_cast<T>(number);
  return true;
}

// A power of two, stored as its exponent; 0 stays 0.
bool take_power(const Json& value, Range range, uint8_t& log2) {
  uint32_t number = 0;
  if (!take_number(value, range, number)) return false;
  if (number != 0 && !std::has_single_bit(number)) return false;
  if (number == 1) return false;  // its exponent would mean none
  log2 = number == 0 ? uint8_t{0} : static_cast<uint8_t>(std::countr_zero(number));
  return true;
}

bool take_level(const Json& value, uint8_t& level) {
  if (value != "S" && value != "L") return false;
  level = value == "L" ? 1 : 0;
  return true;
}

bool take_codecs(const Json& value, uint32_t& codecs) {
  if (!value.is_array()) return false;
  codecs = 1u << format::kCodecOperations;
  for (const Json& name : value) {
    const uint32_t bits = name == "values"         ? format::kAllOfValues
                          : name == "values-small" ? 1u << format::kCodecValues
                          : name == "bytes"        ? format::kAllOfBytes
                          : name == "bytes-small"  ? 1u << format::kCodecBytes
                          : name == "zstd"         ? kZstdBit
                                                   : 0u;
    if (bits == 0 || (codecs & bits) != 0) return false;
    codecs |= bits;
  }
  return true;
}

// Puts one value of a profile file in its place; false when the key is unknown or the value wrong.
bool take_field(const std::string& key, const Json& value, Profile& profile) {
  constexpr Range kAnySize{1, UINT32_MAX};
  constexpr Range kPowerOrNone{0, 1u << 30};
  PatchLimits& limits = profile.limits;
  if (key == "max_workspace") return take_number(value, kAnySize, profile.max_workspace);
  if (key == "block_size") return take_number(value, kAnySize, limits.block_size);
  if (key == "restart_interval") return take_number(value, kAnySize, limits.restart_interval);
  if (key == "erase_size") return take_number(value, kAnySize, limits.erase_size);
  if (key == "write_size") return take_number(value, kAnySize, limits.write_size);
  if (key == "history") return take_power(value, kPowerOrNone, limits.history_log2);
  if (key == "value_slots") return take_number(value, {0, UINT8_MAX}, limits.value_slots);
  if (key == "value_level") return take_level(value, limits.value_level);
  if (key == "byte_cells") return take_power(value, kPowerOrNone, limits.byte_cells_log2);
  if (key == "match_entries") return take_power(value, kPowerOrNone, limits.match_log2);
  if (key == "zstd_window") return take_power(value, kPowerOrNone, limits.zstd_window_log2);
  if (key == "column_numbers") return take_power(value, kPowerOrNone, limits.column_log2);
  if (key == "region_size") return take_number(value, {0, UINT64_MAX}, profile.region_size);
  if (key == "codecs") return take_codecs(value, profile.codecs);
  return false;
}

uint8_t log2_at_least(uint64_t size) {  // the least n with 2^n >= size
  return size <= 1 ? uint8_t{0} : static_cast<uint8_t>(std::bit_width(size - 1));
}

// Lowers what a file of this size cannot use: tables grow with the bytes that fill them.
void lower_to_file(PatchLimits& limits, uint8_t min_history, uint64_t largest_new_size) {
  constexpr int kCellsPerByteLog2 = 6;
  const int size_log2 = log2_at_least(largest_new_size);
  const auto lower = [](uint8_t& value, int most, uint8_t least) {
    if (value > most) value = std::min(value, std::max(static_cast<uint8_t>(most), least));
  };
  lower(limits.history_log2, size_log2, min_history);
  lower(limits.byte_cells_log2, size_log2 + kCellsPerByteLog2, kMinByteCellsLog2);
  lower(limits.match_log2, size_log2 + 1, kMinMatchLog2);  // old may be learnt too
  lower(limits.column_log2, size_log2, kMinColumnLog2);
}

// Gives up a little; false when nothing is left to give. Values may go, bytes not: every patch may
// need the codec of literal bytes.
bool lower_one_step(PatchLimits& limits, uint8_t min_history) {
  if (limits.match_log2 != 0) {
    limits.match_log2 = limits.match_log2 > kMinMatchLog2
                            ? static_cast<uint8_t>(limits.match_log2 - 1)
                            : uint8_t{0};
  } else if (limits.byte_cells_log2 > kMinByteCellsLog2) {
    --limits.byte_cells_log2;
  } else if (limits.column_log2 != 0) {
    limits.column_log2 = limits.column_log2 > kMinColumnLog2
                             ? static_cast<uint8_t>(limits.column_log2 - 1)
                             : uint8_t{0};
  } else if (limits.value_level != 0) {
    --limits.value_level;
  } else if (limits.value_slots != 0) {
    --limits.value_slots;
  } else if (limits.history_log2 > min_history) {
    --limits.history_log2;
  } else {
    return false;
  }
  return true;
}

}  // namespace

std::span<const Profile> named_profiles() {
  return kNamed;
}

Result<Profile> find_profile(std::string_view name) {
  std::string names;
  for (const Profile& profile : kNamed) {
    if (profile.name == name) return profile;
    names += (names.empty() ? "" : ", ") + profile.name;
  }
  return fail(TENSORPATCH_E_USAGE, "no profile has the name " + std::string(name),
              "give one of " + names + ", or a file");
}

Result<Profile> parse_profile(std::string_view json) {
  const auto object = parse_object(json);
  if (!object) return tl::unexpected(object.error());
  const auto name = object->find("name");
  const auto like = object->find("like");
  if (name == object->end() || !name->is_string() ||
      !valid_component_name(name->get<std::string>())) {
    return refuse("name must be of the form [a-z0-9][a-z0-9._-]{0,31}");
  }
  if (like == object->end() || !like->is_string()) {
    return refuse("like must name the profile whose values are the defaults");
  }
  auto profile = find_profile(like->get<std::string>());
  if (!profile) return profile;
  profile->name = name->get<std::string>();
  for (const auto& [key, value] : object->items()) {
    if (key != "name" && key != "like" && !take_field(key, value, *profile)) {
      return refuse("the key " + key + " is unknown or its value is out of range");
    }
  }
  if (!limits_valid(profile->limits)) {
    return refuse("its limits are out of the format's ranges, or do not go together");
  }
  if (profile->limits.zstd_window_log2 != 0 && (profile->codecs & kZstdBit) == 0) {
    return refuse("a zstd window without the codec zstd");
  }
  const PatchLimits& limits = profile->limits;
  const bool full_values = limits.value_level != 0 || limits.column_log2 != 0;
  if (full_values && (profile->codecs & format::kAllOfValues) == 1u << format::kCodecValues) {
    return refuse("level L or column numbers with the codec values-small");
  }
  if (byte_tables_full(limits) &&
      (profile->codecs & format::kAllOfBytes) == 1u << format::kCodecBytes) {
    return refuse("match entries or many byte cells with the codec bytes-small");
  }
  return profile;
}

Profile lower_workspace(Profile profile, uint64_t max_workspace) {
  profile.max_workspace = std::min(profile.max_workspace, max_workspace);
  return profile;
}

Result<PatchLimits> fit_limits(const Profile& profile, uint64_t largest_new_size) {
  PatchLimits limits = profile.limits;
  // A quarter of the history must hold one write.
  const uint8_t min_history = std::max<uint8_t>(
      kMinHistoryLog2, static_cast<uint8_t>(log2_at_least(limits.write_size) + 2));
  lower_to_file(limits, min_history, largest_new_size);
  while (workspace_size(limits) > profile.max_workspace) {
    if (!lower_one_step(limits, min_history)) {
      return fail(TENSORPATCH_E_LIMIT,
                  "profile " + profile.name + " needs at least " +
                      std::to_string(workspace_size(limits)) + " bytes of workspace, not " +
                      std::to_string(profile.max_workspace),
                  "allow more memory, or give a profile with smaller blocks");
    }
  }
  return limits;
}

Result<PatchLimits> fit_in_place(PatchLimits limits, const InPlaceSizes& sizes) {
  const uint64_t page = limits.erase_size;
  const auto pages = [page](uint64_t size) { return size / page + (size % page != 0 ? 1 : 0); };
  const uint64_t region = sizes.region_size / page;
  uint64_t margin = std::max<uint64_t>(pages(std::max(sizes.old_size, sizes.new_size)) / 4, 2);
  if (sizes.region_size != 0) {
    if (pages(sizes.new_size) > region || pages(sizes.old_size) + 2 > region) {
      return fail(TENSORPATCH_E_CAPACITY,
                  "a region of " + std::to_string(sizes.region_size) +
                      " bytes cannot hold the files and a margin of two erase pages",
                  "old needs its size and " + std::to_string(2 * page) +
                      " bytes more, whole pages; or update beside old");
    }
    margin = region - pages(sizes.old_size);
  }
  const uint64_t interval = std::min<uint64_t>(limits.restart_interval / page, margin / 2);
  limits.restart_interval = static_cast<uint32_t>(interval * page);
  limits.reach =
      static_cast<uint32_t>(std::min<uint64_t>(margin - interval, UINT32_MAX / page) * page);
  return limits;
}

}  // namespace tensorpatch::bundle
