// tests/vectors/make_vectors.cc: writes the test vectors into the folder that its argument names.
//
// By hand, when the format changes (never for a declared major version): make_vectors
// tests/vectors/files
// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <filesystem>

#include "support/temp_folder.h"
#include "vectors/vectors.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: make_vectors FOLDER\n");
    return 2;
  }
  const std::filesystem::path folder = argv[1];
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  const auto set = tensorpatch::test::make_vectors();
  for (const auto& [name, content] : set.files) {
    tensorpatch::test::write_file(folder / name, {content.begin(), content.end()});
  }
  std::printf("%zu vectors, %zu files\n", set.vectors.size(), set.files.size());
  return 0;
}
