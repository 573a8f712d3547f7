// cmd_bsdiff.cc: `tensorpatch bsdiff` and `tensorpatch bspatch`: classic BSDIFF40 patches, which
// the tools of that name understand. Nothing in such a patch is signed.
// SPDX-License-Identifier: Apache-2.0
#include "command.h"

namespace tensorpatch::cli {
namespace {

struct Options {
  CLI::App* command = nullptr;
  std::string old_file;
  std::string new_file;
  std::string patch;
};

void add(CLI::App& app, Action& action, const Command& description,
         Result<void> (*work)(const toolkit::BsdiffFiles&)) {
  auto options = std::make_shared<Options>();
  options->command = add_command(app, description);
  options->command->add_option("old", options->old_file, "The old file")
      ->type_name("OLD")
      ->required();
  options->command->add_option("new", options->new_file, "The new file")
      ->type_name("NEW")
      ->required();
  options->command->add_option("patch", options->patch, "The patch")
      ->type_name("PATCH")
      ->required();
  add_force(options->command);
  on_call(
      options->command, action, options,
      [work](const Options& given, Terminal& terminal) -> Result<int> {
        auto done = work({given.old_file, given.new_file, given.patch, existing_of(given.command)});
        if (!done) return tl::unexpected(done.error());
        terminal.result({},
                        {{"old", given.old_file}, {"new", given.new_file}, {"patch", given.patch}});
        return 0;
      });
}

}  // namespace

void add_bsdiff(CLI::App& app, Action& action) {
  add(app, action,
      {"bsdiff",
       "Make a classic bsdiff patch (BSDIFF40, unsigned)",
       {"tensorpatch bsdiff old.onnx new.onnx update.bsdiff",
        "tensorpatch bsdiff --force old.onnx new.onnx update.bsdiff",
        "tensorpatch bsdiff old.onnx new.onnx update.bsdiff && bspatch old.onnx made.onnx "
        "update.bsdiff"}},
      toolkit::bsdiff);
}

void add_bspatch(CLI::App& app, Action& action) {
  add(app, action,
      {"bspatch",
       "Apply a classic bsdiff patch (BSDIFF40, unsigned)",
       {"tensorpatch bspatch old.onnx new.onnx update.bsdiff",
        "tensorpatch bspatch --force old.onnx new.onnx update.bsdiff",
        "bsdiff old.onnx new.onnx update.bsdiff && tensorpatch bspatch old.onnx made.onnx "
        "update.bsdiff"}},
      toolkit::bspatch);
}

}  // namespace tensorpatch::cli
