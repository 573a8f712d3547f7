// tests/apply/in_place_test.cc: updates in place: what is refused before anything is touched, the
// order of events, records. Power cuts are in tests/faults.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>

#include "apply/format.h"
#include "apply/wire.h"
#include "support/bundle_builder.h"
#include "support/memory_device.h"

namespace tensorpatch::test {
namespace {

namespace checkpoint = format::checkpoint;

constexpr uint32_t kPage = 64;
constexpr size_t kOldSize = 300;  // five pages
constexpr uint64_t kMargin = 2 * kPage;
constexpr size_t kLeastRegion = 5 * kPage + kMargin;

// New takes each page of old from 16 bytes further back, the first from where it was.
BundleSpec in_place_spec() {
  BundleSpec spec;
  spec.limits = {256, kPage, kPage, 4, 8, 0, 0, 0, 0, 0, 0};
  spec.limits.reach = 16;
  spec.required_flags = format::kFlagInPlace;
  ComponentSpec made;
  made.old_file = noise(kOldSize, 3);
  CopyPatch patch;
  patch.pieces.push_back({0, kPage, true});
  for (uint64_t at = kPage; at + kPage <= kOldSize; at += kPage) {
    patch.pieces.push_back({at - 16, kPage, true});
  }
  patch.pieces.push_back({4 * kPage, 44, true});
  made.new_file = apply_copies(patch, {made.old_file});
  made.patch = encode_copies(patch);
  spec.components.push_back(made);
  return spec;
}

// A device whose region is the first place of a memory device.
struct InPlaceDevice {
  BundleSpec spec = in_place_spec();
  BuiltBundle bundle;
  MemoryDevice device;
  tensorpatch_libsodium_hash second_state{};
  tensorpatch_region region;
  TestKey key{1};
  ApplySetup setup;

  explicit InPlaceDevice(uint64_t old_offset = 0, size_t region_size = kLeastRegion,
                         const std::function<void(BundleSpec&)>& change = {})
      : device({}, region_size) {
    if (change) change(spec);
    bundle = build_bundle(spec);
    device.erases = true;
    device.erase_size = kPage;
    device.write_size = 4;
    std::ranges::copy(spec.components[0].old_file,
                      device.places[0].begin() + static_cast<std::ptrdiff_t>(old_offset));
    region = {&tensorpatch_in_place_method, region_size, old_offset,
              tensorpatch_libsodium_hash_port(&second_state)};
    setup.ring = {key.entry()};
    setup.region = &region;
  }

  tensorpatch_status apply(size_t bite = 0) {
    return TestApplier(device, setup).apply(bundle.bytes, bite);
  }
  bool holds_new() const {
    const Bytes& made = spec.components[0].new_file;
    return std::equal(made.begin(), made.end(), device.places[0].begin());
  }
  bool untouched() const {
    return device.write_count == 0 && device.erase_count == 0 && !device.checkpoint.has_value();
  }
};

TEST(InPlace, NewTakesOldsPlace) {
  for (const uint64_t old_offset : {uint64_t{0}, uint64_t{kPage}, kMargin}) {
    for (const size_t bite : {size_t{0}, size_t{1}, size_t{37}}) {
      for (const size_t work_limit : {size_t{0}, size_t{1}, size_t{50}}) {
        InPlaceDevice d(old_offset);
        d.setup.work_limit = work_limit;
        TestApplier applier(d.device, d.setup);
        ASSERT_EQ(applier.apply(d.bundle.bytes, bite), TENSORPATCH_DONE)
            << old_offset << " " << bite << " " << work_limit;
        EXPECT_TRUE(d.holds_new());
        EXPECT_EQ(d.device.misuse, "");
        EXPECT_EQ(d.device.read_old_count, 0u);
        tensorpatch_progress progress{};
        tensorpatch_apply_progress(applier.get(), &progress);
        EXPECT_EQ(progress.done, progress.total);
        // Old is moved only when it lies before the margin.
        EXPECT_EQ(d.device.erase_count > 5, old_offset < kMargin);
      }
    }
  }
}

TEST(InPlace, NothingIsTouchedBeforeAllWasDecoded) {
  InPlaceDevice d;
  TestApplier applier(d.device, d.setup);
  uint64_t furthest = 0;
  while (true) {
    const uint64_t offset = tensorpatch_apply_next_offset(applier.get());
    if (offset < furthest) break;  // back to the first block
    furthest = offset;
    ASSERT_LT(offset, d.bundle.bytes.size());
    EXPECT_TRUE(d.untouched());
    size_t consumed = 0;
    ASSERT_EQ(tensorpatch_apply_push(applier.get(), d.bundle.bytes.data() + offset, 1, &consumed),
              TENSORPATCH_MORE);
  }
  EXPECT_EQ(furthest, d.bundle.bytes.size() - 1);
  EXPECT_EQ(tensorpatch_apply_next_offset(applier.get()), d.bundle.blocks_offset);
}

TEST(InPlace, ASignedBundleThatDoesNotMakeNewChangesNothing) {
  InPlaceDevice d(0, kLeastRegion, [](BundleSpec& spec) {
    spec.edit_statement = [](Bytes& statement) {
      statement[format::header::kSize + format::component::kNewDigest] ^= 1;
    };
  });
  EXPECT_EQ(d.apply(), TENSORPATCH_E_DIGEST);
  EXPECT_TRUE(d.untouched());

  InPlaceDevice short_one;
  short_one.bundle.bytes.pop_back();
  EXPECT_EQ(short_one.apply(), TENSORPATCH_E_TRUNCATED);
  EXPECT_TRUE(short_one.untouched());
  InPlaceDevice long_one;
  long_one.bundle.bytes.push_back(0);
  EXPECT_EQ(long_one.apply(), TENSORPATCH_E_TRAILING);
  EXPECT_TRUE(long_one.untouched());
}

TEST(InPlace, WhatTheRegionCannotHoldIsRefused) {
  for (const size_t size : {kLeastRegion - kPage, kLeastRegion - 1, size_t{kOldSize}}) {
    InPlaceDevice d(0, size);
    EXPECT_EQ(d.apply(), TENSORPATCH_E_CAPACITY) << size;
    EXPECT_TRUE(d.untouched());
  }
  InPlaceDevice unaligned(kPage / 2);
  EXPECT_EQ(unaligned.apply(), TENSORPATCH_E_CAPACITY);
  InPlaceDevice beyond;
  beyond.region.old_offset = kLeastRegion + kPage;
  EXPECT_EQ(beyond.apply(), TENSORPATCH_E_CAPACITY);
  InPlaceDevice wrong;
  wrong.device.places[0][7] ^= 1;
  EXPECT_EQ(wrong.apply(), TENSORPATCH_E_OLD);
  EXPECT_TRUE(wrong.untouched());
}

TEST(InPlace, OnlyBundlesThatWereMadeForIt) {
  InPlaceDevice d(0, kLeastRegion, [](BundleSpec& spec) {
    spec.required_flags = 0;
    spec.limits.reach = 0;
  });
  EXPECT_EQ(d.apply(), TENSORPATCH_E_IN_PLACE);
  InPlaceDevice two;
  two.bundle = build_bundle(two_component_spec());
  EXPECT_EQ(two.apply(), TENSORPATCH_E_IN_PLACE);
  EXPECT_TRUE(two.untouched());
}

TEST(InPlace, AWholeFileNeedsNoMargin) {
  InPlaceDevice d(0, 5 * kPage, [](BundleSpec& spec) {
    spec.required_flags = 0;
    spec.limits.reach = 0;
    spec.components[0] = {{}, {}, {}, format::kComponentWhole};
  });
  EXPECT_EQ(d.apply(), TENSORPATCH_DONE);
  EXPECT_EQ(d.device.misuse, "");
}

TEST(InPlace, AlreadyNewAndVerifyOnly) {
  InPlaceDevice d;
  ASSERT_EQ(d.apply(), TENSORPATCH_DONE);
  const uint64_t writes = d.device.write_count;
  EXPECT_EQ(d.apply(), TENSORPATCH_ALREADY_NEW);
  EXPECT_EQ(d.device.write_count, writes);

  InPlaceDevice verified;
  tensorpatch_ports ports = verified.device.ports();
  ports.write_new = nullptr;
  ports.save_checkpoint = nullptr;
  tensorpatch_options options{};
  options.keys = verified.setup.ring.data();
  options.key_count = 1;
  options.threshold = 1;
  options.region = &verified.region;
  std::vector<uint64_t> workspace(8192);
  tensorpatch_applier applier;
  ASSERT_EQ(tensorpatch_apply_init(&applier, workspace.data(), 65536, &ports, &options),
            TENSORPATCH_OK);
  size_t consumed = 0;
  EXPECT_EQ(tensorpatch_apply_push(&applier, verified.bundle.bytes.data(),
                                   verified.bundle.bytes.size(), &consumed),
            TENSORPATCH_DONE);
  EXPECT_TRUE(verified.untouched());
}

TEST(InPlace, InitWantsAllThatIsNeeded) {
  InPlaceDevice d;
  d.device.saves_checkpoints = false;
  EXPECT_EQ(d.apply(), TENSORPATCH_E_ARGUMENT);
  InPlaceDevice no_method;
  no_method.region.method = nullptr;
  EXPECT_EQ(no_method.apply(), TENSORPATCH_E_ARGUMENT);
  InPlaceDevice no_hash;
  no_hash.region.hash.update = nullptr;
  EXPECT_EQ(no_hash.apply(), TENSORPATCH_E_ARGUMENT);
}

// Fails the n-th callback for every n, and goes on as after a power cut.
TEST(InPlace, GoesOnAfterEveryFailure) {
  InPlaceDevice whole;
  ASSERT_EQ(whole.apply(), TENSORPATCH_DONE);
  const uint64_t calls = whole.device.calls;
  ASSERT_GT(calls, 60u);
  uint64_t resumed = 0;
  for (uint64_t n = 1; n <= calls; ++n) {
    InPlaceDevice d;
    d.device.fail_at = n;
    ASSERT_GE(d.apply(), TENSORPATCH_E_ARGUMENT) << n;
    if (!d.device.checkpoint.has_value()) {
      ASSERT_TRUE(std::equal(d.spec.components[0].old_file.begin(),
                             d.spec.components[0].old_file.end(), d.device.places[0].begin()));
      ASSERT_EQ(d.apply(), TENSORPATCH_DONE) << n;
    } else {
      const Record record = *d.device.checkpoint;
      ASSERT_EQ(TestApplier(d.device, d.setup).resume(d.bundle.bytes, record), TENSORPATCH_DONE)
          << n;
      ++resumed;
    }
    ASSERT_TRUE(d.holds_new()) << n;
    ASSERT_EQ(d.device.misuse, "") << n;
  }
  EXPECT_GT(resumed, 30u);
}

Record changed(Record record, const std::function<void(uint8_t*)>& change) {
  change(record.data());
  const Digest check = sha256(Bytes(record.begin(), record.begin() + checkpoint::kCheckAt));
  std::copy(check.begin(), check.end(), record.begin() + checkpoint::kCheckAt);
  return record;
}

// Stops a device at the first failure after which a record has this phase.
std::unique_ptr<InPlaceDevice> stopped_in(uint8_t phase) {
  for (uint64_t n = 1;; ++n) {
    auto d = std::make_unique<InPlaceDevice>();
    d->device.fail_at = n;
    d->apply();
    if (d->device.checkpoint && (*d->device.checkpoint)[checkpoint::kPhaseAt] == phase) return d;
  }
}

TEST(InPlace, RecordsThatCannotBeAreRefused) {
  const auto refuse = [](uint8_t phase, const std::function<void(uint8_t*)>& change) {
    const auto d = stopped_in(phase);
    const Record record = changed(*d->device.checkpoint, change);
    d->device.fail_at = 0;
    const uint64_t writes = d->device.write_count;
    EXPECT_EQ(TestApplier(d->device, d->setup).resume(d->bundle.bytes, record),
              TENSORPATCH_E_CHECKPOINT);
    EXPECT_EQ(d->device.write_count, writes);
  };
  const auto old_page = [](uint32_t page) {
    return [page](uint8_t* r) { wire::write_u32(r + checkpoint::kOldPageAt, page); };
  };
  const auto new_offset = [](uint64_t offset) {
    return [offset](uint8_t* r) { wire::write_u64(r + checkpoint::kNewOffsetAt, offset); };
  };
  refuse(checkpoint::kMoving, old_page(3));
  refuse(checkpoint::kMoving, new_offset(kPage - 1));
  refuse(checkpoint::kMoving, new_offset(6 * kPage));
  refuse(checkpoint::kWriting, old_page(1));  // within the margin
  refuse(checkpoint::kWriting, old_page(3));  // behind the region's end
  refuse(checkpoint::kWriting, new_offset(kPage + 1));
  refuse(checkpoint::kWriting, [](uint8_t* r) {
    r[checkpoint::kPhaseAt] = checkpoint::kBeside;
    wire::write_u32(r + checkpoint::kOldPageAt, 0);
  });
  // In a device that has no region.
  const auto d = stopped_in(checkpoint::kWriting);
  d->setup.region = nullptr;
  d->device.fail_at = 0;
  EXPECT_EQ(TestApplier(d->device, d->setup).resume(d->bundle.bytes, *d->device.checkpoint),
            TENSORPATCH_E_CHECKPOINT);
}

}  // namespace
}  // namespace tensorpatch::test
