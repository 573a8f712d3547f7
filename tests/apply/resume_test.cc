// tests/apply/resume_test.cc: checkpoint records, right and wrong ones.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <initializer_list>

#include "apply/format.h"
#include "apply/wire.h"
#include "support/bundle_builder.h"
#include "support/memory_device.h"

namespace tensorpatch::test {
namespace {

namespace checkpoint = format::checkpoint;

constexpr size_t kPlace = 1024;

struct Interrupted {
  BundleSpec spec;
  BuiltBundle bundle;
  MemoryDevice device;
  ApplySetup setup;
  TestKey key{1};

  // Stops in the middle of the last block, so that a checkpoint was saved.
  explicit Interrupted(const BundleSpec& from)
      : spec(from), bundle(build_bundle(from)), device(old_files(from), kPlace) {
    setup.ring = {key.entry()};
    Bytes cut = bundle.bytes;
    cut.pop_back();
    TestApplier applier(device, setup);
    EXPECT_EQ(applier.apply(cut), TENSORPATCH_E_TRUNCATED);
    EXPECT_TRUE(device.checkpoint.has_value());
  }

  tensorpatch_status resume(const Record& record, size_t bite = 0) {
    TestApplier applier(device, setup);
    return applier.resume(bundle.bytes, record, bite);
  }

  // The record with a change and a check digest that fits it.
  Record changed(const std::function<void(uint8_t*)>& change) const {
    Record record = *device.checkpoint;
    change(record.data());
    const Digest check = sha256(Bytes(record.begin(), record.begin() + checkpoint::kCheckAt));
    std::copy(check.begin(), check.end(), record.begin() + checkpoint::kCheckAt);
    return record;
  }
};

TEST(Resume, GoesOnFromTheCheckpoint) {
  for (const size_t bite : std::initializer_list<size_t>{0, 1, 7, 300}) {
    Interrupted run(small_spec());
    const uint64_t written = run.device.write_count;
    TestApplier applier(run.device, run.setup);
    ASSERT_EQ(applier.resume(run.bundle.bytes, *run.device.checkpoint, bite), TENSORPATCH_DONE);
    const Bytes& wanted = run.spec.components[0].new_file;
    Bytes made = run.device.places[0];
    made.resize(wanted.size());
    EXPECT_EQ(made, wanted);
    EXPECT_LT(run.device.write_count - written, written) << "did it all again";
    EXPECT_EQ(run.device.misuse, "");
    tensorpatch_progress progress{};
    tensorpatch_apply_progress(applier.get(), &progress);
    EXPECT_EQ(progress.done, progress.total);
    EXPECT_EQ(progress.consumed, run.bundle.bytes.size());
  }
}

TEST(Resume, JumpsToTheBlock) {
  Interrupted run(small_spec());
  TestApplier applier(run.device, run.setup);
  ASSERT_EQ(tensorpatch_apply_resume(applier.get(), run.device.checkpoint->data()), TENSORPATCH_OK);
  size_t consumed = 0;
  // More than the bytes before the blocks are offered; they must not be taken for the block.
  ASSERT_EQ(tensorpatch_apply_push(applier.get(), run.bundle.bytes.data(), run.bundle.bytes.size(),
                                   &consumed),
            TENSORPATCH_MORE);
  EXPECT_EQ(consumed, run.bundle.blocks_offset);
  const uint64_t index = wire::read_u64(run.device.checkpoint->data() + checkpoint::kBlockIndexAt);
  EXPECT_GT(index, 0u);
  EXPECT_EQ(tensorpatch_apply_next_offset(applier.get()), run.bundle.blocks_offset + index * 256);
}

TEST(Resume, InTheSecondComponent) {
  BundleSpec spec = two_component_spec();
  CopyPatch patch = {1, 2, {}};
  for (uint32_t i = 0; i < 100; ++i) patch.pieces.push_back({i * 7 % 45, 5, i % 2 == 0, i % 2});
  spec.components[1].new_file = apply_copies(patch, old_files(spec));
  spec.components[1].patch = encode_copies(patch);
  Interrupted run(spec);
  ASSERT_EQ(wire::read_u16(run.device.checkpoint->data() + checkpoint::kComponentAt), 1);
  ASSERT_EQ(run.resume(*run.device.checkpoint), TENSORPATCH_DONE);
  EXPECT_TRUE(run.device.holds_only_prefix_of(0, spec.components[0].new_file));
  EXPECT_TRUE(run.device.holds_only_prefix_of(1, spec.components[1].new_file));
}

TEST(Resume, EarlierComponentsAreReadBackToo) {
  Interrupted run(two_component_spec());
  run.device.places[0][3] ^= 1;
  EXPECT_EQ(run.resume(*run.device.checkpoint), TENSORPATCH_E_NEW);
}

TEST(Resume, ChecksOldFilesAgain) {
  Interrupted run(small_spec());
  run.device.old_files[0][0] ^= 1;
  const uint64_t written = run.device.write_count;
  EXPECT_EQ(run.resume(*run.device.checkpoint), TENSORPATCH_E_OLD);
  EXPECT_EQ(run.device.write_count, written);
}

TEST(Resume, EveryFlippedBitOfTheRecordIsSeen) {
  Interrupted run(small_spec());
  for (size_t bit = 0; bit < 8 * run.device.checkpoint->size(); ++bit) {
    Record record = *run.device.checkpoint;
    record[bit / 8] = static_cast<uint8_t>(record[bit / 8] ^ 1u << bit % 8);
    TestApplier applier(run.device, run.setup);
    EXPECT_EQ(tensorpatch_apply_resume(applier.get(), record.data()), TENSORPATCH_E_CHECKPOINT)
        << "bit " << bit;
    EXPECT_EQ(tensorpatch_apply_finish(applier.get()), TENSORPATCH_E_CHECKPOINT);
  }
}

TEST(Resume, EveryFieldIsValidated) {
  Interrupted run(small_spec());
  const uint64_t new_size = run.spec.components[0].new_file.size();
  const std::function<void(uint8_t*)> changes[] = {
      [](uint8_t* r) { r[0] ^= 1; },
      [](uint8_t* r) { wire::write_u16(r + checkpoint::kVersionAt, 2); },
      [](uint8_t* r) { wire::write_u16(r + checkpoint::kComponentAt, 1); },
      [](uint8_t* r) { wire::write_u16(r + checkpoint::kComponentAt, 6); },
      [](uint8_t* r) { wire::write_u32(r + checkpoint::kBlockOffsetAt, 256); },
      [](uint8_t* r) { wire::write_u32(r + checkpoint::kBlockOffsetAt, 0xFFFFFFFF); },
      [](uint8_t* r) { wire::write_u32(r + checkpoint::kOldPageAt, 1); },
      [](uint8_t* r) { r[checkpoint::kPhaseAt] = checkpoint::kMoving; },
      [](uint8_t* r) { r[checkpoint::kPhaseAt] = 3; },
      [&](uint8_t* r) { wire::write_u64(r + checkpoint::kNewOffsetAt, new_size); },
      [](uint8_t* r) { wire::write_u64(r + checkpoint::kNewOffsetAt, UINT64_MAX); },
      [](uint8_t* r) { wire::write_u64(r + checkpoint::kBlockIndexAt, 3); },
      [](uint8_t* r) { wire::write_u64(r + checkpoint::kBlockIndexAt, UINT64_MAX); },
      [](uint8_t* r) { wire::write_u64(r + checkpoint::kBlockIndexAt, 0); },
      [](uint8_t* r) { r[checkpoint::kStatementDigestAt] ^= 1; },
  };
  size_t number = 0;
  for (const auto& change : changes) {
    const uint64_t written = run.device.write_count;
    EXPECT_EQ(run.resume(run.changed(change)), TENSORPATCH_E_CHECKPOINT) << "change " << number;
    EXPECT_EQ(run.device.write_count, written);
    ++number;
  }
  // A wrong block digest shows when the block arrives.
  EXPECT_EQ(run.resume(run.changed([](uint8_t* r) { r[checkpoint::kBlockDigestAt] ^= 1; })),
            TENSORPATCH_E_DIGEST);
  ASSERT_EQ(run.resume(run.changed([](uint8_t*) {})), TENSORPATCH_DONE) << "the test itself";
}

TEST(Resume, RecordsOfAnotherBundleAreRefused) {
  Interrupted run(small_spec());
  BundleSpec other = small_spec();
  other.sequence += 1;
  TestApplier applier(run.device, run.setup);
  EXPECT_EQ(applier.resume(build_bundle(other).bytes, *run.device.checkpoint),
            TENSORPATCH_E_CHECKPOINT);
}

TEST(Resume, SignaturesMayChangeInBetween) {
  Interrupted run(small_spec());
  BundleSpec more = small_spec();
  more.signers = {5, 1};
  TestApplier applier(run.device, run.setup);
  EXPECT_EQ(applier.resume(build_bundle(more).bytes, *run.device.checkpoint), TENSORPATCH_DONE);
}

TEST(Resume, OnlyBeforeTheFirstPush) {
  Interrupted run(small_spec());
  TestApplier applier(run.device, run.setup);
  size_t consumed = 0;
  ASSERT_EQ(tensorpatch_apply_push(applier.get(), run.bundle.bytes.data(), 1, &consumed),
            TENSORPATCH_MORE);
  EXPECT_EQ(tensorpatch_apply_resume(applier.get(), run.device.checkpoint->data()),
            TENSORPATCH_E_STATE);
  EXPECT_EQ(tensorpatch_apply_resume(applier.get(), nullptr), TENSORPATCH_E_ARGUMENT);
}

}  // namespace
}  // namespace tensorpatch::test
