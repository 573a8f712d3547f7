// cmd_snap.cc: `tensorpatch snap`: a new model whose update from the old one is small.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <cstdio>

#include "command.h"
#include "comparison_text.h"
#include "page.h"

namespace tensorpatch::cli {
namespace {

constexpr char kOnlyThis[] =
    "every device must get this file, new installations too; training goes on from the new model "
    "as it was, and the next update starts from this file";
constexpr size_t kShownTensors = 12;

struct Options {
  CLI::App* command = nullptr;
  std::string old_file;
  std::string new_file;
  std::string output;
  double grid = 0;
  std::vector<std::string> reports;
  toolkit::Evaluation evaluation;
  uint64_t timeout = 3600;
  std::string cache;
  std::string profile = "linux";
  unsigned jobs = 0;
};

std::string number_text(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.6g", value);
  return text;
}

std::string metric_text(const std::optional<toolkit::Score>& score) {
  if (!score) return "-";
  if (score->metric) return number_text(*score->metric);
  return score->failure.empty() ? "passed" : "failed";
}

std::string score_line(const char* name, const std::optional<toolkit::Score>& score) {
  if (!score) return {};
  std::string line = std::string(name) + metric_text(score);
  if (score->regression) line += ", regression " + number_text(*score->regression);
  if (score->churn) {
    line += ", " + number_text(100 * *score->churn) + " % of the predictions changed";
  }
  return line + "\n";
}

// Rows of cells, the first row a heading; the first and the last column begin at the left.
std::string table_text(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths(rows[0].size(), 0);
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const auto& row : rows) {
    std::string line = " ";
    for (size_t i = 0; i < row.size(); ++i) {
      const std::string fill(widths[i] - row[i].size(), ' ');
      line += " " + (i == 0 || i + 1 == row.size() ? row[i] + fill : fill + row[i]);
    }
    text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  }
  return text;
}

// Grids with what they cost and give.
std::string curve_text(const toolkit::SnapReport& report) {
  if (report.candidates.empty()) return {};
  std::vector<std::vector<std::string>> rows{
      {"GRID", "PATCH", "SMALLER", "METRIC", "REGRESSION", ""}};
  const auto add = [&](std::string name, std::optional<uint64_t> size,
                       const std::optional<toolkit::Score>& score, std::string remark) {
    std::vector<std::string> row{std::move(name),    "-", "-",
                                 metric_text(score), "-", std::move(remark)};
    if (size) {
      row[1] = bytes_text(*size);
      char times[32];
      std::snprintf(
          times, sizeof times, "%.1fx",
          static_cast<double>(report.new_size) / static_cast<double>(std::max<uint64_t>(*size, 1)));
      row[2] = times;
    }
    if (score && score->regression) row[4] = number_text(*score->regression);
    rows.push_back(std::move(row));
  };
  add("none", report.new_patch_size, report.new_score, "the new model as it is");
  for (const toolkit::SnapCandidate& candidate : report.candidates) {
    std::string remark = candidate.grid == report.grid ? "chosen" : "";
    if (candidate.score && !candidate.score->failure.empty()) remark = candidate.score->failure;
    add(number_text(candidate.grid), candidate.patch_size, candidate.score, remark);
  }
  return "\n" + table_text(rows);
}

std::string tensors_text(const toolkit::SnapReport& report) {
  std::vector<const toolkit::SnapTensor*> order;
  for (const auto& tensor : report.tensors) {
    if (tensor.patch_before && *tensor.patch_before != 0) order.push_back(&tensor);
  }
  std::ranges::stable_sort(order, std::ranges::greater(),
                           [](const auto* tensor) { return *tensor->patch_before; });
  if (order.empty()) return {};
  std::vector<std::vector<std::string>> rows{
      {"TENSOR", "TYPE", "SIZE", "BEFORE", "AFTER", "MOVED", ""}};
  for (size_t i = 0; i < std::min(order.size(), kShownTensors); ++i) {
    const toolkit::SnapTensor& tensor = *order[i];
    rows.push_back(
        {shortened(tensor.name, 30), tensor.type, std::to_string(tensor.size),
         std::to_string(*tensor.patch_before), std::to_string(tensor.patch_after.value_or(0)),
         tensor.fate == "snapped" ? number_text(std::round(1000 * tensor.share_moved) / 10) + "%"
                                  : "-",
         tensor.fate == "snapped" ? "" : tensor.fate});
  }
  std::string text = "\n" + table_text(rows);
  if (order.size() > kShownTensors) {
    text += "and " + std::to_string(order.size() - kShownTensors) + " more (--json lists all)\n";
  }
  return text;
}

std::string report_text(const Options& options, const toolkit::SnapReport& report) {
  std::string text;
  if (report.grid) {
    size_t snapped = 0, kept = 0;
    for (const auto& tensor : report.tensors) {
      snapped += tensor.fate == "snapped" ? 1U : 0U;
      kept += tensor.fate != "snapped" && tensor.fate != "equal" ? 1U : 0U;
    }
    text = options.output + ": grid " + number_text(*report.grid) + ", " +
           plural_text(snapped, "tensor") + " snapped, " + std::to_string(kept) +
           " left as in new\n";
  } else {
    text = "no grid passed the evaluation: " + options.output + " was not written\n";
  }
  text += score_line("old model:     ", report.old_score);
  text += score_line("new model:     ", report.new_score);
  text += score_line("snapped model: ", report.snapped_score);
  return text + curve_text(report) + tensors_text(report);
}

// Whether the update to the snapped model is no smaller than to the new one, as far as is known.
bool is_needless(const toolkit::SnapReport& report) {
  if (!report.grid) return false;
  if (report.snapped_patch_size) return *report.snapped_patch_size >= *report.new_patch_size;
  return std::ranges::none_of(report.tensors,
                              [](const auto& tensor) { return tensor.fate == "snapped"; });
}

bool is_page(const std::string& path) {
  return path.ends_with(".html") || path.ends_with(".htm");
}

toolkit::ReportFile report_file(const Options& options, const std::string& path) {
  return {path, existing_of(options.command), {options.old_file, options.new_file, options.output}};
}

Result<toolkit::SnapOptions> snap_options(const Options& options, Terminal& terminal) {
  toolkit::SnapOptions snap;
  snap.old_file = options.old_file;
  snap.new_file = options.new_file;
  snap.output = options.output;
  snap.existing = existing_of(options.command);
  if (options.command->count("--grid") != 0) snap.grid = options.grid;
  snap.profile = options.profile;
  snap.jobs = options.jobs;
  snap.progress = terminal.progress();
  if (!options.reports.empty()) {
    snap.sizes = toolkit::SnapOptions::Sizes::kMeasured;
  } else if (!terminal.is_json()) {
    snap.digests = toolkit::SnapOptions::Digests::kNotTaken;  // the text does not tell them
  }
  if (options.command->count("--eval") != 0) {
    snap.evaluation = options.evaluation;
    snap.evaluation->timeout = std::chrono::seconds(options.timeout);
    snap.evaluation->cache = options.cache;
    if (options.command->count("--lower-is-better") != 0) {
      snap.evaluation->better = toolkit::Better::kLower;
    }
    return snap;
  }
  for (const char* option : {"--max-drop", "--metric-regex", "--regression", "--max-evals",
                             "--timeout", "--parallel", "--cache", "--lower-is-better"}) {
    if (options.command->count(option) == 0) continue;
    return fail(TENSORPATCH_E_USAGE, std::string(option) + " needs --eval");
  }
  return snap;
}

Result<int> run(const Options& options, Terminal& terminal) {
  auto snap = snap_options(options, terminal);
  if (!snap) return tl::unexpected(snap.error());
  for (const std::string& path : options.reports) {
    if (auto checked = toolkit::check_report(report_file(options, path)); !checked) {
      return tl::unexpected(checked.error());
    }
  }
  auto report = toolkit::snap(*snap);
  if (!report) return tl::unexpected(report.error());
  const std::string json_text = toolkit::snap_report_json(*report);
  const Json json = Json::parse(json_text);
  for (const std::string& path : options.reports) {
    const std::string title = toolkit::Path(options.old_file).filename().string() + " to " +
                              toolkit::Path(options.new_file).filename().string() + ", snapped";
    auto written = toolkit::write_report(report_file(options, path),
                                         is_page(path) ? snap_page_text(title, json) : json_text);
    if (!written) return tl::unexpected(written.error());
  }
  if (!report->warning.empty()) terminal.warning(report->warning);
  if (report->old_will_do) {
    terminal.warning("the old model passes the evaluation as well: nothing need be shipped");
  }
  if (snap->grid.value_or(0) > 0.5 && !snap->evaluation) {
    terminal.warning("a grid above 0.5 without --eval may cost accuracy that nobody looked for");
  }
  if (is_needless(*report)) {
    terminal.warning("the update does not get smaller: the new model may be shipped as it is");
  }
  if (report->grid) terminal.warning(kOnlyThis);
  terminal.result(report_text(options, *report), json);
  return report->grid ? 0 : 1;
}

void add_evaluation_options(CLI::App* command, Options& options) {
  toolkit::Evaluation& evaluation = options.evaluation;
  command
      ->add_option(
          "--eval", evaluation.command,
          "Program that judges a model, {model}: by its exit code, and by a number that it "
          "prints; no shell runs it")
      ->type_name("COMMAND");
  command
      ->add_option("--max-drop", evaluation.max_drop,
                   "How much worse than the new model's the number may be")
      ->type_name("X");
  command
      ->add_option("--metric-regex", evaluation.metric_regex,
                   "Where the number is in what is printed; else the last line")
      ->type_name("RE");
  add_switch(command, "--lower-is-better", "The number is a loss");
  command
      ->add_option("--regression", evaluation.regression,
                   "Program that judges what the old model could do, in the same way")
      ->type_name("COMMAND");
  command
      ->add_option("--max-evals", evaluation.max_evaluations,
                   "Models to judge at most, old and new among them")
      ->capture_default_str()
      ->type_name("N");
  command->add_option("--parallel", evaluation.parallel, "Models to judge at a time")
      ->capture_default_str()
      ->type_name("N");
  command->add_option("--timeout", options.timeout, "Seconds for a program")
      ->capture_default_str()
      ->type_name("N");
  command
      ->add_option("--cache", options.cache,
                   "Folder that keeps results, so that a run that was stopped goes on")
      ->type_name("FOLDER");
}

}  // namespace

void add_snap(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command = add_command(
      app, {"snap",
            "Move a new model onto a coarse grid around the old one, for smaller updates",
            {"tensorpatch snap old.safetensors new.safetensors -o release.safetensors",
             "tensorpatch snap old.onnx new.onnx -o release.onnx --report snap.html",
             "tensorpatch snap old.tflite new.tflite -o release.tflite "
             "--eval 'python3 evaluate.py {model}' --max-drop 0.002"}});
  options->command = command;
  command->add_option("old", options->old_file, "The old model, as devices have it")
      ->type_name("OLD")
      ->required();
  command->add_option("new", options->new_file, "The new model, as it was trained")
      ->type_name("NEW")
      ->required();
  command->add_option("-o,--output", options->output, "The new model to test, sign and ship")
      ->type_name("NEW2")
      ->required();
  command
      ->add_option("--grid", options->grid,
                   "Step in units of the update's size, 1/1024 to 3: 0.25, or sought with --eval")
      ->type_name("F");
  add_evaluation_options(command, *options);
  add_repeated(command, "--report", options->reports,
               "Also write a report with sizes for each grid: JSON for pack --snap-report, or a "
               "page (.html); repeatable")
      ->type_name("FILE");
  command->add_option("--profile", options->profile, "For which sizes are told, as for pack")
      ->capture_default_str()
      ->type_name(kProfileTypeName);
  command->add_option("--jobs", options->jobs, "Threads; 0: one a processor")->type_name("N");
  add_force(command);
  on_call(command, action, options, run);
}

}  // namespace tensorpatch::cli
