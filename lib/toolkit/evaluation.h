// toolkit/evaluation.h: models judged by the user's own programs, each model once.
//
// Results may be kept in a folder, one file for each program and model (by digest), so that the
// next run need not repeat them; nothing else is kept there.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <mutex>
#include <regex>
#include <string>
#include <vector>

#include "tensorpatch/toolkit.h"

namespace tensorpatch::toolkit {

// A file to judge.
struct JudgedModel {
  Path file;
  Digest digest{};
};

// What one program said of one model.
struct Verdict {
  std::string failure;
  std::optional<double> metric;
  std::string predictions;
  bool cached = false;
};

// What both said.
struct Judgement {
  Verdict evaluation;
  std::optional<Verdict> regression;
  bool cached() const { return evaluation.cached && (!regression || regression->cached); }
};

class Judge {
 public:
  // E_USAGE for commands or options that cannot be. `scratch` is a folder for predictions.
  static Result<Judge> make(const Evaluation& evaluation, const Path& scratch,
                            const ProgressCallback& progress);

  // Judges models, as many at a time as the options say; results in order. E_CANCELLED when
  // progress says stop.
  Result<std::vector<Judgement>> judge(const std::vector<JudgedModel>& models) const;

  // A judgement in the light of the new model's, which sets the mark.
  Score score(const Judgement& model, const Judgement& mark) const;

 private:
  struct Program {
    std::string command;
    std::vector<std::string> words;
  };
  Judge() = default;
  Result<Judgement> judge(const JudgedModel& model, const std::function<bool()>& go_on) const;
  Result<Verdict> ask(const Program& program, const JudgedModel& model,
                      const std::function<bool()>& go_on) const;
  Verdict read_output(const std::string& output) const;
  Path cache_path(const Program& program, const Digest& model) const;
  std::optional<Verdict> cached(const Path& path) const;
  void keep(const Path& path, const Program& program, const Verdict& verdict) const;
  bool is_within(std::optional<double> metric, std::optional<double> mark) const;

  Evaluation evaluation_;
  Program program_;
  std::optional<Program> regression_;
  std::optional<std::regex> metric_;
  Path scratch_;
  ProgressCallback progress_;
};

// Share of lines that are not the same; none when one of the texts is empty.
std::optional<double> share_different(std::string_view text, std::string_view other);

}  // namespace tensorpatch::toolkit
