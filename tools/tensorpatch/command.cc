// command.cc: see command.h.
// SPDX-License-Identifier: Apache-2.0
#include "command.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <limits>

namespace tensorpatch::cli {
namespace {

constexpr size_t kMaxKeySize = 65536;

// Three digits and a unit: "4.50 s", "45.0 min".
std::string scaled_text(double value, std::string_view unit) {
  char digits[32];
  const int places = value < 10 ? 2 : value < 100 ? 1 : 0;
  std::snprintf(digits, sizeof digits, "%.*f ", places, value);
  return digits + std::string(unit);
}

}  // namespace

CLI::App* add_command(CLI::App& app, const Command& command) {
  CLI::App* added = app.add_subcommand(command.name, command.description);
  std::string footer = "Examples:";
  for (const std::string& example : command.examples) footer += "\n  " + example;
  added->footer(footer);
  add_switch(added, "--json", "Print the result as one JSON object");
  return added;
}

void add_switch(CLI::App* command, const std::string& name, const std::string& description) {
  command->add_flag(name, description);
}

void add_force(CLI::App* command) {
  add_switch(command, "--force", "Replace a file that exists");
}

toolkit::Existing existing_of(const CLI::App* command) {
  return command->count("--force") != 0 ? toolkit::Existing::kReplace : toolkit::Existing::kKeep;
}

void add_components(CLI::App* command, ComponentArguments& components, const std::string& help) {
  add_repeated(command, "--component", components, help)->type_name("NAME OLD NEW");
}

toolkit::Path old_path(const std::string& argument) {
  return argument == "-" ? toolkit::Path() : toolkit::Path(argument);
}

std::vector<toolkit::ComponentFiles> component_files(const ComponentArguments& components) {
  std::vector<toolkit::ComponentFiles> files;
  for (const auto& [name, old_file, new_file] : components) {
    files.push_back({name, old_path(old_file), new_file});
  }
  return files;
}

Result<uint64_t> parse_size(const Argument& argument) {
  const std::string& text = argument.text;
  const bool is_hex = text.starts_with("0x") || text.starts_with("0X");
  const char* const end = text.data() + text.size();
  uint64_t value = 0;
  const auto [rest, failure] =
      std::from_chars(text.data() + (is_hex ? 2 : 0), end, value, is_hex ? 16 : 10);
  const std::string_view suffix(rest, static_cast<size_t>(end - rest));
  unsigned shift = 0;
  if (suffix == "K" || suffix == "KiB") {
    shift = 10;
  } else if (suffix == "M" || suffix == "MiB") {
    shift = 20;
  } else if (suffix == "G" || suffix == "GiB") {
    shift = 30;
  }
  const bool is_known = suffix.empty() || shift != 0;
  if (failure != std::errc() || !is_known ||
      value > std::numeric_limits<uint64_t>::max() >> shift) {
    return fail(TENSORPATCH_E_USAGE, argument.option + ": '" + text + "' is not a size",
                "a number of bytes, or with K, M or G (powers of 1024), such as 64K or 0x10000");
  }
  return value << shift;
}

void add_old_region_options(CLI::App* command, OldRegionArguments& arguments) {
  add_repeated(command, "--old-offset", arguments.offsets,
               "Where in OLD, a partition or an image, the old file begins (0x..., K, M, G); "
               "repeated for several components")
      ->type_name("SIZE");
  add_repeated(command, "--old-size", arguments.sizes,
               "The size of the old file there, or auto; repeated likewise")
      ->type_name("SIZE");
}

Result<std::vector<toolkit::FileRegion>> old_regions(const OldRegionArguments& arguments,
                                                     size_t file_count) {
  for (const auto& [option, values] :
       {std::pair("--old-offset", &arguments.offsets), std::pair("--old-size", &arguments.sizes)}) {
    if (values->empty() || values->size() == file_count) continue;
    return fail(TENSORPATCH_E_USAGE,
                std::string(option) + " is given " + std::to_string(values->size()) +
                    " time(s) for " + std::to_string(file_count) + " old file(s)",
                "give it once for each, in order");
  }
  std::vector<toolkit::FileRegion> regions(file_count);
  for (size_t i = 0; i < arguments.offsets.size(); ++i) {
    auto offset = parse_size({"--old-offset", arguments.offsets[i]});
    if (!offset) return tl::unexpected(offset.error());
    regions[i].offset = *offset;
  }
  for (size_t i = 0; i < arguments.sizes.size(); ++i) {
    if (arguments.sizes[i] == "auto") continue;
    auto size = parse_size({"--old-size", arguments.sizes[i]});
    if (!size) return tl::unexpected(size.error());
    regions[i].size = *size;
  }
  return regions;
}

Result<std::vector<toolkit::OldFile>> old_files(const std::vector<std::string>& files,
                                                const OldRegionArguments& arguments) {
  auto regions = old_regions(arguments, files.size());
  if (!regions) return tl::unexpected(regions.error());
  std::vector<toolkit::OldFile> named;
  for (size_t i = 0; i < files.size(); ++i) named.push_back({old_path(files[i]), (*regions)[i]});
  return named;
}

void add_device_options(CLI::App* command, DeviceArguments& arguments) {
  add_repeated(
      command, "--pubkey", arguments.public_keys,
      "A public key that is trusted (PEM, minisign, signify, ssh-ed25519 or hex); repeatable")
      ->type_name("FILE")
      ->required();
  command
      ->add_option("--threshold", arguments.threshold,
                   "How many valid signatures by different keys are needed")
      ->type_name("N")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--device-class", arguments.device_class, "The class that the device is of")
      ->type_name("UUID");
  command
      ->add_option("--min-sequence", arguments.sequence_floor, "Refuse bundles of a lower sequence")
      ->type_name("N");
  command
      ->add_option("--min-security-version", arguments.security_version_floor,
                   "Refuse bundles of a lower security version")
      ->type_name("N");
  command
      ->add_option("--memory", arguments.memory,
                   "Refuse bundles that need a larger workspace (bytes, or with K, M, G)")
      ->type_name("SIZE");
}

Result<std::vector<std::string>> read_public_keys(const std::vector<std::string>& paths) {
  std::vector<std::string> keys;
  for (const std::string& path : paths) {
    auto text = toolkit::read_key_file(path);
    if (!text) return tl::unexpected(text.error());
    keys.push_back(*text);
  }
  return keys;
}

Result<toolkit::Device> device_of(const DeviceArguments& arguments) {
  toolkit::Device device;
  auto keys = read_public_keys(arguments.public_keys);
  if (!keys) return tl::unexpected(keys.error());
  device.public_keys = *keys;
  device.threshold = arguments.threshold;
  device.sequence_floor = arguments.sequence_floor;
  device.security_version_floor = arguments.security_version_floor;
  device.accepts_undo = arguments.accepts_undo;
  if (!arguments.device_class.empty()) {
    auto device_class = toolkit::parse_device_class(arguments.device_class);
    if (!device_class) return tl::unexpected(device_class.error());
    device.device_class = *device_class;
  }
  if (!arguments.memory.empty()) {
    auto memory = parse_size({"--memory", arguments.memory});
    if (!memory) return tl::unexpected(memory.error());
    device.memory = *memory;
  }
  return device;
}

Result<std::string> read_key(const std::string& argument, Terminal& terminal) {
  if (argument == "-") return terminal.read_all_input(kMaxKeySize);
  constexpr std::string_view kEnvironment = "env:";
  if (!argument.starts_with(kEnvironment)) return toolkit::read_key_file(argument);
  const std::string name = argument.substr(kEnvironment.size());
  const char* value = std::getenv(name.c_str());
  if (value == nullptr || *value == '\0') {
    return fail(TENSORPATCH_E_KEY, "the environment variable '" + name + "' is not set",
                "it must hold the content of a private key file");
  }
  return value;
}

Result<toolkit::Signer> key_signer(const std::string& argument, Terminal& terminal) {
  auto text = read_key(argument, terminal);
  if (!text) return tl::unexpected(text.error());
  toolkit::Signer signer;
  signer.private_key = *text;
  signer.password = [&terminal] { return terminal.password(); };
  return signer;
}

std::string bytes_text(uint64_t count) {
  std::string digits = std::to_string(count);
  for (size_t at = digits.size(); at > 3;) digits.insert(at -= 3, 1, ',');
  return digits + (count == 1 ? " byte" : " bytes");
}

std::string percent_text(uint64_t part, uint64_t whole) {
  if (whole == 0) return "-";
  char text[32];
  std::snprintf(text, sizeof text, "%.1f %%",
                100.0 * static_cast<double>(part) / static_cast<double>(whole));
  return text;
}

std::string plural_text(uint64_t count, std::string_view word) {
  return std::to_string(count) + " " + std::string(word) + (count == 1 ? "" : "s");
}

std::string row(std::string_view name, const std::string& value) {
  std::string text = "  " + std::string(name);
  text.resize(std::max<size_t>(text.size() + 1, 24), ' ');
  return text + value + "\n";
}

std::string duration_text(uint64_t ms) {
  const auto seconds = static_cast<double>(ms) / 1000;
  if (seconds < 120) return scaled_text(seconds, "s");
  return seconds < 7200 ? scaled_text(seconds / 60, "min") : scaled_text(seconds / 3600, "h");
}

std::string energy_text(uint64_t mj) {
  return mj < 1000 ? std::to_string(mj) + " mJ" : scaled_text(static_cast<double>(mj) / 1000, "J");
}

std::string in_place_text(const toolkit::InPlaceFacts& facts) {
  return "a region of " + bytes_text(facts.region_size) + " or more, " + bytes_text(facts.margin) +
         " of it before the old file; at most " +
         plural_text(facts.journal_records, "journal record");
}

Json links_json(const std::vector<toolkit::LinkFacts>& links) {
  Json json = Json::array();
  for (const toolkit::LinkFacts& link : links) {
    json.push_back({{"name", link.name},
                    {"title", link.title},
                    {"air_ms", link.air_ms},
                    {"time_ms", link.time_ms},
                    {"energy_mj", link.energy_mj}});
  }
  return json;
}

Json in_place_json(const toolkit::InPlaceFacts& facts) {
  return {{"region_size", facts.region_size},
          {"margin", facts.margin},
          {"journal_records", facts.journal_records}};
}

Json hex_list(const std::vector<toolkit::Digest>& digests) {
  Json list = Json::array();
  for (const auto& digest : digests) list.push_back(hex(digest));
  return list;
}

}  // namespace tensorpatch::cli
