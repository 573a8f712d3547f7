// cmd_apply.cc: `tensorpatch apply`: does what a device does, by the device's own code.
// SPDX-License-Identifier: Apache-2.0
#include "command.h"
#include "simulation_text.h"

namespace tensorpatch::cli {
namespace {

struct Options {
  CLI::App* command = nullptr;
  std::vector<std::string> files;
  ComponentArguments components;
  std::string output;
  OldRegionArguments old_regions;
  DeviceArguments device;
  std::string resume;
  std::string simulate;
  double clock_mhz = 64;
  std::string radio;
};

// OLD BUNDLE -o NEW, or BUNDLE --component NAME OLD NEW ...
Result<toolkit::ApplyOptions> apply_options(const Options& options, Terminal& terminal) {
  toolkit::ApplyOptions apply;
  if (options.components.empty()) {
    if (options.files.size() != 2 || options.output.empty()) {
      return fail(TENSORPATCH_E_USAGE, "apply needs OLD, BUNDLE and -o NEW",
                  "see `tensorpatch apply --help`");
    }
    apply.components.push_back({"", old_path(options.files.front()), options.output});
  } else {
    if (options.files.size() != 1 || !options.output.empty()) {
      return fail(TENSORPATCH_E_USAGE,
                  "with --component, apply needs BUNDLE and neither OLD nor -o",
                  "see `tensorpatch apply --help`");
    }
    apply.components = component_files(options.components);
  }
  auto regions = old_regions(options.old_regions, apply.components.size());
  if (!regions) return tl::unexpected(regions.error());
  for (size_t i = 0; i < regions->size(); ++i) apply.components[i].old_region = (*regions)[i];
  if (options.files.back() == "-") {
    apply.input = [&terminal](std::span<uint8_t> data) { return terminal.read_input(data); };
  } else {
    apply.bundle = options.files.back();
  }
  auto device = device_of(options.device);
  if (!device) return tl::unexpected(device.error());
  apply.device = std::move(*device);
  apply.existing = existing_of(options.command);
  apply.resume = options.resume;
  apply.progress = terminal.progress();
  return apply;
}

int interrupted(const Options& options, const toolkit::ApplyReport& report, Terminal& terminal) {
  const std::string offset = std::to_string(report.next_offset);
  return terminal.error(
      {TENSORPATCH_E_INTERRUPTED,
       "interrupted; feed the bundle from offset " + offset + " to go on",
       "call again with --resume " + options.resume + "; from a stream: tail -c +" +
           std::to_string(report.next_offset + 1) + " BUNDLE | tensorpatch apply ... -"},
      {{"next_offset", report.next_offset}});
}

// OLD BUNDLE --simulate PROFILE: nothing is written.
Result<int> simulate(const Options& options, Terminal& terminal) {
  if (options.files.size() != 2 || !options.components.empty() || !options.output.empty() ||
      !options.resume.empty() || options.files.back() == "-") {
    return fail(TENSORPATCH_E_USAGE,
                "--simulate needs OLD and BUNDLE, and goes with neither -o, --component, --resume "
                "nor standard input",
                "see `tensorpatch apply --help`");
  }
  auto regions = old_regions(options.old_regions, 1);
  if (!regions) return tl::unexpected(regions.error());
  toolkit::SimulateOptions simulation;
  simulation.bundle = options.files.back();
  simulation.old_files = {{old_path(options.files.front()),
                           regions->empty() ? toolkit::FileRegion() : regions->front()}};
  auto device = device_of(options.device);
  if (!device) return tl::unexpected(device.error());
  simulation.device = std::move(*device);
  simulation.profile = options.simulate;
  simulation.clock_mhz = options.clock_mhz;
  simulation.link = options.radio;
  simulation.progress = terminal.progress();
  return run_simulation(simulation, terminal);
}

Result<int> run(const Options& options, Terminal& terminal) {
  if (!options.simulate.empty()) return simulate(options, terminal);
  if (!options.radio.empty() || options.command->count("--clock") != 0) {
    return fail(TENSORPATCH_E_USAGE, "--clock and --radio go with --simulate");
  }
  auto apply = apply_options(options, terminal);
  if (!apply) return tl::unexpected(apply.error());
  auto report = toolkit::apply(*apply);
  if (!report) return tl::unexpected(report.error());
  if (report->outcome == toolkit::Outcome::kInterrupted) {
    return interrupted(options, *report, terminal);
  }
  const bool is_new = report->outcome == toolkit::Outcome::kAlreadyNew;
  std::string text;
  Json written = Json::array();
  for (const toolkit::ComponentFiles& files : apply->components) {
    text += (text.empty() ? "" : ", ") + files.new_file.string();
    written.push_back(files.new_file.string());
  }
  text += is_new ? ": nothing to do, the old file already is the new one; copied"
                 : ": " + bytes_text(report->new_size) + ", digest right";
  terminal.result(text + "\n", {{"result", is_new ? "already new" : "applied"},
                                {"new", written},
                                {"new_size", report->new_size},
                                {"workspace_size", report->workspace_size},
                                {"signed_by", hex_list(report->signed_by)}});
  return 0;
}

}  // namespace

void add_apply(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command = add_command(
      app, {"apply",
            "Make the new file from the old one and a bundle, as a device does",
            {"tensorpatch apply old.tflite update.tpb -o new.tflite --pubkey release.key.pub",
             "curl -s https://example.com/update.tpb | tensorpatch apply old.tflite - "
             "-o new.tflite --pubkey release.key.pub --resume update.state",
             "tensorpatch apply update.tpb --component model old.tflite new.tflite "
             "--component labels - labels.txt --pubkey release.key.pub",
             "tensorpatch apply old.tflite update.tpb --simulate mcu-64k --radio nb-iot "
             "--pubkey release.key.pub"}});
  options->command = command;
  command
      ->add_option("files", options->files,
                   "The old file (- for none) and the bundle (- for standard input)")
      ->type_name("[OLD] BUNDLE")
      ->expected(1, 2)
      ->required();
  command->add_option("-o,--output", options->output, "The new file")->type_name("NEW");
  add_components(command, options->components, "The files of one component; repeatable");
  add_old_region_options(command, options->old_regions);
  add_device_options(command, options->device);
  command->add_flag("--undo", options->device.accepts_undo,
                    "Accept a bundle that leads back from an update");
  command
      ->add_option("--resume", options->resume,
                   "Keep what is needed to go on after an interruption in this file, and go on")
      ->type_name("STATE");
  command
      ->add_option("--simulate", options->simulate,
                   "Write nothing, and tell what it costs a microcontroller with this profile")
      ->type_name(kProfileTypeName);
  command->add_option("--clock", options->clock_mhz, "Of the simulated processor, in MHz")
      ->capture_default_str()
      ->type_name("MHZ");
  command->add_option("--radio", options->radio, "Count this link too, such as nb-iot or ble-1m")
      ->type_name("NAME");
  add_force(command);
  on_call(command, action, options, run);
}

}  // namespace tensorpatch::cli
