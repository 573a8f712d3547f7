// tests/fuzz/patch_seeds.cc: writes inputs for fuzz_patch_decoder, made by the encoder, into a
// folder.
// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <filesystem>
#include <string>

#include "delta/delta.h"
#include "fuzz/patch_input.h"
#include "support/operation_cases.h"
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

struct Seed {
  uint8_t choice;  // of limits
  size_t new_size;
};

void write_seed(const std::filesystem::path& folder, const Seed& seed, const std::string& stream) {
  using namespace tensorpatch::test;
  static unsigned count = 0;
  std::string input(kPatchInputHeader, '\0');
  input[0] = static_cast<char>(seed.choice);
  input[1] = static_cast<char>(seed.new_size);
  input[2] = static_cast<char>(seed.new_size >> 8);
  for (size_t i = 3; i < kPatchInputHeader; ++i) input[i] = static_cast<char>(count * i);
  write_file(folder / ("seed-" + std::to_string(count++)), input + stream);
}

// Rows, grids, zero maps and records. The old file of the target is another one: new is not what
// was meant, but everything is reached.
void write_case_seeds(const std::filesystem::path& folder) {
  using namespace tensorpatch::test;
  for (const OperationCase& each : operation_cases()) {
    for (const uint8_t choice : {uint8_t{16}, uint8_t{17}}) {
      const std::vector<uint8_t> stream = encode_case(each, fuzz_limits(choice));
      write_seed(folder, {choice, each.new_file.size()}, {stream.begin(), stream.end()});
    }
  }
}

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
  write_case_seeds(argv[1]);
  for (const std::vector<uint8_t>& new_file : new_files(old_file)) {
    const model::Model new_model = model::parse(new_file);
    for (const int choice : {0, 1, 2, 7, 8, 31, 40}) {
      delta::PatchOptions options;
      options.limits = fuzz_limits(static_cast<uint8_t>(choice));
      options.codecs = 0x3F;
      options.jobs = 1;
      StringSink sink;
      const std::vector<delta::ComponentInput> inputs = {
          {old_file, new_file, &old_model, &new_model}, {}};
      if (!delta::make_patch(inputs, 0, options, sink)) return 1;
      write_seed(argv[1], {static_cast<uint8_t>(choice), new_file.size()}, sink.data);
    }
  }
  return 0;
}
