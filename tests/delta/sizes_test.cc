// tests/delta/sizes_test.cc: no change makes patches larger unnoticed: benchmarks/sizes.tsv holds
// the size of each patch, and this test compares.
//
// TENSORPATCH_UPDATE_SIZES=1 delta_test --gtest_filter='Sizes.*' writes the table anew.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <sstream>
#include <string>

#include "delta/test_files.h"

namespace tensorpatch::test {
namespace {

constexpr const char* kHowToUpdate =
    "if that is meant, write the table anew with TENSORPATCH_UPDATE_SIZES=1 and "
    "--gtest_filter=Sizes.* and review the difference";

using Sizes = std::map<std::string, uint64_t>;  // "pair<tab>profile" -> bytes

std::map<std::string, FilePair> all_pairs() {
  std::map<std::string, FilePair> pairs;
  for (const std::string& kind : generated_kinds()) {
    pairs[kind] = generated_pair("v1." + kind, "v2." + kind);
  }
  for (const char* variant : {"renamed.safetensors", "reordered.safetensors"}) {
    pairs[variant] = generated_pair("v1.f32.safetensors", std::string("v2.") + variant);
  }
  pairs["quickstart"] = {load_file(TENSORPATCH_TESTDATA "/quickstart/old.tflite"),
                         load_file(TENSORPATCH_TESTDATA "/quickstart/new.tflite")};
  pairs["quickstart-whole"] = {{}, pairs["quickstart"].new_file};
  return pairs;
}

Sizes measure() {
  Sizes sizes;
  for (const auto& [name, pair] : all_pairs()) {
    const PatchMaker maker({pair});
    for (const bundle::Profile& profile : bundle::named_profiles()) {
      delta::PatchOptions options = options_for(profile.name, pair.new_file.size());
      options.jobs = 0;
      sizes[name + "\t" + profile.name] = maker.patch(0, options).size();
    }
  }
  return sizes;
}

Sizes read_table() {
  Sizes sizes;
  std::istringstream lines(read_file(TENSORPATCH_SIZES));
  for (std::string line; std::getline(lines, line);) {
    const size_t last = line.rfind('\t');
    if (line.starts_with('#') || last == std::string::npos) continue;
    sizes[line.substr(0, last)] = std::stoull(line.substr(last + 1));
  }
  return sizes;
}

void write_table(const Sizes& sizes) {
  std::string text =
      "# Bytes of each patch stream, by pair and profile; see tests/delta/sizes_test.cc.\n"
      "# pair\tprofile\tbytes\n";
  for (const auto& [key, size] : sizes) text += key + "\t" + std::to_string(size) + "\n";
  write_file(TENSORPATCH_SIZES, text);
}

// Half a percent and eight bytes at least are allowed.
uint64_t allowed(uint64_t size) {
  return size + std::max<uint64_t>(8, size / 200);
}

TEST(Sizes, NoPatchGrew) {
  const Sizes now = measure();
  if (std::getenv("TENSORPATCH_UPDATE_SIZES") != nullptr) write_table(now);
  const Sizes before = read_table();
  uint64_t saved = 0;
  for (const auto& [key, size] : now) {
    const auto found = before.find(key);
    if (found == before.end()) {
      ADD_FAILURE() << key << " is not in the table: " << kHowToUpdate;
      continue;
    }
    EXPECT_LE(size, allowed(found->second))
        << key << " grew from " << found->second << " bytes: " << kHowToUpdate;
    if (size < found->second) saved += found->second - size;
  }
  for (const auto& [key, size] : before) {
    EXPECT_TRUE(now.contains(key)) << key << " is in the table only: " << kHowToUpdate;
  }
  if (saved != 0) {
    std::printf("patches shrank by %llu bytes in all; keep that: %s\n",
                static_cast<unsigned long long>(saved), kHowToUpdate);
  }
}

}  // namespace
}  // namespace tensorpatch::test
