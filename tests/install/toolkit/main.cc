// tests/install/toolkit/main.cc: the installed toolkit's whole way, from a key to an applied
// update.
//
// usage: consumer FOLDER, an empty folder to work in. Exit code 0 when the new file is rebuilt.
// SPDX-License-Identifier: Apache-2.0
#include <tensorpatch/toolkit.h>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>

namespace toolkit = tensorpatch::toolkit;

namespace {

std::string read(const toolkit::Path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// The content of a result, or the end of the program.
template <class T>
T need(const char* step, tensorpatch::Result<T> result) {
  if (result) return std::move(*result);
  std::fprintf(stderr, "%s: %s\n", step, result.error().message.c_str());
  std::exit(1);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const toolkit::Path folder = argv[1];
  const std::string content(10000, 'a');
  std::ofstream(folder / "old") << content << "old" << content;
  std::ofstream(folder / "new") << content << "new" << content;

  const auto key = need("key", toolkit::generate_key_files(folder / "key", {}));
  toolkit::PackOptions pack;
  pack.components = {{"model", folder / "old", folder / "new"}};
  pack.output = folder / "update.tpb";
  pack.signer = toolkit::Signer{};
  pack.signer->private_key = read(key.private_key);
  const auto packed = need("pack", toolkit::pack(pack));

  toolkit::ApplyOptions apply;
  apply.bundle = pack.output;
  apply.components = {{"model", folder / "old", folder / "rebuilt"}};
  apply.device.public_keys = {read(key.public_key)};
  need("apply", toolkit::apply(apply));

  std::printf("an update of %llu bytes\n", static_cast<unsigned long long>(packed.bundle_size));
  return read(folder / "rebuilt") == read(folder / "new") && packed.bundle_size < 10000 ? 0 : 1;
}
