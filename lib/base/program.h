// base/program.h: runs another program, without a shell, within a time, and keeps what it prints.
//
// The input is handed over as a file in memory rather than a pipe: nothing to feed, no SIGPIPE when
// the program does not read, and programs that need the size of their input (openssl pkeyutl
// -rawin) work. A program that does not end in time is killed.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"

namespace tensorpatch::base {

// Words separated by blanks. Single quotes keep everything; within double quotes a backslash
// escapes what it escapes in a shell; outside of quotes it escapes any character. E_USAGE, naming
// the command as `what` ("the signer command"), when there is no word or a quote is open.
Result<std::vector<std::string>> split_command(std::string_view command, std::string_view what);

enum class ProgramGroup : uint8_t {
  kShared,  // it may ask on the terminal, as signers do for a PIN
  kOwn,     // it is killed with all that it started
};

struct ProgramRun {
  std::vector<std::string> words;  // the program, sought in PATH, and its arguments
  Bytes input;                     // standard input
  std::chrono::milliseconds patience{60'000};
  ProgramGroup group = ProgramGroup::kShared;
  size_t output_limit = 4096;   // bytes of standard output; more is a failure
  std::function<bool()> go_on;  // asked now and then; false: the program is killed
};

struct ProgramEnd {
  std::string output;      // standard output
  std::string error_tail;  // the end of standard error
  std::string failure;     // "exited with status 3", "was ended by signal 9 (Killed)"; empty: 0
};

// Messages have no subject: "did not finish in time", to stand behind a name. Failures have the
// code of `failed`; E_CANCELLED when go_on said stop.
Result<ProgramEnd> run_program(const ProgramRun& run, tensorpatch_status failed);

// Standard error in one printable line, for a message: ": words", or nothing.
std::string as_one_line(std::string_view text);

}  // namespace tensorpatch::base
