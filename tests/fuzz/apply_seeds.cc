// apply_seeds.cc: writes inputs for fuzz_apply, made from the hand-written bundles, into a folder.
// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <filesystem>
#include <string>

#include "apply/wire.h"
#include "fuzz/apply_input.h"
#include "support/bundle_builder.h"
#include "support/operation_cases.h"
#include "support/temp_folder.h"

// Rows, grids, zero maps and records, at both levels.
static void write_case_seeds(const std::filesystem::path& folder) {
  using namespace tensorpatch::test;
  for (const OperationCase& each : operation_cases()) {
    for (const uint8_t level : {uint8_t{0}, uint8_t{1}}) {
      tensorpatch::PatchLimits limits = BundleSpec{}.limits;
      limits.value_slots = 7;
      limits.value_level = level;
      limits.column_log2 = 6;
      Bytes input(kFuzzHeader);
      input[0] = 50;
      tensorpatch::wire::write_u16(input.data() + 3, static_cast<uint16_t>(each.new_file.size()));
      input[6] = static_cast<uint8_t>(kFuzzSpecial | level << 7);
      const Bytes stream = encode_case(each, limits);
      input.insert(input.end(), stream.begin(), stream.end());
      write_file(folder / ("seed-" + each.name + (level == 0 ? "" : "-large")),
                 {input.begin(), input.end()});
    }
  }
}

int main(int argc, char** argv) {
  using namespace tensorpatch::test;
  if (argc != 2) {
    std::fprintf(stderr, "usage: apply_seeds FOLDER\n");
    return 2;
  }
  write_case_seeds(argv[1]);
  const BundleSpec specs[] = {small_spec(), two_component_spec()};
  for (uint8_t flags = 0; flags < 16; ++flags) {
    const BundleSpec& spec = specs[(flags & kFuzzTwoComponents) != 0 ? 1 : 0];
    Bytes input(kFuzzHeader);
    input[0] = static_cast<uint8_t>(flags * 5);
    input[1] = static_cast<uint8_t>(flags * 3);
    input[2] = flags;
    tensorpatch::wire::write_u16(input.data() + 3,
                                 static_cast<uint16_t>(spec.components[0].new_file.size()));
    size_t total = 0;
    for (const ComponentSpec& each : spec.components) total += each.patch.size();
    input[5] = static_cast<uint8_t>(spec.components[0].patch.size() * 255 / total);
    input[6] = flags;
    for (const ComponentSpec& each : spec.components) {
      input.insert(input.end(), each.patch.begin(), each.patch.end());
    }
    write_file(std::filesystem::path(argv[1]) / ("seed-" + std::to_string(flags)),
               {input.begin(), input.end()});
  }
  return 0;
}
