// tests/fuzz/patch_seeds.cc: writes inputs for fuzz_patch_decoder, made by the encoder, into a
// folder.
// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <filesystem>
#include <string>

#include "delta/delta.h"
#include "fuzz/patch_input.h"
#include "support/temp_folder.h"

namespace {

using namespace tensorpatch;

struct StringSink : base::Sink {
  Result<void> write(base::Bytes bytes) override {
    data.append(bytes.begin(), bytes.end());
    return {};
  }
  std::string data;
};

// New files that need every kind of operation.
std::vector<std::vector<uint8_t>> new_files(const std::vector<uint8_t>& old_file) {
  std::vector<uint8_t> changed = old_file, moved(old_file.begin() + 2000, old_file.end());
  for (size_t i = 0; i < changed.size(); i += 5) changed[i] = static_cast<uint8_t>(changed[i] + 3);
  moved.insert(moved.begin() + 900, 40, uint8_t{'x'});
  moved.erase(moved.begin() + 3000, moved.begin() + 3010);
  std::vector<uint8_t> fresh;
  for (unsigned i = 0; i < 3000; ++i) fresh.push_back(static_cast<uint8_t>(i * i >> 5));
  return {old_file, changed, moved, fresh, {1}, {}};
}

}  // namespace

int main(int argc, char** argv) {
  using namespace tensorpatch::test;
  if (argc != 2) {
    std::fprintf(stderr, "usage: patch_seeds FOLDER\n");
    return 2;
  }
  const std::vector<uint8_t> old_file = fuzz_old();
  const model::Model old_model = model::parse(old_file);
  unsigned count = 0;
  for (const std::vector<uint8_t>& new_file : new_files(old_file)) {
    const model::Model new_model = model::parse(new_file);
    for (const int choice : {0, 1, 2, 7, 8, 31, 40}) {
      delta::PatchOptions options;
      options.limits = fuzz_limits(static_cast<uint8_t>(choice));
      options.codecs = 0xF;
      options.jobs = 1;
      StringSink sink;
      const std::vector<delta::ComponentInput> inputs = {
          {old_file, new_file, &old_model, &new_model}, {}};
      if (!delta::make_patch(inputs, 0, options, sink)) return 1;
      std::string seed(kPatchInputHeader, '\0');
      seed[0] = static_cast<char>(choice);
      seed[1] = static_cast<char>(new_file.size());
      seed[2] = static_cast<char>(new_file.size() >> 8);
      for (size_t i = 3; i < kPatchInputHeader; ++i) seed[i] = static_cast<char>(count * i);
      write_file(std::filesystem::path(argv[1]) / ("seed-" + std::to_string(count++)),
                 seed + sink.data);
    }
  }
  return 0;
}
