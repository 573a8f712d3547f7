// tests/keys/shell.h: runs a few lines of shell in a test's folder, to drive other programs.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/wait.h>

#include <cstdlib>
#include <string>

#include "support/temp_folder.h"

namespace tensorpatch::test {

struct ShellResult {
  int status = -1;     // exit status; -1 when a signal ended it
  std::string output;  // standard output and standard error
};

// Stops at the first line that fails. setsid takes the terminal away, so that a program that asks
// for a password reads it from its standard input.
inline ShellResult shell(const TempFolder& folder, const std::string& script) {
  write_file(folder / ".script", "set -eu\ncd '" + folder.path().string() + "'\n" + script + "\n");
  const std::string prefix = "'" + folder.path().string() + "/.";
  const std::string command =
      "setsid -w sh " + prefix + "script' </dev/null >" + prefix + "output' 2>&1";
  const int status = std::system(command.c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, read_file(folder / ".output")};
}

}  // namespace tensorpatch::test
