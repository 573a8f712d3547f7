// cmd_pubkey.cc: `tensorpatch pubkey`: the public key of a key file, in the format that a tool or a
// firmware wants. The key goes to standard output, its id to standard error.
// SPDX-License-Identifier: Apache-2.0
#include <map>

#include "command.h"

namespace tensorpatch::cli {
namespace {

using Format = toolkit::PublicKeyFormat;

struct Options {
  CLI::App* command = nullptr;
  std::string key;
  Format format = Format::kPem;
};

const std::map<std::string, Format> kFormats = {{"pem", Format::kPem},
                                                {"minisign", Format::kMinisign},
                                                {"signify", Format::kSignify},
                                                {"hex", Format::kHex},
                                                {"c", Format::kC}};

Result<int> run(const Options& options, Terminal& terminal) {
  auto text = read_key(options.key, terminal);
  if (!text) return tl::unexpected(text.error());
  auto key = toolkit::public_key_of(*text, options.format, [&] { return terminal.password(); });
  if (!key) return tl::unexpected(key.error());
  terminal.result(key->text, {{"public_key", key->text}, {"key_id", hex(key->id)}});
  terminal.note("key id: " + hex(key->id));
  return 0;
}

}  // namespace

void add_pubkey(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  options->command =
      add_command(app, {"pubkey",
                        "Show the public key and the key id of a private or public key",
                        {"tensorpatch pubkey release.key > release.key.pub",
                         "tensorpatch pubkey release.key.pub --format c > trusted_key.inc",
                         "tensorpatch pubkey env:RELEASE_KEY --format minisign"}});
  options->command->add_option("key", options->key, "A key file, env:NAME, or - for standard input")
      ->type_name("KEY")
      ->required();
  options->command->add_option("--format", options->format, "What the key is printed as")
      ->type_name("pem|minisign|signify|hex|c")
      ->transform(CLI::Transformer(kFormats))
      ->option_text("pem|minisign|signify|hex|c");
  on_call(options->command, action, options, run);
}

}  // namespace tensorpatch::cli
