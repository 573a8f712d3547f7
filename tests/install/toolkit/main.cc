// tests/install/toolkit/main.cc: calls the installed toolkit.
//
// Exit code 0 when a key that was just made is read back with the same id.
// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <tensorpatch/toolkit.h>

int main() {
  namespace toolkit = tensorpatch::toolkit;
  const auto pair = toolkit::generate_key();
  if (!pair) return 1;
  const auto no_password = []() -> tensorpatch::Result<std::string> {
    return tensorpatch::fail(TENSORPATCH_E_KEY, "no password");
  };
  const auto text =
      toolkit::public_key_of(pair->private_pem, toolkit::PublicKeyFormat::kHex, no_password);
  if (!text || text->id != pair->id) return 1;
  std::printf("made a key: %s", text->text.c_str());
  return 0;
}
