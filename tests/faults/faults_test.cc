// tests/faults/faults_test.cc: every truncation, every flipped bit, every failing callback, every
// power cut.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <initializer_list>
#include <string>

#include "support/bundle_builder.h"
#include "support/memory_device.h"

namespace tensorpatch::test {
namespace {

constexpr size_t kPlace = 1024;

class Faults : public ::testing::TestWithParam<BundleSpec (*)()> {
 protected:
  Faults() : spec_(GetParam()()), bundle_(build_bundle(spec_)) { setup_.ring = {key_.entry()}; }

  MemoryDevice make_device() const {
    MemoryDevice device(old_files(spec_), kPlace);
    device.erases = true;
    device.erase_size = spec_.limits.erase_size;
    device.write_size = spec_.limits.write_size;
    return device;
  }

  void expect_only_right_bytes(const MemoryDevice& device, const std::string& when) const {
    for (size_t i = 0; i < spec_.components.size(); ++i) {
      EXPECT_TRUE(device.holds_only_prefix_of(i, spec_.components[i].new_file)) << when;
    }
    EXPECT_EQ(device.misuse, "") << when;
  }

  void expect_new(const MemoryDevice& device, const std::string& when) const {
    for (size_t i = 0; i < spec_.components.size(); ++i) {
      const Bytes& wanted = spec_.components[i].new_file;
      Bytes made = device.places[i];
      made.resize(wanted.size());
      EXPECT_EQ(made, wanted) << when;
    }
    EXPECT_EQ(device.misuse, "") << when;
  }

  // Applies from the checkpoint if there is one.
  tensorpatch_status go_on(MemoryDevice& device) const {
    TestApplier applier(device, setup_);
    return device.checkpoint ? applier.resume(bundle_.bytes, *device.checkpoint)
                             : applier.apply(bundle_.bytes);
  }

  BundleSpec spec_;
  BuiltBundle bundle_;
  TestKey key_{1};
  ApplySetup setup_;
};

TEST_P(Faults, EveryTruncationIsRefused) {
  for (size_t size = 0; size < bundle_.bytes.size(); ++size) {
    MemoryDevice device = make_device();
    const Bytes cut(bundle_.bytes.begin(),
                    bundle_.bytes.begin() + static_cast<std::ptrdiff_t>(size));
    const std::string when = "first " + std::to_string(size) + " bytes";
    EXPECT_EQ(TestApplier(device, setup_).apply(cut, size % 3), TENSORPATCH_E_TRUNCATED) << when;
    expect_only_right_bytes(device, when);
    if (size <= bundle_.blocks_offset) {
      EXPECT_TRUE(device.untouched()) << when;
    }
  }
}

TEST_P(Faults, EveryFlippedBitIsRefused) {
  for (size_t bit = 0; bit < 8 * bundle_.bytes.size(); ++bit) {
    MemoryDevice device = make_device();
    Bytes flipped = bundle_.bytes;
    flipped[bit / 8] = static_cast<uint8_t>(flipped[bit / 8] ^ 1u << bit % 8);
    const std::string when = "bit " + std::to_string(bit);
    EXPECT_GE(TestApplier(device, setup_).apply(flipped), TENSORPATCH_E_FORMAT) << when;
    expect_only_right_bytes(device, when);
    if (bit / 8 < bundle_.blocks_offset) {
      EXPECT_TRUE(device.untouched()) << when;
    }
  }
}

TEST_P(Faults, EveryFailingCallbackIsReported) {
  for (uint64_t n = 1;; ++n) {
    MemoryDevice device = make_device();
    device.fail_at = n;
    const std::string when = "callback " + std::to_string(n);
    const tensorpatch_status status = TestApplier(device, setup_).apply(bundle_.bytes);
    expect_only_right_bytes(device, when);
    if (device.calls < n) {
      ASSERT_EQ(status, TENSORPATCH_DONE);
      ASSERT_GT(n, 20u) << "too few callbacks to show anything";
      break;
    }
    EXPECT_TRUE(status == TENSORPATCH_E_SIGNATURE ||
                (status >= TENSORPATCH_E_READ_OLD && status <= TENSORPATCH_E_SAVE_CHECKPOINT))
        << when << " " << tensorpatch_status_text(status);
  }
}

TEST_P(Faults, GoesOnAfterACutAtAnyCallback) {
  MemoryDevice whole = make_device();
  ASSERT_EQ(TestApplier(whole, setup_).apply(bundle_.bytes), TENSORPATCH_DONE);
  size_t resumed = 0;
  for (uint64_t n = 1; n <= whole.calls; ++n) {
    MemoryDevice device = make_device();
    device.fail_at = n;
    EXPECT_GE(go_on(device), TENSORPATCH_E_ARGUMENT);
    if (device.checkpoint) ++resumed;
    const std::string when = "after a cut at callback " + std::to_string(n);
    EXPECT_EQ(go_on(device), TENSORPATCH_DONE) << when;
    expect_new(device, when);
  }
  EXPECT_GT(resumed, 0u) << "no checkpoint was ever used";
}

TEST_P(Faults, GoesOnAfterCutsOneAfterAnother) {
  for (const uint64_t step : std::initializer_list<uint64_t>{23, 37, 51, 80}) {
    MemoryDevice device = make_device();
    device.any_signature = true;
    tensorpatch_status status = TENSORPATCH_MORE;
    for (uint64_t round = 1; round < 500 && status != TENSORPATCH_DONE; ++round) {
      // A little later each time, so that every update ends some day.
      device.fail_at = device.calls + step + round;
      status = go_on(device);
    }
    EXPECT_EQ(status, TENSORPATCH_DONE) << "step " << step;
    expect_new(device, "step " + std::to_string(step));
  }
}

BundleSpec paged_spec() {
  BundleSpec spec = small_spec();
  CopyPatch patch;
  for (uint32_t i = 0; i < 60; ++i) patch.pieces.push_back({i * 7 % 200, 8, i % 4 == 0, 0});
  patch.pieces.push_back({5, 11, true, 0});
  spec.limits = {256, 64, 32, 8, 8, 0, 0, 0, 0, 0, 0};
  spec.components[0].new_file = apply_copies(patch, old_files(spec));
  spec.components[0].patch = encode_copies(patch);
  return spec;
}

INSTANTIATE_TEST_SUITE_P(Bundles, Faults,
                         ::testing::Values(&small_spec, &two_component_spec, &paged_spec));

}  // namespace
}  // namespace tensorpatch::test
