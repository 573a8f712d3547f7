// cmd_verify.cc: `tensorpatch verify`: would a device accept this bundle? Exit code 0 only without
// any doubt.
// SPDX-License-Identifier: Apache-2.0
#include "command.h"

namespace tensorpatch::cli {
namespace {

struct Options {
  std::string bundle;
  DeviceArguments device;
  std::vector<std::string> old_files;
  OldRegionArguments old_regions;
};

std::string text_of(const Options& options, const toolkit::VerifyReport& report) {
  std::string text = options.bundle + ": ok";
  for (const auto& key_id : report.signed_by) text += "\nsigned by " + hex(key_id);
  if (report.unknown_signatures != 0) {
    text += "\n" + plural_text(report.unknown_signatures, "signature") +
            " by keys that were not given, not checked";
  }
  if (report.already_new) {
    text += "\nnothing to do: the old files already equal the new ones";
  } else if (report.old_checked) {
    text += "\nthe old files are right and the whole update decodes";
  } else {
    text += "\nold files not checked (--old)";
  }
  return text + "\n";
}

Result<int> run(const Options& options, Terminal& terminal) {
  toolkit::VerifyOptions verify;
  verify.bundle = options.bundle;
  auto device = device_of(options.device);
  if (!device) return tl::unexpected(device.error());
  verify.device = std::move(*device);
  auto old_given = old_files(options.old_files, options.old_regions);
  if (!old_given) return tl::unexpected(old_given.error());
  verify.old_files = std::move(*old_given);
  verify.progress = terminal.progress();
  auto report = toolkit::verify(verify);
  if (!report) return tl::unexpected(report.error());
  terminal.result(text_of(options, *report), {{"result", "verified"},
                                              {"bundle", options.bundle},
                                              {"statement_digest", hex(report->statement_digest)},
                                              {"signed_by", hex_list(report->signed_by)},
                                              {"unknown_signatures", report->unknown_signatures},
                                              {"old_checked", report->old_checked},
                                              {"already_new", report->already_new}});
  return 0;
}

}  // namespace

void add_verify(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command = add_command(
      app, {"verify",
            "Check signatures, manifest and all blocks of a bundle, and with --old that it applies",
            {"tensorpatch verify update.tpb --pubkey release.key.pub",
             "tensorpatch verify update.tpb --pubkey a.pub --pubkey b.pub --threshold 2",
             "tensorpatch verify update.tpb --pubkey release.key.pub --old old.tflite"}});
  command->add_option("bundle", options->bundle, "The bundle")->type_name("BUNDLE")->required();
  add_device_options(command, options->device);
  add_repeated(command, "--old", options->old_files,
               "The old file, once a component in the bundle's order (- for a whole file)")
      ->type_name("OLD");
  add_old_region_options(command, options->old_regions);
  on_call(command, action, options, run);
}

}  // namespace tensorpatch::cli
