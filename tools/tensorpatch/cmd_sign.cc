// cmd_sign.cc: `tensorpatch sign`: adds a signature to a bundle, by a key at hand, by a program, or
// made elsewhere.
// SPDX-License-Identifier: Apache-2.0
#include "command.h"

namespace tensorpatch::cli {
namespace {

struct Options {
  CLI::App* command = nullptr;
  std::string bundle;
  std::string key;
  std::string signer_command;
  std::string public_key;
  std::string to_be_signed;
  std::string signature;
};

Result<int> export_bytes(const Options& options, Terminal& terminal) {
  auto written = toolkit::export_to_be_signed(options.bundle, options.to_be_signed,
                                              existing_of(options.command));
  if (!written) return tl::unexpected(written.error());
  terminal.result(options.to_be_signed +
                      ": the bytes to sign; attach the signature "
                      "with `tensorpatch sign " +
                      options.bundle + " --attach SIG --pubkey P`\n",
                  {{"result", "exported"}, {"to_be_signed", options.to_be_signed}});
  return 0;
}

Result<toolkit::SignReport> add_signature(const Options& options, Terminal& terminal) {
  if (!options.key.empty()) {
    auto signer = key_signer(options.key, terminal);
    if (!signer) return tl::unexpected(signer.error());
    return toolkit::sign(options.bundle, *signer);
  }
  auto public_key = toolkit::read_key_file(options.public_key);
  if (!public_key) return tl::unexpected(public_key.error());
  if (!options.signature.empty()) {
    return toolkit::attach_signature(options.bundle, options.signature, *public_key);
  }
  toolkit::Signer signer;
  signer.command = options.signer_command;
  signer.public_key = *public_key;
  return toolkit::sign(options.bundle, signer);
}

Result<int> run(const Options& options, Terminal& terminal) {
  if (!options.to_be_signed.empty()) return export_bytes(options, terminal);
  auto report = add_signature(options, terminal);
  if (!report) return tl::unexpected(report.error());
  terminal.result(options.bundle + ": signed by " + hex(report->key_id) + "; " +
                      plural_text(report->signature_count, "signature") + " in all\n",
                  {{"result", "signed"},
                   {"bundle", options.bundle},
                   {"key_id", hex(report->key_id)},
                   {"statement_digest", hex(report->statement_digest)},
                   {"signature_count", report->signature_count}});
  return 0;
}

}  // namespace

void add_sign(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command = add_command(
      app, {"sign",
            "Add a signature to a bundle; its other signatures stay",
            {"tensorpatch sign update.tpb --key release.key",
             "tensorpatch sign update.tpb --signer-cmd './hsm-sign.sh' --pubkey hsm.pub",
             "tensorpatch sign update.tpb --export-tbs update.tbs"}});
  options->command = command;
  command->add_option("bundle", options->bundle, "The bundle")->type_name("BUNDLE")->required();
  CLI::Option_group* ways = command->add_option_group("One of");
  ways->add_option("--key", options->key, "A private key: a file, env:NAME, or - (standard input)")
      ->type_name("KEY");
  CLI::Option* signer =
      ways->add_option("--signer-cmd", options->signer_command,
                       "A program: gets the bytes to sign, answers the raw signature (no shell)")
          ->type_name("CMD");
  ways->add_option("--export-tbs", options->to_be_signed, "Write the bytes to sign elsewhere")
      ->type_name("FILE");
  CLI::Option* attach =
      ways->add_option("--attach", options->signature, "Add the raw signature in this file")
          ->type_name("SIG");
  ways->require_option(1);
  CLI::Option* public_key =
      command
          ->add_option("--pubkey", options->public_key,
                       "The public key that --signer-cmd or --attach must match")
          ->type_name("FILE");
  signer->needs(public_key);
  attach->needs(public_key);
  add_force(command);
  on_call(command, action, options, run);
}

}  // namespace tensorpatch::cli
