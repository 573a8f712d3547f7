// cmd_keygen.cc: `tensorpatch keygen`: a new Ed25519 key pair in two files.
// SPDX-License-Identifier: Apache-2.0
#include "command.h"

namespace tensorpatch::cli {
namespace {

struct Options {
  CLI::App* command = nullptr;
  std::string output;
};

Result<int> run(const Options& options, Terminal& terminal) {
  auto made = toolkit::generate_key_files(options.output, existing_of(options.command));
  if (!made) return tl::unexpected(made.error());
  terminal.result("private key: " + made->private_key.string() + "\npublic key:  " +
                      made->public_key.string() + "\nkey id:      " + hex(made->id) + "\n",
                  {{"private_key", made->private_key.string()},
                   {"public_key", made->public_key.string()},
                   {"key_id", hex(made->id)}});
  return 0;
}

}  // namespace

void add_keygen(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  options->command = add_command(
      app, {"keygen",
            "Make a key pair: KEY (private, PKCS#8 PEM, mode 0600) and KEY.pub (PEM)",
            {"tensorpatch keygen -o release.key", "tensorpatch keygen -o release.key --force",
             "tensorpatch keygen -o release.key --json"}});
  options->command->add_option("-o,--output", options->output, "The private key's file")
      ->type_name("KEY")
      ->required();
  add_force(options->command);
  on_call(options->command, action, options, run);
}

}  // namespace tensorpatch::cli
