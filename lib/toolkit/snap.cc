// toolkit/snap.cc: snaps a model file, in search of the coarsest grid that its user's evaluation
// lets pass.
//
// Quality need not fall steadily with the grid, so a grid is accepted only when the next finer one
// passes too. Candidates live in a folder beside the output and go with it.
// SPDX-License-Identifier: Apache-2.0
#include "snap/snap.h"

#include <cstdlib>
#include <map>

#include "bundle/digest.h"
#include "model/model.h"
#include "toolkit/comparison.h"
#include "toolkit/evaluation.h"
#include "toolkit/paths.h"
#include "toolkit/profile_choice.h"

namespace tensorpatch::toolkit {
namespace {

// The grids of a search, finest first. The first one only confirms the second.
constexpr double kLadder[] = {0.125, 0.25, 0.5, 1, 1.5, 2, 3};
constexpr int kRungs = std::size(kLadder);

// A folder that goes, with all in it.
class ScratchFolder {
 public:
  static Result<std::unique_ptr<ScratchFolder>> create_beside(const Path& file) {
    std::string name = (file.parent_path() / ".tensorpatch-snap-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr)
      return system_error("cannot make a folder beside " + quoted(file));
    return std::unique_ptr<ScratchFolder>(new ScratchFolder(name));
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  ~ScratchFolder() {
    std::error_code unused;
    std::filesystem::remove_all(path_, unused);
  }
  const Path& path() const { return path_; }

 private:
  explicit ScratchFolder(Path path) : path_(std::move(path)) {}
  Path path_;
};

// Counts what a patch would have.
class NoSink : public base::Sink {
 public:
  Result<void> write(base::Bytes) override { return {}; }
};

// Hashes what it passes on.
class DigestSink : public base::Sink {
 public:
  explicit DigestSink(base::Sink& sink) : sink_(sink) {}
  Result<void> write(base::Bytes data) override {
    digest_.update(data);
    return sink_.write(data);
  }
  Digest finish() { return digest_.finish(); }

 private:
  base::Sink& sink_;
  bundle::Sha256 digest_;
};

class Run {
 public:
  explicit Run(const SnapOptions& options) : options_(options) {}

  Result<SnapReport> run() {
    if (auto opened = open(); !opened) return tl::unexpected(opened.error());
    auto found = options_.evaluation
                     ? search()
                     : Result<std::optional<double>>(options_.grid.value_or(snap::kDefaultGrid));
    if (!found) return tl::unexpected(found.error());
    report_.grid = *found;
    if (options_.sizes == SnapOptions::Sizes::kMeasured) {
      if (auto measured = measure_all(); !measured) return tl::unexpected(measured.error());
    }
    if (report_.grid) {
      if (auto written = write_output(*report_.grid); !written) {
        return tl::unexpected(written.error());
      }
    }
    for (auto& [grid, candidate] : candidates_) {
      report_.candidates.push_back({grid, candidate.digest, candidate.patch_size, candidate.score});
    }
    return std::move(report_);
  }

 private:
  struct Candidate {
    Digest digest{};
    std::optional<uint64_t> patch_size;
    std::optional<Score> score;
  };

  Result<void> open() {
    const Paths paths{{options_.old_file, options_.new_file}, {options_.output}};
    if (auto distinct = check_distinct(paths); !distinct) return distinct;
    if (auto is_free = check_free(options_.output, options_.existing); !is_free) return is_free;
    auto old_file = base::MappedFile::open(options_.old_file);
    if (!old_file) return tl::unexpected(old_file.error());
    auto new_file = base::MappedFile::open(options_.new_file);
    if (!new_file) return tl::unexpected(new_file.error());
    old_file_ = std::move(*old_file);
    new_file_ = std::move(*new_file);
    old_model_ = model::parse(old_file_.bytes());
    new_model_ = model::parse(new_file_.bytes());
    report_.format = model::format_name(new_model_.format);
    if (!old_model_.warning.empty()) report_.warning = "old: " + old_model_.warning;
    report_.new_size = new_file_.bytes().size();
    if (takes_digests()) {
      report_.old_digest = bundle::sha256(old_file_.bytes());
      report_.new_digest = bundle::sha256(new_file_.bytes());
    }
    auto snapper = snap::Snapper::study(
        {old_file_.bytes(), new_file_.bytes(), &old_model_, &new_model_}, options_.jobs);
    if (!snapper) return tl::unexpected(snapper.error());
    snapper_.emplace(std::move(*snapper));
    if (!options_.evaluation && options_.sizes == SnapOptions::Sizes::kNotMeasured) return {};
    auto folder = ScratchFolder::create_beside(options_.output);
    if (!folder) return tl::unexpected(folder.error());
    folder_ = std::move(*folder);
    return {};
  }

  Result<snap::Report> write(double grid, base::Sink& out) {
    snap::Options options;
    options.grid = grid;
    options.jobs = options_.jobs;
    if (options_.progress) {
      options.progress = [&](uint64_t done, uint64_t total) {
        return options_.progress({"snapping", done, total});
      };
    }
    return snapper_->write(options, out);
  }

  // A candidate's file has the new one's suffix, by which programs know what it is.
  Path candidate_path(double grid) const {
    return folder_->path() /
           ("grid-" + std::to_string(grid) + options_.new_file.extension().string());
  }

  Result<void> make_candidate(double grid) {
    auto file = base::OutputFile::create(candidate_path(grid), {.replace = true});
    if (!file) return tl::unexpected(file.error());
    DigestSink sink(**file);
    auto snapped = write(grid, sink);
    if (!snapped) return tl::unexpected(snapped.error());
    candidates_[grid].digest = sink.finish();
    return (*file)->commit();
  }

  // Judges grids that are not judged yet, as far as the number of evaluations allows.
  Result<void> judge(const std::vector<double>& grids) {
    std::vector<double> wanted;
    std::vector<JudgedModel> models;
    for (const double grid : grids) {
      if (const auto known = candidates_.find(grid);
          known != candidates_.end() && known->second.score) {
        continue;
      }
      if (report_.evaluations + wanted.size() >= options_.evaluation->max_evaluations) break;
      if (auto made = make_candidate(grid); !made) return made;
      wanted.push_back(grid);
      models.push_back({candidate_path(grid), candidates_[grid].digest});
    }
    auto judgements = judge_models(models);
    if (!judgements) return tl::unexpected(judgements.error());
    for (size_t i = 0; i < wanted.size(); ++i) {
      candidates_[wanted[i]].score = judge_->score((*judgements)[i], mark_);
    }
    return {};
  }

  Result<std::vector<Judgement>> judge_models(const std::vector<JudgedModel>& models) {
    auto judgements = judge_->judge(models);
    if (!judgements) return judgements;
    report_.evaluations += static_cast<unsigned>(models.size());
    for (const Judgement& judgement : *judgements) report_.cached += judgement.cached() ? 1U : 0U;
    return judgements;
  }

  // Whether a grid passes; none when no evaluation is left to tell.
  Result<std::optional<bool>> passes(double grid) {
    if (auto judged = judge({grid}); !judged) return tl::unexpected(judged.error());
    const auto known = candidates_.find(grid);
    if (known == candidates_.end() || !known->second.score) return std::nullopt;
    return known->second.score->failure.empty();
  }

  Result<std::optional<double>> search() {
    auto judge = Judge::make(*options_.evaluation, folder_->path(), options_.progress);
    if (!judge) return tl::unexpected(judge.error());
    judge_.emplace(std::move(*judge));
    auto ends = judge_models(
        {{options_.new_file, report_.new_digest}, {options_.old_file, report_.old_digest}});
    if (!ends) return tl::unexpected(ends.error());
    mark_ = (*ends)[0];
    report_.new_score = judge_->score(mark_, mark_);
    report_.old_score = judge_->score((*ends)[1], mark_);
    if (!report_.new_score->failure.empty()) {
      return fail(TENSORPATCH_E_USAGE,
                  "the new model does not pass its own " + report_.new_score->failure);
    }
    report_.old_will_do = report_.old_score->failure.empty();
    return options_.grid ? confirm({*options_.grid / 2, *options_.grid}) : climb();
  }

  // The last of some grids, if both it and the finer one in front of it pass.
  Result<std::optional<double>> confirm(const std::vector<double>& grids) {
    if (auto judged = judge(grids); !judged) return tl::unexpected(judged.error());
    for (const double grid : grids) {
      auto passed = passes(grid);
      if (!passed) return tl::unexpected(passed.error());
      if (!passed->value_or(false)) return std::nullopt;
    }
    return grids.back();
  }

  // Rungs that bisection would look at first, as many as are judged at a time.
  std::vector<double> next_rungs(int low, int high) const {
    std::vector<std::pair<int, int>> spans{{low, high}};
    std::vector<double> rungs;
    for (size_t i = 0; i < spans.size() && rungs.size() < options_.evaluation->parallel; ++i) {
      const auto [from, to] = spans[i];
      if (to - from < 2) continue;
      const int middle = (from + to) / 2;
      rungs.push_back(kLadder[middle]);
      spans.emplace_back(middle, to);
      spans.emplace_back(from, middle);
    }
    return rungs;
  }

  // Bisection for a rung that passes below one that does not; then down until two neighbours pass.
  Result<std::optional<double>> climb() {
    int low = 0, high = kRungs;
    while (high - low > 1) {
      if (auto judged = judge(next_rungs(low, high)); !judged) {
        return tl::unexpected(judged.error());
      }
      const int middle = (low + high) / 2;
      auto passed = passes(kLadder[middle]);
      if (!passed) return tl::unexpected(passed.error());
      (passed->value_or(false) ? low : high) = middle;
    }
    for (int rung = low; rung > 0; --rung) {
      auto found = confirm({kLadder[rung - 1], kLadder[rung]});
      if (!found || *found) return found;
    }
    return std::nullopt;
  }

  Result<delta::PatchReport> measure(base::Bytes bytes) {
    auto profile = choose_profile({options_.profile, std::nullopt, bytes.size()});
    if (!profile) return tl::unexpected(profile.error());
    const model::Model model = model::parse(bytes);
    delta::PatchOptions options;
    options.limits = profile->limits;
    options.codecs = profile->codecs;
    options.jobs = options_.jobs;
    NoSink sink;
    return delta::make_patch({{old_file_.bytes(), bytes, &old_model_, &model}}, 0, options, sink);
  }

  Result<void> measure_candidate(double grid) {
    const Path path = candidate_path(grid);
    if (!std::filesystem::exists(path)) {
      if (auto made = make_candidate(grid); !made) return made;
    }
    auto file = base::MappedFile::open(path);
    if (!file) return tl::unexpected(file.error());
    auto patch = measure(file->bytes());
    if (!patch) return tl::unexpected(patch.error());
    candidates_[grid].patch_size = patch->patch_size;
    if (grid == report_.grid) {
      report_.snapped_patch_size = patch->patch_size;
      for (const auto& segment : patch->segments) after_.push_back(segment.patch_bytes);
    }
    return {};
  }

  // The size for every rung and for the grid that was chosen; of its tensors too.
  Result<void> measure_all() {
    auto patch = measure(new_file_.bytes());
    if (!patch) return tl::unexpected(patch.error());
    report_.new_patch_size = patch->patch_size;
    for (const auto& segment : patch->segments) before_.push_back(segment.patch_bytes);
    for (const double grid : kLadder) candidates_[grid];
    if (report_.grid) candidates_[*report_.grid];
    uint64_t done = 0;
    for (const auto& [grid, unused] : candidates_) {
      if (options_.progress && !options_.progress({"measuring", done++, candidates_.size()})) {
        return fail(TENSORPATCH_E_CANCELLED, "stopped before the end");
      }
      if (auto measured = measure_candidate(grid); !measured) return measured;
    }
    return {};
  }

  bool takes_digests() const {
    return options_.evaluation || options_.digests == SnapOptions::Digests::kTaken;
  }

  Result<void> write_output(double grid) {
    auto file = base::OutputFile::create(options_.output,
                                         {.replace = options_.existing == Existing::kReplace});
    if (!file) return tl::unexpected(file.error());
    DigestSink sink(**file);
    auto snapped = write(grid, takes_digests() ? static_cast<base::Sink&>(sink) : **file);
    if (!snapped) return tl::unexpected(snapped.error());
    if (takes_digests()) report_.snapped_digest = sink.finish();
    if (const auto known = candidates_.find(grid); known != candidates_.end()) {
      report_.snapped_score = known->second.score;
    }
    for (const snap::TensorReport& tensor : snapped->tensors) add_tensor(tensor);
    return (*file)->commit();
  }

  void add_tensor(const snap::TensorReport& tensor) {
    const model::Segment& segment = new_model_.segments[tensor.segment];
    SnapTensor& facts = report_.tensors.emplace_back();
    facts.name = segment.name;
    facts.role = role_name(segment.role);
    facts.type = model::element_type_name(segment.type);
    facts.shape = segment.shape;
    facts.size = segment.size;
    facts.fate = snap::fate_name(tensor.fate);
    facts.step = tensor.step;
    facts.update = tensor.update;
    facts.error = tensor.error;
    if (tensor.count != 0) {
      facts.share_moved = static_cast<double>(tensor.moved) / static_cast<double>(tensor.count);
    }
    if (!before_.empty()) facts.patch_before = before_[tensor.segment];
    if (!after_.empty()) facts.patch_after = after_[tensor.segment];
  }

  const SnapOptions& options_;
  SnapReport report_;
  base::MappedFile old_file_, new_file_;
  model::Model old_model_, new_model_;
  std::optional<snap::Snapper> snapper_;
  std::unique_ptr<ScratchFolder> folder_;
  std::optional<Judge> judge_;
  Judgement mark_;  // of the new model
  std::map<double, Candidate> candidates_;
  std::vector<uint64_t> before_, after_;  // patch bytes by segment
};

}  // namespace

Result<SnapReport> snap(const SnapOptions& options) {
  return Run(options).run();
}

}  // namespace tensorpatch::toolkit
