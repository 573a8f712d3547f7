// terminal.h: the only place of the program that prints, asks or looks at signals.
//
// Standard output is data: results as text, or with --json as one JSON object. Standard error is
// for people: errors with a hint, warnings, notes, and a progress bar when it is a terminal and the
// work takes longer than a second.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>

#include "tensorpatch/toolkit.h"

namespace tensorpatch::cli {

using Json = nlohmann::ordered_json;

// The exit code for a status, as the manual page lists them.
int exit_code(tensorpatch_status status);

class Terminal {
 public:
  // SIGINT and SIGTERM no longer end the program at once: progress() answers false and read_input()
  // fails, so that nothing half done is left behind. A second signal ends it.
  Terminal();
  ~Terminal();
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  void use_json() { json_ = true; }
  bool is_json() const { return json_; }

  // The result of a command: `text` for people, or with --json `json`.
  void result(std::string_view text, const Json& json);
  void note(std::string_view text);
  void warning(std::string_view text);
  // Prints the error and its hint; returns the exit code. With --json also an object with "error",
  // to which `facts` are added.
  int error(const Error& error, const Json& facts = Json::object());

  // For the toolkit's calls: draws the bar; false when a signal asked to stop.
  toolkit::ProgressCallback progress();
  bool is_interrupted() const;

  // Standard input: the next bytes (0: its end), or all of it.
  Result<size_t> read_input(std::span<uint8_t> data);
  Result<std::string> read_all_input(size_t limit);
  // The password of a key: TENSORPATCH_PASSWORD, or asked on the terminal without echo.
  Result<std::string> password();

 private:
  bool show(const toolkit::Progress& progress);
  void clear_bar();

  bool json_ = false;
  bool has_bar_ = false;
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  std::chrono::steady_clock::time_point drawn_;
};

}  // namespace tensorpatch::cli
