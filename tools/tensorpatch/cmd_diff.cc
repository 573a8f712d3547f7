// cmd_diff.cc: `tensorpatch diff`: what changed between two model files, and what an update costs.
// SPDX-License-Identifier: Apache-2.0
#include "command.h"
#include "comparison_text.h"
#include "page.h"

namespace tensorpatch::cli {
namespace {

struct Options {
  CLI::App* command = nullptr;
  std::string old_file;
  std::string new_file;
  OldRegionArguments old_regions;
  std::string html;
  std::string profile = "linux";
  unsigned jobs = 0;
};

Result<int> run(const Options& options, Terminal& terminal) {
  const toolkit::ReportFile page{
      options.html, existing_of(options.command), {options.old_file, options.new_file}};
  if (!options.html.empty()) {
    if (auto checked = toolkit::check_report(page); !checked) {
      return tl::unexpected(checked.error());
    }
  }
  toolkit::DiffOptions diff;
  diff.old_file = options.old_file;
  diff.new_file = options.new_file;
  auto regions = old_regions(options.old_regions, 1);
  if (!regions) return tl::unexpected(regions.error());
  diff.old_region = regions->front();
  diff.profile = options.profile;
  diff.jobs = options.jobs;
  diff.progress = terminal.progress();
  auto comparison = toolkit::diff(diff);
  if (!comparison) return tl::unexpected(comparison.error());
  if (!comparison->warning.empty()) terminal.warning(comparison->warning);
  Json json = {{"old", options.old_file}, {"new", options.new_file}, {"profile", options.profile}};
  json.update(comparison_json(*comparison));
  if (!options.html.empty()) {
    const std::string title =
        diff.old_file.filename().string() + " to " + diff.new_file.filename().string();
    auto written = toolkit::write_report(page, page_text(title, Json::array({json})));
    if (!written) return tl::unexpected(written.error());
  }
  terminal.result(comparison_text(*comparison), json);
  return 0;
}

}  // namespace

void add_diff(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      add_command(app, {"diff",
                        "Show what changed between two model files, tensor by tensor",
                        {"tensorpatch diff old.tflite new.tflite",
                         "tensorpatch diff old.gguf new.gguf --html changes.html",
                         "tensorpatch diff old.onnx new.onnx --profile mcu-64k --json"}});
  options->command = command;
  command->add_option("old", options->old_file, "The old file")->type_name("OLD")->required();
  command->add_option("new", options->new_file, "The new file")->type_name("NEW")->required();
  add_old_region_options(command, options->old_regions);
  command
      ->add_option("--html", options->html,
                   "Also write a page with plots, which needs no network and no other file")
      ->type_name("FILE");
  command->add_option("--profile", options->profile, "What the patch may use, as for pack")
      ->capture_default_str()
      ->type_name(kProfileTypeName);
  command->add_option("--jobs", options->jobs, "Threads; 0: one a processor")->type_name("N");
  add_force(command);
  on_call(command, action, options, run);
}

}  // namespace tensorpatch::cli
