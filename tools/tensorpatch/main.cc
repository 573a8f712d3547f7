// main.cc: the tensorpatch program: understands the command line, then runs one subcommand.
//
// Exit codes: 0 ok, 1 failed, 2 usage, 3 not trusted, 4 wrong old file, 5 does not fit the device's
// limits, 6 interrupted but resumable.
// SPDX-License-Identifier: Apache-2.0
#include <cctype>

#include "command.h"

namespace tensorpatch::cli {
namespace {

// A wrong command line, in our manner.
Error usage_error(const CLI::ParseError& error, const CLI::App& app) {
  std::string message = error.what();
  if (!message.empty()) {
    message[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(message[0])));
  }
  while (message.ends_with('.') || message.ends_with('\n')) message.pop_back();
  const std::vector<std::string> unknown = app.remaining();
  if (app.get_subcommands().empty() && !unknown.empty()) {
    message = "'" + unknown.front() + "' is not a command";
  }
  std::string command = "tensorpatch";
  for (const CLI::App* called : app.get_subcommands()) command += " " + called->get_name();
  return {TENSORPATCH_E_USAGE, message, "see `" + command + " --help`"};
}

int run(int argument_count, const char* const* arguments) {
  CLI::App app(
      "Makes the smallest signed update that takes a device from an old model file to a new one",
      "tensorpatch");
  app.set_version_flag("--version", "tensorpatch " TENSORPATCH_VERSION);
  app.require_subcommand(1);
  app.footer(
      "`tensorpatch COMMAND --help` tells more, `man tensorpatch` all.\n"
      "Examples:\n"
      "  tensorpatch keygen -o release.key\n"
      "  tensorpatch pack old.tflite new.tflite -o update.tpb --key release.key\n"
      "  tensorpatch apply old.tflite update.tpb -o new.tflite --pubkey release.key.pub");
  Action action;
  for (const auto add :
       {add_keygen, add_pubkey, add_pack, add_sign, add_verify, add_apply, add_inspect, add_diff,
        add_snap, add_bsdiff, add_bspatch, add_completion}) {
    add(app, action);
  }
  Terminal terminal;
  try {
    app.parse(argument_count, arguments);
  } catch (const CLI::CallForHelp&) {
    terminal.result(app.help(), {{"help", app.help()}});
    return 0;
  } catch (const CLI::CallForVersion& version) {
    terminal.result(std::string(version.what()) + "\n", {});
    return 0;
  } catch (const CLI::ParseError& error) {
    return terminal.error(usage_error(error, app));
  }
  return action(terminal);
}

}  // namespace
}  // namespace tensorpatch::cli

int main(int argument_count, char** arguments) {
  return tensorpatch::cli::run(argument_count, arguments);
}
