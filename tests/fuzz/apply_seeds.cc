// apply_seeds.cc: writes inputs for fuzz_apply, made from the hand-written bundles, into a folder.
// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <filesystem>
#include <string>

#include "apply/wire.h"
#include "fuzz/apply_input.h"
#include "support/bundle_builder.h"
#include "support/temp_folder.h"

int main(int argc, char** argv) {
  using namespace tensorpatch::test;
  if (argc != 2) {
    std::fprintf(stderr, "usage: apply_seeds FOLDER\n");
    return 2;
  }
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
