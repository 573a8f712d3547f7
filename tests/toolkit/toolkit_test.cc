// toolkit_test.cc: the host API as a program uses it: what callbacks, streams and cancelling do.
//
// What options do is tested through the command line (tests/cli).
// SPDX-License-Identifier: Apache-2.0
#include "tensorpatch/toolkit.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "support/temp_folder.h"

namespace tensorpatch::toolkit {
namespace {

std::string random_text(size_t size, uint32_t seed) {
  std::mt19937 engine(seed);
  std::string text(size, '\0');
  for (char& letter : text) letter = static_cast<char>(engine());
  return text;
}

// A pair of files, a key and a bundle of many restart points.
class Toolkit : public testing::Test {
 protected:
  void SetUp() override {
    test::write_file(folder_ / "old", random_text(50000, 1));
    test::write_file(folder_ / "new", random_text(kNewSize, 2));
    if (bundle_.empty()) make_bundle();
    test::write_file(folder_ / "k", private_key_);
    test::write_file(folder_ / "k.pub", public_key_);
    test::write_file(folder_ / "u.tpb", bundle_);
  }

  // Once for all tests: the same inputs give the same bundle.
  void make_bundle() {
    const auto key = generate_key_files(folder_ / "k", Existing::kKeep);
    ASSERT_TRUE(key) << key.error().message;
    private_key_ = test::read_file(folder_ / "k");
    public_key_ = test::read_file(folder_ / "k.pub");
    const auto report = pack(pack_options());
    ASSERT_TRUE(report) << report.error().message;
    bundle_ = test::read_file(folder_ / "u.tpb");
    EXPECT_EQ(report->bundle_size, bundle_.size());
    EXPECT_EQ(report->signed_by.size(), 1u);
  }

  PackOptions pack_options() {
    PackOptions options;
    options.components = {{"model", folder_ / "old", folder_ / "new"}};
    options.output = folder_ / "u.tpb";
    options.profile = "mcu-64k";
    options.signer.emplace().private_key = test::read_file(folder_ / "k");
    return options;
  }

  ApplyOptions apply_options() {
    ApplyOptions options;
    options.bundle = folder_ / "u.tpb";
    options.components = {{"", folder_ / "old", folder_ / "made"}};
    options.device.public_keys = {test::read_file(folder_ / "k.pub")};
    return options;
  }

  // The bundle's bytes [begin, end) as a stream, `bite` at a time.
  static InputCallback stream(uint64_t begin, uint64_t end, size_t bite) {
    return [begin, end, bite](std::span<uint8_t> data) mutable -> Result<size_t> {
      const size_t count = std::min<uint64_t>({bite, data.size(), end - begin});
      std::copy_n(bundle_.begin() + static_cast<std::ptrdiff_t>(begin), count, data.begin());
      begin += count;
      return count;
    };
  }

  test::TempFolder folder_;
  static constexpr size_t kNewSize = 300000;
  static inline std::string bundle_;
  static inline std::string private_key_;
  static inline std::string public_key_;
};

TEST_F(Toolkit, AppliesAStreamOfAnyBites) {
  for (const size_t bite : {size_t{1}, size_t{333}, size_t{1} << 20}) {
    ApplyOptions options = apply_options();
    options.input = stream(0, bundle_.size(), bite);
    options.existing = Existing::kReplace;
    const auto report = apply(options);
    ASSERT_TRUE(report) << report.error().message;
    EXPECT_EQ(report->outcome, Outcome::kDone);
    EXPECT_EQ(report->new_size, kNewSize);
    EXPECT_EQ(test::read_file(folder_ / "made"), test::read_file(folder_ / "new"));
  }
}

TEST_F(Toolkit, GoesOnAfterEveryKindOfCut) {
  const size_t files = folder_.count();
  for (uint64_t cut = 0; cut < bundle_.size(); cut += 30011) {
    ApplyOptions options = apply_options();
    options.resume = folder_ / "state";
    options.input = stream(0, cut, 5000);
    const auto first = apply(options);
    ASSERT_TRUE(first) << first.error().message;
    ASSERT_EQ(first->outcome, Outcome::kInterrupted);
    ASSERT_LE(first->next_offset, cut);
    EXPECT_FALSE(std::filesystem::exists(folder_ / "made"));
    options.input = stream(first->next_offset, bundle_.size(), 5000);
    const auto second = apply(options);
    ASSERT_TRUE(second) << second.error().message << " after a cut at " << cut;
    ASSERT_EQ(second->outcome, Outcome::kDone);
    ASSERT_EQ(test::read_file(folder_ / "made"), test::read_file(folder_ / "new"));
    std::filesystem::remove(folder_ / "made");
    ASSERT_EQ(folder_.count(), files);
  }
}

TEST_F(Toolkit, ProgressAscendsAndReachesTheEnd) {
  ApplyOptions options = apply_options();
  uint64_t last = 0;
  uint64_t total = 0;
  options.progress = [&](const Progress& progress) {
    EXPECT_GE(progress.done, last);
    last = progress.done;
    total = progress.total;
    return true;
  };
  ASSERT_TRUE(apply(options));
  EXPECT_GT(total, 0u);
  EXPECT_EQ(last, total);
}

TEST_F(Toolkit, CancellingLeavesNothing) {
  const size_t files = folder_.count();
  ApplyOptions options = apply_options();
  options.progress = [](const Progress&) { return false; };
  const auto applied = apply(options);
  ASSERT_FALSE(applied);
  EXPECT_EQ(applied.error().code, TENSORPATCH_E_CANCELLED);

  PackOptions packing = pack_options();
  packing.output = folder_ / "v.tpb";
  packing.details = folder_ / "v.details";
  packing.progress = [](const Progress&) { return false; };
  const auto packed = pack(packing);
  ASSERT_FALSE(packed);
  EXPECT_EQ(packed.error().code, TENSORPATCH_E_CANCELLED);
  EXPECT_EQ(folder_.count(), files);
}

TEST_F(Toolkit, CancellingTheSelfCheckMakesNoBundle) {
  PackOptions options = pack_options();
  options.output = folder_ / "v.tpb";
  bool was_checking = false;
  options.progress = [&](const Progress& progress) {
    was_checking = was_checking || progress.stage == "checking";
    return !was_checking;
  };
  ASSERT_FALSE(pack(options));
  EXPECT_TRUE(was_checking);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "v.tpb"));
}

TEST_F(Toolkit, AFileThatIsNoStateIsNotTouched) {
  test::write_file(folder_ / "precious", "not a state");
  ApplyOptions options = apply_options();
  options.resume = folder_ / "precious";
  const auto report = apply(options);
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code, TENSORPATCH_E_CHECKPOINT);
  EXPECT_EQ(test::read_file(folder_ / "precious"), "not a state");
  EXPECT_FALSE(std::filesystem::exists(folder_ / "made.part"));
}

TEST_F(Toolkit, AFailingSignerMakesNoBundle) {
  PackOptions options = pack_options();
  options.output = folder_ / "v.tpb";
  options.signer->private_key = "this is not a key";
  const auto report = pack(options);
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code, TENSORPATCH_E_KEY);
  options.signer->private_key.clear();
  options.signer->command = "false";
  options.signer->public_key = test::read_file(folder_ / "k.pub");
  const auto external = pack(options);
  ASSERT_FALSE(external);
  EXPECT_EQ(external.error().code, TENSORPATCH_E_SIGNER);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "v.tpb"));
}

TEST_F(Toolkit, AnInputThatFailsIsReported) {
  ApplyOptions options = apply_options();
  options.input = [](std::span<uint8_t>) -> Result<size_t> {
    return fail(TENSORPATCH_E_IO, "the radio is off");
  };
  const auto report = apply(options);
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().message, "the radio is off");
  EXPECT_FALSE(std::filesystem::exists(folder_ / "made"));
}

TEST_F(Toolkit, NewAppearsMeanwhileAndIsKept) {
  ApplyOptions options = apply_options();
  options.progress = [&](const Progress&) {
    test::write_file(folder_ / "made", "precious");
    return true;
  };
  const auto report = apply(options);
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code, TENSORPATCH_E_EXISTS);
  EXPECT_EQ(test::read_file(folder_ / "made"), "precious");
}

TEST(DeviceClassText, ComesBack) {
  const auto device_class = parse_device_class("123E4567-e89b-42d3-a456-426614174000");
  ASSERT_TRUE(device_class);
  EXPECT_EQ(device_class_text(*device_class), "123e4567-e89b-42d3-a456-426614174000");
  EXPECT_FALSE(parse_device_class("123e4567e89b42d3a456426614174000"));
}

}  // namespace
}  // namespace tensorpatch::toolkit
