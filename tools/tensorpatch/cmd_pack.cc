// cmd_pack.cc: `tensorpatch pack`: old and new model files to one bundle.
// SPDX-License-Identifier: Apache-2.0
#include "command.h"

namespace tensorpatch::cli {
namespace {

struct Options {
  CLI::App* command = nullptr;
  std::vector<std::string> files;
  ComponentArguments components;
  std::string output;
  std::string name;
  std::string key;
  std::string profile = "linux";
  std::string memory;
  OldRegionArguments old_regions;
  uint64_t sequence = 0;
  uint32_t security_version = 0;
  std::string device_class;
  std::string version;
  std::vector<std::string> metadata;
  std::string details;
  std::string region;
  std::string undo;
  std::optional<uint32_t> undo_security_version;
  std::vector<std::string> snap_reports;
  unsigned level = 6;
  unsigned jobs = 0;
};

// OLD NEW, --full NEW or --component NAME OLD NEW ...
Result<std::vector<toolkit::ComponentFiles>> files_of(const Options& options) {
  const bool is_full = options.command->count("--full") != 0;
  if (!options.components.empty()) {
    if (options.files.empty() && !is_full && options.name.empty()) {
      return component_files(options.components);
    }
    return fail(TENSORPATCH_E_USAGE, "--component goes with neither OLD and NEW, --full nor --name",
                "name every file by --component NAME OLD NEW; an OLD of - is none");
  }
  const size_t wanted = is_full ? 1 : 2;
  if (options.files.size() != wanted) {
    return fail(TENSORPATCH_E_USAGE,
                is_full ? "--full needs the new file and no other" : "pack needs OLD and NEW",
                "see `tensorpatch pack --help`");
  }
  return std::vector<toolkit::ComponentFiles>{
      {options.name, is_full ? toolkit::Path() : old_path(options.files.front()),
       options.files.back()}};
}

// --in-place, --region, --with-undo and what belongs to it.
Result<void> add_ways(const Options& options, toolkit::PackOptions& pack) {
  const bool in_place = options.command->count("--in-place") != 0;
  if (in_place) pack.in_place.emplace();
  if (!options.region.empty()) {
    if (!in_place) return fail(TENSORPATCH_E_USAGE, "--region goes with --in-place");
    auto size = parse_size({"--region", options.region});
    if (!size) return tl::unexpected(size.error());
    pack.in_place->region_size = *size;
  }
  if (options.undo_security_version && options.undo.empty()) {
    return fail(TENSORPATCH_E_USAGE, "--undo-security-version goes with --with-undo");
  }
  pack.undo = options.undo;
  pack.undo_security_version = options.undo_security_version;
  return {};
}

Result<toolkit::PackOptions> pack_options(const Options& options, Terminal& terminal) {
  toolkit::PackOptions pack;
  auto files = files_of(options);
  if (!files) return tl::unexpected(files.error());
  pack.components = *files;
  auto regions = old_regions(options.old_regions, pack.components.size());
  if (!regions) return tl::unexpected(regions.error());
  for (size_t i = 0; i < regions->size(); ++i) pack.components[i].old_region = (*regions)[i];
  pack.output = options.output;
  pack.existing = existing_of(options.command);
  pack.profile = options.profile;
  pack.sequence = options.sequence;
  pack.security_version = options.security_version;
  pack.version = options.version;
  pack.details = options.details;
  pack.snap_reports.assign(options.snap_reports.begin(), options.snap_reports.end());
  pack.level = options.level;
  pack.jobs = options.jobs;
  pack.progress = terminal.progress();
  if (auto added = add_ways(options, pack); !added) return tl::unexpected(added.error());
  if (!options.memory.empty()) {
    auto memory = parse_size({"--memory", options.memory});
    if (!memory) return tl::unexpected(memory.error());
    pack.memory = *memory;
  }
  if (!options.device_class.empty()) {
    auto device_class = toolkit::parse_device_class(options.device_class);
    if (!device_class) return tl::unexpected(device_class.error());
    pack.device_class = *device_class;
  }
  for (const std::string& pair : options.metadata) {
    const size_t equals = pair.find('=');
    if (equals == std::string::npos || equals == 0) {
      return fail(TENSORPATCH_E_USAGE, "--meta: '" + pair + "' is not of the form key=value");
    }
    pack.metadata.emplace_back(pair.substr(0, equals), pair.substr(equals + 1));
  }
  if (!options.key.empty()) {
    auto signer = key_signer(options.key, terminal);
    if (!signer) return tl::unexpected(signer.error());
    pack.signer = std::move(*signer);
  }
  return pack;
}

// "lorawan-sf12 13.2 min, ...": the names that `apply --simulate --radio` takes.
std::string air_text(const std::vector<toolkit::LinkFacts>& links) {
  std::string text;
  for (const toolkit::LinkFacts& link : links) {
    text += (text.empty() ? "" : ", ") + link.name + " " + duration_text(link.air_ms);
  }
  return text;
}

void show(const Options& options, const toolkit::PackReport& report, Terminal& terminal) {
  uint64_t new_size = 0;
  Json components = Json::array();
  for (const toolkit::PackedComponent& component : report.components) {
    if (!component.warning.empty()) {
      terminal.warning(component.name + ": " + component.warning);
    }
    new_size += component.new_size;
    components.push_back({{"name", component.name},
                          {"format", component.format},
                          {"old_size", component.old_size},
                          {"new_size", component.new_size},
                          {"patch_size", component.patch_size},
                          {"warning", component.warning}});
  }
  std::string text = options.output + ": " + bytes_text(report.bundle_size) + ", " +
                     percent_text(report.bundle_size, new_size) + " of the new " +
                     bytes_text(new_size) + "; the device needs a workspace of " +
                     bytes_text(report.workspace_size) + "\n";
  text += "on air, estimated: " + air_text(report.links) + "\n";
  text +=
      report.signed_by.empty()
          ? "not signed: every device refuses it until `tensorpatch sign` has added a signature\n"
          : "signed by " + hex(report.signed_by.front()) + "\n";
  Json json = {{"result", "packed"},
               {"bundle", options.output},
               {"bundle_size", report.bundle_size},
               {"workspace_size", report.workspace_size},
               {"profile", report.profile},
               {"statement_digest", hex(report.statement_digest)},
               {"signed_by", hex_list(report.signed_by)},
               {"links", links_json(report.links)},
               {"components", components}};
  if (report.in_place) {
    text += "in place: " + in_place_text(*report.in_place) + "\n";
    json["in_place"] = in_place_json(*report.in_place);
  }
  if (report.undo_size != 0) {
    text += options.undo + ": " + bytes_text(report.undo_size) + ", leads back\n";
    json["undo"] = {{"bundle", options.undo}, {"bundle_size", report.undo_size}};
  }
  terminal.result(text, json);
}

Result<int> run(const Options& options, Terminal& terminal) {
  auto pack = pack_options(options, terminal);
  if (!pack) return tl::unexpected(pack.error());
  auto report = toolkit::pack(*pack);
  if (!report) return tl::unexpected(report.error());
  if (report->nothing_to_do) {
    terminal.result("nothing to do: old and new are equal; no bundle was made\n",
                    {{"result", "nothing to do"}});
  } else {
    show(options, *report, terminal);
  }
  return 0;
}

void add_options(CLI::App* command, Options& options) {
  command->add_option("files", options.files, "The old file (- for none) and the new file")
      ->type_name("OLD NEW")
      ->expected(0, 2);
  add_switch(command, "--full", "Make a whole-file bundle: give only the new file");
  add_components(command, options.components,
                 "One file of an update of several (up to 6); an OLD of - is none; repeatable");
  add_old_region_options(command, options.old_regions);
  command->add_option("-o,--output", options.output, "The bundle to make")
      ->type_name("FILE")
      ->required();
  command->add_option("--name", options.name, "The component's name, else \"model\"")
      ->type_name("NAME");
  command
      ->add_option("--key", options.key,
                   "Sign with this private key: a file, env:NAME, or - for standard input")
      ->type_name("KEY");
  command
      ->add_option("--profile", options.profile,
                   "The kind of device, or a file that tells its limits")
      ->capture_default_str()
      ->type_name(kProfileTypeName);
  command
      ->add_option("--memory", options.memory,
                   "Most memory for the device's workspace (bytes, or with K, M, G)")
      ->type_name("SIZE");
  command->add_option("--sequence", options.sequence, "Order of updates; devices refuse lower ones")
      ->type_name("N");
  command
      ->add_option("--security-version", options.security_version,
                   "Raised when older content must never come back")
      ->type_name("N");
  command->add_option("--device-class", options.device_class, "Only for devices of this class")
      ->type_name("UUID");
  command->add_option("--version", options.version, "Version of the new content, for people")
      ->type_name("TEXT");
  add_repeated(command, "--meta", options.metadata, "A fact for people, key=value; repeatable")
      ->type_name("KEY=VALUE");
  command->add_option("--details", options.details, "Also write what became of every tensor")
      ->type_name("FILE");
  add_switch(command, "--in-place", "For devices that write the new file over the old one");
  command
      ->add_option("--region", options.region,
                   "In place: bytes that old and new share on the device; else the profile's")
      ->type_name("SIZE");
  command
      ->add_option("--with-undo", options.undo,
                   "Also make a bundle that leads back to the old file")
      ->type_name("FILE");
  command
      ->add_option("--undo-security-version", options.undo_security_version,
                   "The old file's, needed where --security-version is given")
      ->type_name("N");
  add_repeated(command, "--snap-report", options.snap_reports,
               "The JSON report of `tensorpatch snap`: marks the bundle; repeatable")
      ->type_name("FILE");
  command
      ->add_option("--level", options.level,
                   "1 is quick to make and to apply, 9 tries most; never larger patches above 6")
      ->check(CLI::Range(1, 9))
      ->capture_default_str()
      ->type_name("1-9");
  command->add_option("--jobs", options.jobs, "Threads; 0: one a processor")->type_name("N");
  add_force(command);
}

}  // namespace

void add_pack(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  options->command = add_command(
      app, {"pack",
            "Make the update from an old to a new model file",
            {"tensorpatch pack old.tflite new.tflite -o update.tpb --key release.key",
             "tensorpatch pack old.onnx new.onnx -o update.tpb --profile mcu-64k --sequence 7",
             "tensorpatch pack --component model old.tflite new.tflite "
             "--component labels - labels.txt -o update.tpb --key release.key"}});
  add_options(options->command, *options);
  on_call(options->command, action, options, run);
}

}  // namespace tensorpatch::cli
