// tests/support/patch_maker.h: patch streams of files in memory, made and replayed in one call.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "bundle/profile.h"
#include "delta/delta.h"
#include "model/model.h"
#include "support/patch_replay.h"

namespace tensorpatch::test {

struct FilePair {
  std::vector<uint8_t> old_file;
  std::vector<uint8_t> new_file;
};

struct MemorySink : base::Sink {
  Result<void> write(base::Bytes bytes) override {
    data.insert(data.end(), bytes.begin(), bytes.end());
    return {};
  }
  std::vector<uint8_t> data;
};

inline constexpr uint32_t kPlainCodecs =
    1u << format::kCodecOperations | format::kAllOfValues | format::kAllOfBytes;

// Files of components with their parsed models; keeps them alive for make_patch.
class PatchMaker {
 public:
  explicit PatchMaker(std::vector<FilePair> files) : files_(std::move(files)) {
    models_.reserve(2 * files_.size());
    for (const FilePair& pair : files_) {
      models_.push_back(model::parse(pair.old_file));
      models_.push_back(model::parse(pair.new_file));
    }
    for (size_t i = 0; i < files_.size(); ++i) {
      inputs_.push_back(
          {files_[i].old_file, files_[i].new_file, &models_[2 * i], &models_[2 * i + 1]});
    }
  }
  PatchMaker(const PatchMaker&) = delete;
  PatchMaker& operator=(const PatchMaker&) = delete;

  const std::vector<delta::ComponentInput>& inputs() const { return inputs_; }
  const FilePair& files(size_t component) const { return files_[component]; }
  const model::Model& old_model(size_t component) const { return models_[2 * component]; }
  const model::Model& new_model(size_t component) const { return models_[2 * component + 1]; }

  std::vector<uint8_t> patch(size_t component, const delta::PatchOptions& options) const {
    MemorySink sink;
    const auto report = delta::make_patch(inputs_, component, options, sink);
    if (!report) {
      ADD_FAILURE() << report.error().message;
      return {};
    }
    EXPECT_EQ(report->patch_size, sink.data.size());
    return std::move(sink.data);
  }

  Replay replay_of(size_t component, const PatchLimits& limits) const {
    Replay job;
    for (const FilePair& pair : files_) job.old_files.push_back(pair.old_file);
    job.component = static_cast<uint32_t>(component);
    job.new_size = files_[component].new_file.size();
    job.limits = limits;
    return job;
  }

  // Makes a patch and expects that the decoder makes new of it; the patch.
  std::vector<uint8_t> round_trip(size_t component, const delta::PatchOptions& options) const {
    std::vector<uint8_t> stream = patch(component, options);
    const Replayed got = replay(replay_of(component, options.limits), stream);
    EXPECT_EQ(got.event, PatchEvent::kDone) << tensorpatch_status_text(got.status);
    EXPECT_EQ(got.misuse, "");
    EXPECT_TRUE(got.new_file == files_[component].new_file) << "the new file differs";
    return stream;
  }

 private:
  std::vector<FilePair> files_;
  std::vector<model::Model> models_;
  std::vector<delta::ComponentInput> inputs_;
};

// What `pack` would use for a new file of this size.
inline delta::PatchOptions options_for(std::string_view profile_name, uint64_t new_size) {
  const auto profile = bundle::find_profile(profile_name);
  EXPECT_TRUE(profile.has_value()) << profile_name;
  const auto limits = bundle::fit_limits(*profile, new_size);
  EXPECT_TRUE(limits.has_value()) << profile_name;
  delta::PatchOptions options;
  options.limits = *limits;
  options.codecs = profile->codecs;
  options.jobs = 1;
  return options;
}

}  // namespace tensorpatch::test
