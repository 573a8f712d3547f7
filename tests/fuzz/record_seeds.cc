// tests/fuzz/record_seeds.cc: writes inputs for fuzz_checkpoint or fuzz_flash_log into a folder.
//
// usage: record_seeds checkpoint|flash_log FOLDER
// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <filesystem>
#include <string>
#include <string_view>

#include "support/temp_folder.h"

namespace {

using Path = std::filesystem::path;
using tensorpatch::test::write_file;

// Each bundle, cut short early, late and not at all, gone on from as it was and from a record
// changed in one field.
void write_checkpoints(const Path& folder) {
  unsigned count = 0;
  for (unsigned bundle = 0; bundle < 3; ++bundle) {
    for (const unsigned where : {3u, 12u, 30u, 60u, 100u, 255u}) {
      std::string input(8 + 128, '\0');
      input[0] = static_cast<char>(bundle);
      input[1] = static_cast<char>(where);
      input[2] = static_cast<char>(count % 50);
      input[3] = static_cast<char>(1 + 2 * (count % 2));
      input[5] = static_cast<char>(count % 4);
      write_file(folder / ("seed-" + std::to_string(count++)), input);
      input[8 + 6 + where % 26] = 1;
      write_file(folder / ("seed-" + std::to_string(count++)), input);
    }
  }
}

// Three records of different pages and sequences, then events of every kind.
void write_logs(const Path& folder) {
  for (unsigned count = 0; count < 24; ++count) {
    std::string input = {static_cast<char>(count * 11), 3};
    for (unsigned i = 0; i < 3; ++i) {
      input += {3, static_cast<char>(i), 0, static_cast<char>(count + i), 0, 0, 0, 16};
      input += std::string("TPSL\x01", 5) + std::string(11, '\0');
    }
    for (unsigned i = 0; i < 20; ++i) {
      input += {static_cast<char>(i * 7 + count), static_cast<char>(i * 31)};
    }
    write_file(folder / ("seed-" + std::to_string(count)), input);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view target = argc == 3 ? argv[1] : "";
  if (target != "checkpoint" && target != "flash_log") {
    std::fprintf(stderr, "usage: record_seeds checkpoint|flash_log FOLDER\n");
    return 2;
  }
  if (target == "checkpoint") write_checkpoints(argv[2]);
  if (target == "flash_log") write_logs(argv[2]);
  return 0;
}
