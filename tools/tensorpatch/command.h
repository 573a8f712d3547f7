// command.h: what the subcommands share: their registration and the options that several have.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <CLI/CLI.hpp>
#include <array>
#include <functional>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "tensorpatch/toolkit.h"
#include "terminal.h"

namespace tensorpatch::cli {

// What the command line asked for, run after all of it was understood; returns the exit code.
using Action = std::function<int(Terminal&)>;

// Each adds its subcommand to `app`; when that is the one called, `action` is set.
void add_keygen(CLI::App& app, Action& action);
void add_pubkey(CLI::App& app, Action& action);
void add_pack(CLI::App& app, Action& action);
void add_sign(CLI::App& app, Action& action);
void add_verify(CLI::App& app, Action& action);
void add_apply(CLI::App& app, Action& action);
void add_inspect(CLI::App& app, Action& action);
void add_diff(CLI::App& app, Action& action);
void add_snap(CLI::App& app, Action& action);
void add_bsdiff(CLI::App& app, Action& action);
void add_bspatch(CLI::App& app, Action& action);
void add_completion(CLI::App& app, Action& action);

// A subcommand with what all of them have: --json and three examples at the end of --help.
struct Command {
  std::string name;
  std::string description;
  std::vector<std::string> examples;
};
CLI::App* add_command(CLI::App& app, const Command& command);

// Registers `run(options, terminal)` as what the subcommand does. It returns Result<int>.
template <class Options, class Run>
void on_call(CLI::App* command, Action& action, std::shared_ptr<Options> options, Run run) {
  command->callback([command, &action, options, run] {
    action = [command, options, run](Terminal& terminal) {
      if (command->count("--json") != 0) terminal.use_json();
      const Result<int> code = run(*options, terminal);
      return code ? *code : terminal.error(code.error());
    };
  });
}

// An option that is given once for each value.
template <class Value>
CLI::Option* add_repeated(CLI::App* command, const std::string& name, std::vector<Value>& values,
                          const std::string& description) {
  return command->add_option(name, values, description)->allow_extra_args(false);
}

// An option without a value; ask command->count(name).
void add_switch(CLI::App* command, const std::string& name, const std::string& description);

toolkit::Existing existing_of(const CLI::App* command);
void add_force(CLI::App* command);

// What --profile takes: the built-in ones, which the shells complete, or a file.
inline constexpr char kProfileTypeName[] = "linux|mcu-256k|mcu-64k|mcu-16k|mcu-8k|FILE";

using ComponentArguments = std::vector<std::tuple<std::string, std::string, std::string>>;
void add_components(CLI::App* command, ComponentArguments& components, const std::string& help);
// As the toolkit wants them; an OLD of "-" is none.
std::vector<toolkit::ComponentFiles> component_files(const ComponentArguments& components);
toolkit::Path old_path(const std::string& argument);

// A size in an argument; E_USAGE names the option.
struct Argument {
  std::string option;
  std::string text;
};
Result<uint64_t> parse_size(const Argument& argument);  // 0x...; K, M, G: powers of 1024

// Where in its file each old one is: for none of them, or for each in order.
struct OldRegionArguments {
  std::vector<std::string> offsets;
  std::vector<std::string> sizes;
};
void add_old_region_options(CLI::App* command, OldRegionArguments& arguments);
Result<std::vector<toolkit::FileRegion>> old_regions(const OldRegionArguments& arguments,
                                                     size_t file_count);
// The same with the files: arguments of --old, `-` for none.
Result<std::vector<toolkit::OldFile>> old_files(const std::vector<std::string>& files,
                                                const OldRegionArguments& arguments);

// The options that say what a device trusts, of verify, apply and inspect.
struct DeviceArguments {
  std::vector<std::string> public_keys;
  uint32_t threshold = 1;
  std::string device_class;
  uint64_t sequence_floor = 0;
  uint32_t security_version_floor = 0;
  std::string memory;
  bool accepts_undo = false;
};
void add_device_options(CLI::App* command, DeviceArguments& arguments);
Result<toolkit::Device> device_of(const DeviceArguments& arguments);
Result<std::vector<std::string>> read_public_keys(const std::vector<std::string>& paths);

// A private key from a file, env:NAME or - (standard input), as the toolkit's signer.
Result<toolkit::Signer> key_signer(const std::string& argument, Terminal& terminal);
// The content of that key.
Result<std::string> read_key(const std::string& argument, Terminal& terminal);

// Words for people and for JSON.
template <class Bytes>
std::string hex(const Bytes& bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const uint8_t byte : bytes) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}
std::string bytes_text(uint64_t count);                     // "1,234 bytes"
std::string percent_text(uint64_t part, uint64_t whole);    // "12.3 %"
std::string plural_text(uint64_t count, std::string_view);  // "1 signature", "2 signatures"
// "  key                   value\n"
std::string row(std::string_view name, const std::string& value);
std::string duration_text(uint64_t ms);  // "4.50 s"
std::string energy_text(uint64_t mj);    // "45.0 J"
// "a region of 81,920 bytes or more; ..."
std::string in_place_text(const toolkit::InPlaceFacts& facts);
Json links_json(const std::vector<toolkit::LinkFacts>& links);
Json in_place_json(const toolkit::InPlaceFacts& facts);
Json hex_list(const std::vector<toolkit::Digest>& digests);

}  // namespace tensorpatch::cli
