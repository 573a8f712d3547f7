// cmd_inspect.cc: `tensorpatch inspect`: what a bundle says, for people or as JSON.
// SPDX-License-Identifier: Apache-2.0
#include <cstdio>

#include "command.h"
#include "comparison_text.h"
#include "page.h"

namespace tensorpatch::cli {
namespace {

using Check = toolkit::SignatureFacts::Check;

struct Options {
  std::string bundle;
  CLI::App* command = nullptr;
  std::string details;
  std::string html;
  std::vector<std::string> public_keys;
  std::vector<std::string> old_files;
  OldRegionArguments old_regions;
};

std::string_view check_text(Check check) {
  switch (check) {
    case Check::kValid:
      return "valid";
    case Check::kWrong:
      return "WRONG";
    case Check::kUnknownKey:
      return "unknown key";
    case Check::kNotChecked:
      break;
  }
  return "signature not checked";
}

std::string component_text(const toolkit::ComponentFacts& component) {
  std::string text = "component " + component.name + " (" + component.format + ")\n";
  text +=
      component.whole
          ? row("old", "none: a whole file")
          : row("old", bytes_text(component.old_size) + ", sha256 " + hex(component.old_digest));
  text += row("new", bytes_text(component.new_size) + ", sha256 " + hex(component.new_digest));
  text += row("patch", bytes_text(component.patch_size) + ", " +
                           percent_text(component.patch_size, component.new_size) + " of new");
  for (const toolkit::MethodFacts& operation : component.operations) {
    text += row(operation.method, plural_text(operation.count, "operation") + " for " +
                                      bytes_text(operation.new_bytes) + " by " +
                                      bytes_text(operation.patch_bytes));
  }
  if (component.operations.empty() && component.patch_size != 0) {
    text += row("operations", "listed with --old and --pubkey");
  }
  for (const toolkit::MethodFacts& method : component.methods) {
    text += row(method.method, plural_text(method.count, "segment") + " of " +
                                   bytes_text(method.new_bytes) + " by " +
                                   bytes_text(method.patch_bytes));
  }
  if (component.comparison) text += "\n" + comparison_text(*component.comparison) + "\n";
  return text;
}

std::string contract_text(const toolkit::InspectReport& report) {
  const toolkit::ContractFacts& contract = report.contract;
  std::string codecs;
  for (const std::string& codec : report.codecs) codecs += (codecs.empty() ? "" : ", ") + codec;
  std::string text = "contract\n" + row("workspace", bytes_text(contract.workspace)) +
                     row("writes", bytes_text(contract.flash_written)) +
                     row("erases", bytes_text(contract.flash_erased)) +
                     row("reads of old", bytes_text(contract.old_reads)) +
                     row("reads of new", bytes_text(contract.new_reads)) + row("codecs", codecs) +
                     row("block", bytes_text(report.block_size)) +
                     row("restart interval", bytes_text(report.restart_interval)) +
                     row("erase, write size", std::to_string(report.erase_size) + ", " +
                                                  std::to_string(report.write_size));
  if (contract.in_place) text += row("in place", in_place_text(*contract.in_place));
  if (contract.time_ms) text += row("time", std::to_string(*contract.time_ms) + " ms");
  if (contract.energy_mj) text += row("energy", std::to_string(*contract.energy_mj) + " mJ");
  text += "estimates, on a microcontroller with flash\n";
  for (const toolkit::LinkFacts& link : contract.links) {
    std::string title = link.title;
    title.resize(std::max<size_t>(title.size(), 27), ' ');
    text += row(title, duration_text(link.air_ms) + " on air, " + duration_text(link.time_ms) +
                           " in all, " + energy_text(link.energy_mj));
  }
  return text;
}

std::string text_of(const Options& options, const toolkit::InspectReport& report) {
  std::string text = options.bundle + ": bundle of format " + std::to_string(report.major) + "." +
                     std::to_string(report.minor) + ", " + bytes_text(report.bundle_size) + "\n";
  text += "statement\n" + row("identity", hex(report.statement_digest)) +
          row("sequence", std::to_string(report.sequence)) +
          row("security version", std::to_string(report.security_version)) +
          row("device class",
              report.device_class ? toolkit::device_class_text(*report.device_class) : "any");
  if (report.undo) text += row("undo", "leads back from an update");
  if (!report.version.empty()) text += row("version", report.version);
  text += row("made by", report.tool);
  for (const auto& [key, value] : report.metadata) text += row(key, value);
  for (const std::string& need : report.compatibility) text += row("needs", need);
  if (report.details_digest) text += row("details", "sha256 " + hex(*report.details_digest));
  text += "signatures\n";
  if (report.signatures.empty()) text += "  none: every device refuses this bundle\n";
  for (const toolkit::SignatureFacts& signature : report.signatures) {
    text +=
        "  key " + hex(signature.key_id) + ": " + std::string(check_text(signature.check)) + "\n";
  }
  text += contract_text(report);
  for (const toolkit::ComponentFacts& component : report.components) {
    text += component_text(component);
  }
  return text;
}

Json methods_json(const std::vector<toolkit::MethodFacts>& methods) {
  Json json = Json::array();
  for (const toolkit::MethodFacts& method : methods) {
    json.push_back({{"method", method.method},
                    {"count", method.count},
                    {"new_bytes", method.new_bytes},
                    {"patch_bytes", method.patch_bytes}});
  }
  return json;
}

Json component_json(const toolkit::ComponentFacts& component) {
  Json json = {{"name", component.name},
               {"format", component.format},
               {"whole", component.whole},
               {"old_size", component.old_size},
               {"new_size", component.new_size},
               {"patch_size", component.patch_size},
               {"old_sha256", hex(component.old_digest)},
               {"new_sha256", hex(component.new_digest)},
               {"operations", methods_json(component.operations)},
               {"methods", methods_json(component.methods)},
               {"tensors", Json::array()}};
  if (component.comparison) json.update(comparison_json(*component.comparison));
  return json;
}

Json json_of(const toolkit::InspectReport& report) {
  Json signatures = Json::array();
  for (const toolkit::SignatureFacts& signature : report.signatures) {
    signatures.push_back({{"algorithm", signature.algorithm},
                          {"key_id", hex(signature.key_id)},
                          {"check", check_text(signature.check)}});
  }
  Json components = Json::array();
  for (const auto& component : report.components) components.push_back(component_json(component));
  Json metadata = Json::object();
  for (const auto& [key, value] : report.metadata) metadata[key] = value;
  Json json = {{"format", {{"major", report.major}, {"minor", report.minor}}},
               {"bundle_size", report.bundle_size},
               {"statement_digest", hex(report.statement_digest)},
               {"sequence", report.sequence},
               {"security_version", report.security_version},
               {"device_class", nullptr},
               {"version", report.version},
               {"tool", report.tool},
               {"metadata", metadata},
               {"compatibility", report.compatibility},
               {"details_sha256", nullptr},
               {"signatures", signatures},
               {"contract",
                {{"workspace", report.contract.workspace},
                 {"flash_written", report.contract.flash_written},
                 {"flash_erased", report.contract.flash_erased},
                 {"old_reads", report.contract.old_reads},
                 {"new_reads", report.contract.new_reads},
                 {"codecs", report.codecs},
                 {"block_size", report.block_size},
                 {"restart_interval", report.restart_interval},
                 {"erase_size", report.erase_size},
                 {"write_size", report.write_size}}},
               {"components", components}};
  if (report.device_class) json["device_class"] = toolkit::device_class_text(*report.device_class);
  if (report.details_digest) json["details_sha256"] = hex(*report.details_digest);
  if (report.contract.time_ms) json["contract"]["time_ms"] = *report.contract.time_ms;
  if (report.contract.energy_mj) json["contract"]["energy_mj"] = *report.contract.energy_mj;
  json["contract"]["links"] = links_json(report.contract.links);
  if (report.contract.in_place) {
    json["contract"]["in_place"] = in_place_json(*report.contract.in_place);
  }
  json["undo"] = report.undo;
  return json;
}

std::vector<toolkit::Path> page_inputs(const Options& options) {
  std::vector<toolkit::Path> inputs{options.bundle, options.details};
  inputs.insert(inputs.end(), options.old_files.begin(), options.old_files.end());
  inputs.insert(inputs.end(), options.public_keys.begin(), options.public_keys.end());
  return inputs;
}

// The view of `diff`, from a bundle and its details.
Result<void> write_page(const Options& options, const toolkit::ReportFile& file,
                        const toolkit::InspectReport& report) {
  Json comparisons = Json::array();
  for (const auto& component : report.components) comparisons.push_back(component_json(component));
  const std::string title = toolkit::Path(options.bundle).filename().string();
  return toolkit::write_report(file, page_text(title, comparisons));
}

Result<int> run(const Options& options, Terminal& terminal) {
  const toolkit::ReportFile page{options.html, existing_of(options.command), page_inputs(options)};
  if (!options.html.empty()) {
    if (options.details.empty()) {
      return fail(TENSORPATCH_E_USAGE, "--html needs --details",
                  "`tensorpatch pack --details FILE` writes what the page shows");
    }
    if (auto checked = toolkit::check_report(page); !checked) {
      return tl::unexpected(checked.error());
    }
  }
  toolkit::InspectOptions inspect;
  inspect.bundle = options.bundle;
  inspect.details = options.details;
  auto keys = read_public_keys(options.public_keys);
  if (!keys) return tl::unexpected(keys.error());
  inspect.public_keys = std::move(*keys);
  auto old_given = old_files(options.old_files, options.old_regions);
  if (!old_given) return tl::unexpected(old_given.error());
  inspect.old_files = std::move(*old_given);
  auto report = toolkit::inspect(inspect);
  if (!report) return tl::unexpected(report.error());
  if (!options.html.empty()) {
    if (auto written = write_page(options, page, *report); !written) {
      return tl::unexpected(written.error());
    }
  }
  terminal.result(text_of(options, *report), json_of(*report));
  for (const toolkit::SignatureFacts& signature : report->signatures) {
    if (signature.check != Check::kWrong) continue;
    terminal.note("tensorpatch: error: a signature by a given key is wrong");
    terminal.note("hint: the bundle was changed after it was signed; do not use it");
    return exit_code(TENSORPATCH_E_SIGNATURE);
  }
  return 0;
}

}  // namespace

void add_inspect(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      add_command(app, {"inspect",
                        "Show what a bundle says: statement, signatures, contract, components",
                        {"tensorpatch inspect update.tpb",
                         "tensorpatch inspect update.tpb --old old.tflite --pubkey release.key.pub",
                         "tensorpatch inspect update.tpb --details update.details"}});
  options->command = command;
  command->add_option("bundle", options->bundle, "The bundle")->type_name("BUNDLE")->required();
  command
      ->add_option("--details", options->details,
                   "The file that pack --details wrote: also show every tensor")
      ->type_name("FILE");
  command
      ->add_option("--html", options->html,
                   "Also write a page with plots of the details, which needs no other file")
      ->type_name("FILE");
  add_force(command);
  add_repeated(command, "--old", options->old_files,
               "The old file, once a component in the bundle's order (- for a whole file): also "
               "list the operations of a bundle that a given key has signed")
      ->type_name("FILE");
  add_old_region_options(command, options->old_regions);
  add_repeated(command, "--pubkey", options->public_keys,
               "Check signatures by this public key; repeatable")
      ->type_name("FILE");
  on_call(command, action, options, run);
}

}  // namespace tensorpatch::cli
