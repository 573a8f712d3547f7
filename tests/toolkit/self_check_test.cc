// self_check_test.cc: a bundle that does not make the new file is found out wherever it is wrong,
// by one thread as by several.
// SPDX-License-Identifier: Apache-2.0
#include "toolkit/self_check.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "bundle/digest.h"
#include "bundle/profile.h"

namespace tensorpatch::toolkit {
namespace {

using Bytes = std::vector<uint8_t>;

struct MemorySink : base::Sink {
  Result<void> write(base::Bytes bytes) override {
    data.insert(data.end(), bytes.begin(), bytes.end());
    return {};
  }
  Bytes data;
};

// Two components of many restart points, and the bundle.
class SelfCheck : public testing::Test {
 protected:
  SelfCheck() {
    std::mt19937 engine(1);
    const auto profile = bundle::find_profile("mcu-16k");
    const auto limits = bundle::fit_limits(*profile, kSize);
    bundle::Statement statement;
    statement.limits = *limits;
    statement.required_codecs = profile->codecs;
    bundle::Manifest manifest;
    for (size_t i = 0; i < 2; ++i) {
      old_[i].resize(kSize + i);
      std::ranges::generate(old_[i], [&] { return static_cast<uint8_t>(engine() >> 9); });
      new_[i] = old_[i];
      for (size_t at = i; at < kSize; at += 5000) new_[i][at] ^= 1;
      manifest.components.push_back({i == 0 ? "a" : "b"});
    }
    for (size_t i = 0; i < 2; ++i) models_.push_back(model::parse(old_[i]));
    for (size_t i = 0; i < 2; ++i) models_.push_back(model::parse(new_[i]));
    std::vector<delta::ComponentInput> inputs;
    for (size_t i = 0; i < 2; ++i) {
      inputs.push_back({old_[i], new_[i], &models_[i], &models_[i + 2]});
    }
    delta::PatchOptions options;
    options.limits = *limits;
    options.codecs = profile->codecs;
    options.level = delta::kLeastLevel;
    for (size_t i = 0; i < 2; ++i) {
      auto report = delta::make_patch(inputs, i, options, patches_[i]);
      bundle::Component component;
      component.old_size = old_[i].size();
      component.new_size = new_[i].size();
      component.old_digest = bundle::sha256(old_[i]);
      component.new_digest = bundle::sha256(new_[i]);
      statement.components.push_back(component);
      job_.files.push_back({old_[i], new_[i], report->restarts});
    }
    auto writer =
        bundle::BundleWriter::prepare(statement, manifest, {patches_[0].data, patches_[1].data});
    EXPECT_TRUE(writer.has_value());
    writer_.emplace(std::move(*writer));
    job_.writer = &*writer_;
  }

  static constexpr size_t kSize = 300000;
  Bytes old_[2], new_[2];
  std::vector<model::Model> models_;
  MemorySink patches_[2];
  std::optional<bundle::BundleWriter> writer_;
  CheckJob job_;
};

TEST_F(SelfCheck, PassesOnAnyNumberOfThreads) {
  ASSERT_GE(job_.files[1].restarts.size(), 4U);
  for (const unsigned jobs : {1U, 2U, 3U, 7U}) {
    job_.jobs = jobs;
    const auto checked = self_check(job_);
    EXPECT_TRUE(checked.has_value()) << jobs << ": " << checked.error().message;
  }
}

TEST_F(SelfCheck, FindsAWrongByteAnywhere) {
  for (const unsigned jobs : {1U, 4U}) {
    job_.jobs = jobs;
    for (const size_t component : {size_t{0}, size_t{1}}) {
      for (const size_t at : {size_t{0}, kSize / 2, kSize - 1}) {
        new_[component][at] ^= 1;
        const auto checked = self_check(job_);
        new_[component][at] ^= 1;
        ASSERT_FALSE(checked.has_value()) << jobs << ' ' << component << ' ' << at;
        EXPECT_EQ(checked.error().code, TENSORPATCH_E_SELF_CHECK);
      }
    }
  }
}

TEST_F(SelfCheck, FindsADamagedPatch) {
  job_.jobs = 4;
  for (MemorySink& patch : patches_) {
    patch.data[patch.data.size() / 2] ^= 1;
    const auto checked = self_check(job_);
    patch.data[patch.data.size() / 2] ^= 1;
    ASSERT_FALSE(checked.has_value());
    EXPECT_EQ(checked.error().code, TENSORPATCH_E_SELF_CHECK);
  }
}

TEST_F(SelfCheck, StopsWhenTold) {
  for (const unsigned jobs : {1U, 4U}) {
    job_.jobs = jobs;
    job_.progress = [](const Progress&) { return false; };
    const auto checked = self_check(job_);
    ASSERT_FALSE(checked.has_value());
    EXPECT_EQ(checked.error().code, TENSORPATCH_E_CANCELLED);
  }
}

}  // namespace
}  // namespace tensorpatch::toolkit
