// toolkit/evaluation.cc: runs the programs, finds their metric, keeps what they said.
// SPDX-License-Identifier: Apache-2.0
#include "toolkit/evaluation.h"

#include <atomic>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/parallel.h"
#include "base/program.h"
#include "bundle/digest.h"
#include "toolkit/paths.h"

namespace tensorpatch::toolkit {
namespace {

constexpr size_t kOutputLimit = size_t{16} << 20;
constexpr size_t kLongestLine = 4096;  // longer ones hold no metric
constexpr size_t kPredictionsLimit = size_t{256} << 20;
constexpr std::string_view kModel = "{model}";
constexpr std::string_view kPredictions = "{predictions}";

std::string replaced(std::string text, std::string_view what, const std::string& with) {
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at)) {
    text.replace(at, what.size(), with);
    at += with.size();
  }
  return text;
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlank = " \t\r";
  const size_t begin = text.find_first_not_of(kBlank);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlank) - begin + 1);
}

std::optional<double> number(std::string_view text) {
  text = trimmed(text);
  if (text.starts_with('+')) text.remove_prefix(1);
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || text.empty()) return {};
  return value;
}

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    lines.push_back(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return lines;
}

}  // namespace

std::optional<double> share_different(std::string_view text, std::string_view other) {
  if (text.empty() || other.empty()) return std::nullopt;
  const auto a = lines_of(text), b = lines_of(other);
  const size_t shared = std::min(a.size(), b.size()), all = std::max(a.size(), b.size());
  size_t different = all - shared;
  for (size_t i = 0; i < shared; ++i) different += trimmed(a[i]) != trimmed(b[i]) ? 1U : 0U;
  return static_cast<double>(different) / static_cast<double>(all);
}

Result<Judge> Judge::make(const Evaluation& evaluation, const Path& scratch,
                          const ProgressCallback& progress) {
  Judge judge;
  judge.evaluation_ = evaluation;
  judge.scratch_ = scratch;
  judge.progress_ = progress;
  const auto program = [](const std::string& command, std::string_view what) -> Result<Program> {
    auto words = base::split_command(command, what);
    if (!words) return tl::unexpected(words.error());
    const bool names_model = std::ranges::any_of(
        *words, [](const std::string& word) { return word.find(kModel) != std::string::npos; });
    if (names_model) return Program{command, *words};
    return fail(TENSORPATCH_E_USAGE, std::string(what) + " does not say {model}",
                "{model} is replaced by the file to judge");
  };
  auto command = program(evaluation.command, "the evaluation command");
  if (!command) return tl::unexpected(command.error());
  judge.program_ = *command;
  if (!evaluation.regression.empty()) {
    auto regression = program(evaluation.regression, "the regression command");
    if (!regression) return tl::unexpected(regression.error());
    judge.regression_ = *regression;
  }
  if (!(evaluation.max_drop >= 0)) {
    return fail(TENSORPATCH_E_USAGE, "the largest drop of the metric is negative");
  }
  if (evaluation.max_evaluations < 4) {
    return fail(TENSORPATCH_E_USAGE, "fewer than 4 evaluations decide nothing",
                "old, new, one grid and the next finer one");
  }
  try {
    if (!evaluation.metric_regex.empty()) judge.metric_.emplace(evaluation.metric_regex);
  } catch (const std::regex_error& error) {
    return fail(TENSORPATCH_E_USAGE,
                "the expression for the metric is wrong: " + std::string(error.what()));
  }
  if (!evaluation.cache.empty()) {
    std::error_code error;
    std::filesystem::create_directories(evaluation.cache, error);
    if (error) {
      return fail(TENSORPATCH_E_IO,
                  "cannot make the folder " + quoted(evaluation.cache) + ": " + error.message());
    }
  }
  return judge;
}

Verdict Judge::read_output(const std::string& output) const {
  Verdict verdict;
  const std::vector<std::string_view> lines = lines_of(output);
  for (auto it = lines.rbegin(); it != lines.rend(); ++it) {
    const std::string_view line = *it;
    if (trimmed(line).empty() || line.size() > kLongestLine) continue;
    if (!metric_) {
      verdict.metric = number(line);
      break;
    }
    std::cmatch last;
    std::cregex_iterator match(line.data(), line.data() + line.size(), *metric_), end;
    for (; match != end; ++match) last = *match;
    if (last.empty()) continue;
    verdict.metric = number(last.size() > 1 ? last[1].str() : last[0].str());
    break;
  }
  if (metric_ && !verdict.metric) verdict.failure = "printed no metric";
  if (verdict.metric && !std::isfinite(*verdict.metric)) {
    verdict.failure = "its metric is not finite";
    verdict.metric.reset();
  }
  return verdict;
}

Path Judge::cache_path(const Program& program, const Digest& model) const {
  const std::string text =
      program.command + '\n' + evaluation_.metric_regex + '\n' + bundle::to_hex(model);
  const auto* bytes = reinterpret_cast<const uint8_t*>(text.data());
  const Digest key = bundle::sha256({bytes, text.size()});
  return evaluation_.cache / (bundle::to_hex(key).substr(0, 32) + ".json");
}

std::optional<Verdict> Judge::cached(const Path& path) const {
  const auto text = base::read_small_file(path, kPredictionsLimit);
  if (!text) return std::nullopt;
  const auto json = nlohmann::json::parse(*text, nullptr, false);
  const auto is_text = [&](const char* key) { return json.contains(key) && json[key].is_string(); };
  if (!json.is_object() || !is_text("failure") || !is_text("predictions")) return std::nullopt;
  Verdict verdict;
  verdict.failure = json["failure"].get<std::string>();
  verdict.predictions = json["predictions"].get<std::string>();
  if (json.contains("metric") && json["metric"].is_number()) {
    verdict.metric = json["metric"].get<double>();
  }
  verdict.cached = true;
  return verdict;
}

// What cannot be kept is judged again the next time.
void Judge::keep(const Path& path, const Program& program, const Verdict& verdict) const {
  nlohmann::ordered_json json = {{"command", program.command},
                                 {"failure", verdict.failure},
                                 {"predictions", verdict.predictions}};
  if (verdict.metric) json["metric"] = *verdict.metric;
  const std::string text =
      json.dump(1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
  auto file = base::OutputFile::create(path, {.replace = true});
  if (!file) return;
  const auto* bytes = reinterpret_cast<const uint8_t*>(text.data());
  if ((*file)->write({bytes, text.size()})) (void)(*file)->commit();
}

Result<Verdict> Judge::ask(const Program& program, const JudgedModel& model,
                           const std::function<bool()>& go_on) const {
  const Path kept = evaluation_.cache.empty() ? Path() : cache_path(program, model.digest);
  if (!kept.empty()) {
    if (auto verdict = cached(kept)) return *verdict;
  }
  const bool is_regression = &program != &program_;
  const Path predictions = scratch_ / (bundle::to_hex(model.digest).substr(0, 32) +
                                       (is_regression ? ".regression" : ".predictions"));
  base::ProgramRun run;
  for (const std::string& word : program.words) {
    run.words.push_back(
        replaced(replaced(word, kModel, model.file.string()), kPredictions, predictions.string()));
  }
  run.patience = evaluation_.timeout;
  run.group = base::ProgramGroup::kOwn;
  run.output_limit = kOutputLimit;
  run.go_on = go_on;
  const auto end = base::run_program(run, TENSORPATCH_E_USAGE);
  if (!end && end.error().code == TENSORPATCH_E_CANCELLED) return tl::unexpected(end.error());
  if (!end) return Verdict{end.error().message, {}, {}, false};
  Verdict verdict = read_output(end->output);
  if (!end->failure.empty()) {
    verdict.failure = end->failure + base::as_one_line(end->error_tail);
  }
  if (auto text = base::read_small_file(predictions, kPredictionsLimit)) {
    verdict.predictions = std::move(*text);
  }
  if (!kept.empty()) keep(kept, program, verdict);
  return verdict;
}

Result<Judgement> Judge::judge(const JudgedModel& model, const std::function<bool()>& go_on) const {
  auto evaluation = ask(program_, model, go_on);
  if (!evaluation) return tl::unexpected(evaluation.error());
  Judgement judgement{std::move(*evaluation), std::nullopt};
  if (!regression_) return judgement;
  auto regression = ask(*regression_, model, go_on);
  if (!regression) return tl::unexpected(regression.error());
  judgement.regression = std::move(*regression);
  return judgement;
}

Result<std::vector<Judgement>> Judge::judge(const std::vector<JudgedModel>& models) const {
  std::mutex mutex;  // progress is called by one thread at a time
  uint64_t done = 0;
  std::atomic<bool> stopped = false;
  const auto go_on = [&] {
    const std::lock_guard lock(mutex);
    if (!stopped && progress_ && !progress_({"evaluating", done, models.size()})) stopped = true;
    return !stopped;
  };
  std::vector<Result<Judgement>> results(models.size());
  base::parallel_for(models.size(), std::max(1u, evaluation_.parallel), [&](size_t i) {
    results[i] = judge(models[i], go_on);
    const std::lock_guard lock(mutex);
    ++done;
  });
  std::vector<Judgement> judgements;
  for (auto& result : results) {
    if (!result) return tl::unexpected(result.error());
    judgements.push_back(std::move(*result));
  }
  return judgements;
}

bool Judge::is_within(std::optional<double> metric, std::optional<double> mark) const {
  if (!metric || !mark) return metric.has_value() == mark.has_value();
  const double drop = evaluation_.better == Better::kHigher ? *mark - *metric : *metric - *mark;
  return drop <= evaluation_.max_drop + 1e-9 * std::max(1.0, std::abs(*mark));  // 0.9 - 0.89
}

Score Judge::score(const Judgement& model, const Judgement& mark) const {
  Score score;
  const auto look = [&](const Verdict& verdict, const Verdict& of_new, const char* what) {
    if (!score.failure.empty()) return;
    if (!verdict.failure.empty()) {
      score.failure = std::string(what) + ": " + verdict.failure;
    } else if (!is_within(verdict.metric, of_new.metric)) {
      score.failure = std::string(what) + ": the metric is too far from the new model's";
    }
  };
  score.metric = model.evaluation.metric;
  look(model.evaluation, mark.evaluation, "evaluation");
  score.churn = share_different(model.evaluation.predictions, mark.evaluation.predictions);
  if (model.regression && mark.regression) {
    score.regression = model.regression->metric;
    look(*model.regression, *mark.regression, "regression");
  }
  return score;
}

}  // namespace tensorpatch::toolkit
