// simulation_text.cc: see simulation_text.h.
// SPDX-License-Identifier: Apache-2.0
#include "simulation_text.h"

#include <cmath>

namespace tensorpatch::cli {
namespace {

uint64_t rounded(double value) {
  return value > 0 ? static_cast<uint64_t>(std::llround(value)) : 0;
}

std::string step_text(const toolkit::SimulatedStep& step) {
  return duration_text(rounded(step.ms)) + ", " + energy_text(rounded(step.mj));
}

Json step_json(const toolkit::SimulatedStep& step) {
  return {{"ms", rounded(step.ms)}, {"mj", rounded(step.mj)}};
}

// The sum of what is shown.
toolkit::SimulatedStep total_of(const toolkit::SimulateReport& report) {
  toolkit::SimulatedStep total{};
  for (const auto& step : {report.cpu, report.flash, report.link.value_or(total)}) {
    total.ms += static_cast<double>(rounded(step.ms));
    total.mj += static_cast<double>(rounded(step.mj));
  }
  return total;
}

std::string text_of(const toolkit::SimulateOptions& options,
                    const toolkit::SimulateReport& report) {
  std::string clock = std::to_string(options.clock_mhz);
  clock.erase(clock.find_last_not_of('0') + 1);
  if (clock.ends_with('.')) clock.pop_back();
  std::string text = options.bundle.string() + " on " + options.profile + ", " + clock + " MHz: ";
  text += report.already_new ? "nothing to do, old already is new\n" : "applied, digest right\n";
  const auto million = [](uint64_t count) { return std::to_string((count + 500000) / 1000000); };
  text += row("RAM", bytes_text(report.workspace) + " of workspace, " + bytes_text(report.applier) +
                         " of state") +
          row("erases", bytes_text(report.erased)) + row("writes", bytes_text(report.written)) +
          row("checkpoints", plural_text(report.records, "record")) +
          row("reads of old", bytes_text(report.old_read)) +
          row("reads of new", bytes_text(report.new_read));
  if (report.in_place) text += row("in place", in_place_text(*report.in_place));
  text += "estimates\n" +
          row("instructions", million(report.decode_instructions) + " million to decode, " +
                                  million(report.check_instructions) + " to check") +
          row("processor", step_text(report.cpu)) + row("flash", step_text(report.flash));
  if (report.link) text += row(options.link, step_text(*report.link));
  return text + row("in all", step_text(total_of(report)));
}

Json json_of(const toolkit::SimulateOptions& options, const toolkit::SimulateReport& report) {
  Json json = {{"result", report.already_new ? "already new" : "simulated"},
               {"profile", options.profile},
               {"clock_mhz", options.clock_mhz},
               {"workspace", report.workspace},
               {"applier", report.applier},
               {"flash_erased", report.erased},
               {"flash_written", report.written},
               {"checkpoint_records", report.records},
               {"old_reads", report.old_read},
               {"new_reads", report.new_read},
               {"in_place", nullptr},
               {"decode_instructions", report.decode_instructions},
               {"check_instructions", report.check_instructions},
               {"processor", step_json(report.cpu)},
               {"flash", step_json(report.flash)},
               {"link", nullptr},
               {"total", step_json(total_of(report))},
               {"signed_by", hex_list(report.signed_by)}};
  if (report.in_place) json["in_place"] = in_place_json(*report.in_place);
  if (report.link) {
    json["link"] = step_json(*report.link);
    json["link"]["name"] = options.link;
  }
  return json;
}

}  // namespace

Result<int> run_simulation(const toolkit::SimulateOptions& options, Terminal& terminal) {
  auto report = toolkit::simulate(options);
  if (!report) return tl::unexpected(report.error());
  terminal.result(text_of(options, *report), json_of(options, *report));
  return 0;
}

}  // namespace tensorpatch::cli
