// tests/apply/applier_test.cc: the applier on hand-written bundles.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "apply/format.h"
#include "apply/wire.h"
#include "support/bundle_builder.h"
#include "support/memory_device.h"

namespace tensorpatch::test {
namespace {

const TestKey& key_one() {
  static const TestKey key(1);
  return key;
}

ApplySetup setup_one() {
  ApplySetup setup;
  setup.ring = {key_one().entry()};
  return setup;
}

constexpr size_t kPlace = 1024;

TEST(Applier, AppliesASmallBundle) {
  const BundleSpec spec = small_spec();
  const BuiltBundle bundle = build_bundle(spec);
  ASSERT_GT(spec.components[0].patch.size(), 2 * 256u) << "should have several blocks";
  MemoryDevice device(old_files(spec), kPlace);
  TestApplier applier(device, setup_one());
  EXPECT_EQ(applier.apply(bundle.bytes), TENSORPATCH_DONE);
  Bytes made = device.places[0];
  made.resize(spec.components[0].new_file.size());
  EXPECT_EQ(made, spec.components[0].new_file);
  EXPECT_TRUE(device.misuse.empty()) << device.misuse;
}

}  // namespace
}  // namespace tensorpatch::test
