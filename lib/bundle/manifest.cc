// bundle/manifest.cc: the manifest's table. Fields that are empty are left out; order is fixed.
// SPDX-License-Identifier: Apache-2.0
#include "bundle/manifest.h"

#include <flatbuffers/util.h>

#include <algorithm>
#include <set>

#include "bundle/flat_text.h"
#include "bundle_generated.h"

namespace tensorpatch::bundle {
namespace {

constexpr size_t kMaxText = 255;  // tool, version, one compatibility entry
constexpr size_t kMaxMetaValue = 4096;

// UTF-8 without control characters, so that a terminal can show it.
bool printable(const std::string& text, size_t limit) {
  if (text.size() > limit) return false;
  const char* place = text.c_str();  // the zero behind it ends a sequence that is cut off
  while (place != text.c_str() + text.size()) {
    const int point = flatbuffers::FromUTF8(&place);
    if (point < 0x20 || (point >= 0x7F && point < 0xA0)) return false;
  }
  return true;
}

// What is wrong with the content, or an empty text. One rule for both directions.
std::string find_fault(const Manifest& manifest) {
  if (manifest.components.empty() || manifest.components.size() > format::kMaxComponents) {
    return "a manifest has 1 to 6 components";
  }
  std::set<std::string> names;
  for (const ManifestComponent& component : manifest.components) {
    if (!valid_component_name(component.name)) {
      return "a component's name is not of the form [a-z0-9][a-z0-9._-]{0,31}";
    }
    if (!names.insert(component.name).second) {
      return "two components have the name " + component.name;
    }
  }
  if (!printable(manifest.tool, kMaxText)) return "the tool's name is not printable or too long";
  if (!printable(manifest.version, kMaxText)) return "the version is not printable or too long";
  for (const auto& [key, value] : manifest.meta) {
    if (!valid_component_name(key)) {
      return "a meta key is not of the form [a-z0-9][a-z0-9._-]{0,31}";
    }
    if (!printable(value, kMaxMetaValue)) {
      return "the meta value of " + key + " is not printable or too long";
    }
  }
  for (const std::string& text : manifest.compatibility) {
    if (text.empty() || !printable(text, kMaxText)) {
      return "a compatibility entry is empty, not printable or too long";
    }
  }
  return {};
}

Manifest of_nothing() {
  Manifest manifest;
  manifest.components.emplace_back();
  return manifest;
}

using Builder = flatbuffers::FlatBufferBuilder;

template <class T>
auto put_vector(Builder& builder, const std::vector<T>& entries) {
  return entries.empty() ? flatbuffers::Offset<flatbuffers::Vector<T>>()
                         : builder.CreateVector(entries);
}

void put_root(Builder& builder, const Manifest& manifest) {
  std::vector<flatbuffers::Offset<fbs::ManifestComponent>> components;
  for (const ManifestComponent& component : manifest.components) {
    const auto name = builder.CreateString(component.name);
    components.push_back(fbs::CreateManifestComponent(builder, name, component.old_reads));
  }
  std::vector<flatbuffers::Offset<fbs::Meta>> meta;
  for (const auto& [key, value] : manifest.meta) {
    const auto key_text = builder.CreateString(key);
    const auto value_text = builder.CreateString(value);
    meta.push_back(fbs::CreateMeta(builder, key_text, value_text));
  }
  std::vector<flatbuffers::Offset<flatbuffers::String>> compatibility;
  for (const std::string& text : manifest.compatibility) {
    compatibility.push_back(builder.CreateString(text));
  }
  fbs::Digest digest;
  if (manifest.details_digest) digest = fbs::Digest(*manifest.details_digest);
  const auto component_vector = put_vector(builder, components);
  const auto meta_vector = put_vector(builder, meta);
  const auto compatibility_vector = put_vector(builder, compatibility);
  const auto tool = put_text(builder, manifest.tool);
  const auto version = put_text(builder, manifest.version);
  builder.Finish(fbs::CreateManifest(
      builder, component_vector, tool, version, meta_vector, compatibility_vector,
      manifest.details_digest ? &digest : nullptr,
      manifest.time_ms ? flatbuffers::Optional<uint32_t>(*manifest.time_ms) : flatbuffers::nullopt,
      manifest.energy_mj ? flatbuffers::Optional<uint32_t>(*manifest.energy_mj)
                         : flatbuffers::nullopt));
}

// The content, whatever it says; false when keys do not ascend or strings are used many times.
bool get_root(const fbs::Manifest& root, size_t buffer_size, Manifest& manifest) {
  TextReader text(buffer_size);
  for (const auto* component : *root.components()) {
    if (!text.charge(1)) return false;
    manifest.components.push_back({text.read(component->name()), component->old_reads()});
  }
  manifest.tool = text.read(root.tool());
  manifest.version = text.read(root.version());
  if (root.meta() != nullptr) {
    for (const auto* entry : *root.meta()) {
      std::string key = text.read(entry->key());
      if (!manifest.meta.empty() && key <= manifest.meta.rbegin()->first) return false;
      manifest.meta.emplace_hint(manifest.meta.end(), std::move(key), text.read(entry->value()));
    }
  }
  if (root.compatibility() != nullptr) {
    for (const auto* entry : *root.compatibility()) {
      manifest.compatibility.push_back(text.read(entry));
    }
  }
  if (root.details_digest() != nullptr) {
    const auto* bytes = root.details_digest()->bytes();
    std::copy(bytes->begin(), bytes->end(), manifest.details_digest.emplace().begin());
  }
  if (const auto value = root.time_ms()) manifest.time_ms = *value;
  if (const auto value = root.energy_mj()) manifest.energy_mj = *value;
  return text.is_within();
}

uint64_t add(uint64_t a, uint64_t b) {  // saturates: sizes of a hostile statement
  uint64_t sum = 0;
  return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}

uint64_t round_up(uint64_t size, uint32_t unit) {
  const uint64_t beyond = size % unit;
  return beyond == 0 ? size : add(size, unit - beyond);
}

}  // namespace

bool valid_component_name(std::string_view name) {
  const auto is_alnum = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  const auto is_allowed = [&](char c) { return is_alnum(c) || c == '.' || c == '_' || c == '-'; };
  return !name.empty() && name.size() <= 32 && is_alnum(name[0]) &&
         std::all_of(name.begin(), name.end(), is_allowed);
}

bool says_nothing(const Manifest& manifest) {
  return manifest == of_nothing();
}

Result<std::vector<uint8_t>> write_manifest(const Manifest& manifest) {
  if (const std::string fault = find_fault(manifest); !fault.empty()) {
    return fail(TENSORPATCH_E_USAGE, fault);
  }
  if (says_nothing(manifest)) return std::vector<uint8_t>{};
  Builder builder;
  put_root(builder, manifest);
  if (builder.GetSize() > format::kMaxManifestSize) {
    return fail(TENSORPATCH_E_LIMIT, "the manifest would have more than 65,536 bytes",
                "shorten the meta values");
  }
  return std::vector<uint8_t>(builder.GetBufferPointer(),
                              builder.GetBufferPointer() + builder.GetSize());
}

Result<Manifest> read_manifest(base::Bytes bytes) {
  const auto refuse = [](const std::string& what) {
    return fail(TENSORPATCH_E_FORMAT, "the manifest is malformed: " + what);
  };
  if (bytes.size() > format::kMaxManifestSize) return refuse("more than 65,536 bytes");
  if (bytes.empty()) return of_nothing();
  // In a bundle it starts anywhere; scalars are read where they are aligned.
  const std::vector<uint8_t> aligned(bytes.begin(), bytes.end());
  flatbuffers::Verifier verifier(aligned.data(), aligned.size());
  if (!verifier.VerifyBuffer<fbs::Manifest>()) return refuse("not the expected table");
  Manifest manifest;
  if (!get_root(*flatbuffers::GetRoot<fbs::Manifest>(aligned.data()), aligned.size(), manifest)) {
    return refuse("meta keys do not ascend, or strings overlap");
  }
  if (const std::string fault = find_fault(manifest); !fault.empty()) return refuse(fault);
  return manifest;
}

namespace {

// In place: old is moved once, at worst, and read once more before anything is written.
void add_in_place(const Statement& statement, ResourceContract& sum) {
  const PatchLimits& limits = statement.limits;
  const Component& only = statement.components.front();
  const uint64_t old_pages = round_up(only.old_size, limits.erase_size);
  const uint64_t interval = limits.restart_interval;
  sum.margin = round_up(interval + limits.reach, limits.erase_size);
  sum.region_size =
      std::max(round_up(only.new_size, limits.erase_size), add(old_pages, sum.margin));
  const uint64_t moves = old_pages / sum.margin + (old_pages % sum.margin != 0 ? 1 : 0);
  const uint64_t points = only.new_size / interval + (only.new_size % interval != 0 ? 1 : 0);
  sum.journal_records = moves + std::max<uint64_t>(points, 1);
  sum.flash_written = add(sum.flash_written, round_up(only.old_size, limits.write_size));
  sum.flash_erased = add(sum.flash_erased, old_pages);
  sum.old_reads = add(sum.old_reads, only.old_size);
}

}  // namespace

ResourceContract contract(const Statement& statement, const Manifest& manifest) {
  ResourceContract sum;
  sum.workspace = workspace_size(statement.limits);
  for (const Component& component : statement.components) {
    sum.flash_written =
        add(sum.flash_written, round_up(component.new_size, statement.limits.write_size));
    sum.flash_erased =
        add(sum.flash_erased, round_up(component.new_size, statement.limits.erase_size));
    sum.new_reads = add(sum.new_reads, component.new_size);
    sum.old_reads = add(sum.old_reads, component.old_size);
  }
  for (const ManifestComponent& component : manifest.components) {
    sum.old_reads = add(sum.old_reads, component.old_reads);
    // In place everything is decoded twice.
    if (statement.limits.reach != 0) sum.old_reads = add(sum.old_reads, component.old_reads);
  }
  if (statement.limits.reach != 0) add_in_place(statement, sum);
  sum.time_ms = manifest.time_ms;
  sum.energy_mj = manifest.energy_mj;
  return sum;
}

}  // namespace tensorpatch::bundle
