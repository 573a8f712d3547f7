// tests/apply/applier_test.cc: the applier on hand-written bundles: bites, limits, order of calls.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <initializer_list>
#include <set>
#include <string>

#include "apply/format.h"
#include "apply/wire.h"
#include "support/bundle_builder.h"
#include "support/memory_device.h"

namespace tensorpatch::test {
namespace {

constexpr size_t kPlace = 1024;

const TestKey& key_one() {
  static const TestKey key(1);
  return key;
}

ApplySetup setup_one() {
  ApplySetup setup;
  setup.ring = {key_one().entry()};
  return setup;
}

Bytes place_content(const MemoryDevice& device, size_t component, size_t size) {
  Bytes content = device.places[component];
  content.resize(size);
  return content;
}

void expect_new(const MemoryDevice& device, const BundleSpec& spec) {
  for (size_t i = 0; i < spec.components.size(); ++i) {
    const Bytes& wanted = spec.components[i].new_file;
    EXPECT_EQ(place_content(device, i, wanted.size()), wanted);
    EXPECT_TRUE(device.holds_only_prefix_of(i, wanted)) << "written beyond new";
  }
  EXPECT_EQ(device.misuse, "");
}

TEST(Applier, AppliesInBitesOfAnySize) {
  for (const BundleSpec& spec : {small_spec(), two_component_spec()}) {
    const BuiltBundle bundle = build_bundle(spec);
    for (const size_t bite : std::initializer_list<size_t>{0, 1, 2, 3, 7, 64, 1000}) {
      MemoryDevice device(old_files(spec), kPlace);
      TestApplier applier(device, setup_one());
      EXPECT_EQ(applier.apply(bundle.bytes, bite), TENSORPATCH_DONE) << "bite " << bite;
      expect_new(device, spec);
      EXPECT_EQ(tensorpatch_apply_next_offset(applier.get()), bundle.bytes.size());
    }
  }
}

TEST(Applier, SmallSpecHasSeveralBlocksAndRestarts) {
  const BundleSpec spec = small_spec();
  EXPECT_GE(format::block_count(spec.components[0].patch.size(), spec.limits.block_size), 3u);
  MemoryDevice device(old_files(spec), kPlace);
  TestApplier applier(device, setup_one());
  ASSERT_EQ(applier.apply(build_bundle(spec).bytes), TENSORPATCH_DONE);
  EXPECT_TRUE(device.checkpoint.has_value());
}

TEST(Applier, WorkLimitBoundsEveryPush) {
  const BundleSpec spec = small_spec();
  const BuiltBundle bundle = build_bundle(spec);
  for (const size_t limit : std::initializer_list<size_t>{1, 2, 5, 100, 4096}) {
    MemoryDevice device(old_files(spec), kPlace);
    ApplySetup setup = setup_one();
    setup.work_limit = limit;
    TestApplier applier(device, setup);
    EXPECT_EQ(applier.apply(bundle.bytes), TENSORPATCH_DONE) << "limit " << limit;
    expect_new(device, spec);
    EXPECT_LE(applier.most_consumed, limit);
  }
}

TEST(Applier, WorkLimitAlsoSlicesTheWorkBetweenInput) {
  const BundleSpec spec = small_spec();
  const BuiltBundle bundle = build_bundle(spec);
  MemoryDevice device(old_files(spec), kPlace);
  ApplySetup setup = setup_one();
  setup.work_limit = 16;
  TestApplier applier(device, setup);
  size_t consumed = 0;
  const size_t size = bundle.blocks_offset;
  size_t at = 0;
  while (at < size) {
    ASSERT_EQ(tensorpatch_apply_push(applier.get(), bundle.bytes.data() + at, size - at, &consumed),
              TENSORPATCH_MORE);
    at += consumed;
  }
  const uint64_t before = device.read_old_count;
  ASSERT_EQ(tensorpatch_apply_push(applier.get(), nullptr, 0, &consumed), TENSORPATCH_MORE);
  EXPECT_EQ(device.read_old_count, before + 1);
}

TEST(Applier, VerifyOnlyWritesNothing) {
  const BundleSpec spec = small_spec();
  const BuiltBundle bundle = build_bundle(spec);
  MemoryDevice device(old_files(spec), kPlace);
  device.verify_only = true;
  TestApplier applier(device, setup_one());
  EXPECT_EQ(applier.apply(bundle.bytes, 10), TENSORPATCH_DONE);
  EXPECT_TRUE(device.untouched());
  EXPECT_FALSE(device.checkpoint.has_value());

  Bytes damaged = bundle.bytes;
  damaged.back() ^= 1;
  MemoryDevice second(old_files(spec), kPlace);
  second.verify_only = true;
  EXPECT_EQ(TestApplier(second, setup_one()).apply(damaged), TENSORPATCH_E_DIGEST);
}

TEST(Applier, RefusesAWrongOldBeforeAnythingIsWritten) {
  const BundleSpec spec = two_component_spec();
  const BuiltBundle bundle = build_bundle(spec);
  for (const size_t wrong : std::initializer_list<size_t>{0, 1}) {
    std::vector<Bytes> olds = old_files(spec);
    olds[wrong].back() ^= 1;
    MemoryDevice device(olds, kPlace);
    device.erases = true;
    EXPECT_EQ(TestApplier(device, setup_one()).apply(bundle.bytes), TENSORPATCH_E_OLD);
    EXPECT_TRUE(device.untouched());
    olds[wrong].resize(10);
    MemoryDevice shorter(olds, kPlace);
    EXPECT_EQ(TestApplier(shorter, setup_one()).apply(bundle.bytes), TENSORPATCH_E_OLD);
    EXPECT_TRUE(shorter.untouched());
  }
}

TEST(Applier, SaysAlreadyNew) {
  const BundleSpec spec = two_component_spec();
  const BuiltBundle bundle = build_bundle(spec);
  MemoryDevice device(new_files(spec), kPlace);
  TestApplier applier(device, setup_one());
  EXPECT_EQ(applier.apply(bundle.bytes), TENSORPATCH_ALREADY_NEW);
  EXPECT_TRUE(device.untouched());
  EXPECT_EQ(tensorpatch_apply_finish(applier.get()), TENSORPATCH_ALREADY_NEW);
  size_t consumed = 1;
  EXPECT_EQ(tensorpatch_apply_push(applier.get(), bundle.bytes.data(), 1, &consumed),
            TENSORPATCH_ALREADY_NEW);
  EXPECT_EQ(consumed, 0u);
}

TEST(Applier, AMixOfOldAndNewIsWrong) {
  const BundleSpec spec = two_component_spec();
  const BuiltBundle bundle = build_bundle(spec);
  for (const size_t updated : std::initializer_list<size_t>{0, 1}) {
    std::vector<Bytes> files = old_files(spec);
    files[updated] = spec.components[updated].new_file;
    MemoryDevice device(files, kPlace);
    EXPECT_EQ(TestApplier(device, setup_one()).apply(bundle.bytes), TENSORPATCH_E_OLD);
    EXPECT_TRUE(device.untouched());
  }
}

BundleSpec unchanged_first_component() {
  BundleSpec spec = two_component_spec();
  const CopyPatch patch = {0, 2, {{0, 50, true, 0}, {50, 30, true, 0}}};
  spec.components[0].patch = encode_copies(patch);
  spec.components[0].new_file = spec.components[0].old_file;
  return spec;
}

TEST(Applier, AnUnchangedComponentIsBothOldAndNew) {
  const BundleSpec spec = unchanged_first_component();
  const BuiltBundle bundle = build_bundle(spec);
  MemoryDevice device(old_files(spec), kPlace);
  EXPECT_EQ(TestApplier(device, setup_one()).apply(bundle.bytes), TENSORPATCH_DONE);
  expect_new(device, spec);
  MemoryDevice updated(new_files(spec), kPlace);
  EXPECT_EQ(TestApplier(updated, setup_one()).apply(bundle.bytes), TENSORPATCH_ALREADY_NEW);
  EXPECT_TRUE(updated.untouched());
}

TEST(Applier, EmptyNewFiles) {
  BundleSpec spec;
  ComponentSpec emptied;
  emptied.old_file = noise(40, 4);
  spec.components = {emptied};
  MemoryDevice device(old_files(spec), kPlace);
  EXPECT_EQ(TestApplier(device, setup_one()).apply(build_bundle(spec).bytes), TENSORPATCH_DONE);
  EXPECT_TRUE(device.untouched());

  spec.components[0].patch = {1};  // empty new, but a patch
  MemoryDevice second(old_files(spec), kPlace);
  EXPECT_EQ(TestApplier(second, setup_one()).apply(build_bundle(spec).bytes), TENSORPATCH_E_FORMAT);
}

TEST(Applier, AWorkspaceOfExactlyTheDeclaredSizeIsEnough) {
  const BundleSpec spec = small_spec();
  const BuiltBundle bundle = build_bundle(spec);
  ApplySetup setup = setup_one();
  setup.workspace_size = workspace_size(spec.limits);
  {
    MemoryDevice device(old_files(spec), kPlace);
    EXPECT_EQ(TestApplier(device, setup).apply(bundle.bytes, 1), TENSORPATCH_DONE);
    expect_new(device, spec);
  }
  setup.workspace_size -= 1;
  MemoryDevice device(old_files(spec), kPlace);
  EXPECT_EQ(TestApplier(device, setup).apply(bundle.bytes), TENSORPATCH_E_WORKSPACE);
  EXPECT_TRUE(device.untouched());
  EXPECT_EQ(device.read_old_count, 0u);
}

TEST(Applier, EveryValidWorkspaceIsEnoughForTheStatement) {
  const PatchLimits smallest{256, 1, 1, 1, 8, 0, 0, 0, 0, 0, 0};
  ASSERT_TRUE(limits_valid(smallest));
  MemoryDevice device({}, kPlace);
  ApplySetup setup = setup_one();
  setup.workspace_size = workspace_size(smallest);
  EXPECT_EQ(TestApplier(device, setup).init_status(), TENSORPATCH_OK);
  setup.workspace_size = 64;
  EXPECT_EQ(TestApplier(device, setup).init_status(), TENSORPATCH_E_WORKSPACE);
}

TEST(Applier, CapacityIsCheckedBeforeAnythingIsRead) {
  const BundleSpec spec = small_spec();
  const BuiltBundle bundle = build_bundle(spec);
  ApplySetup setup = setup_one();
  setup.capacity = spec.components[0].new_file.size();
  {
    MemoryDevice device(old_files(spec), kPlace);
    EXPECT_EQ(TestApplier(device, setup).apply(bundle.bytes), TENSORPATCH_DONE);
  }
  setup.capacity = *setup.capacity - 1;
  MemoryDevice device(old_files(spec), kPlace);
  EXPECT_EQ(TestApplier(device, setup).apply(bundle.bytes), TENSORPATCH_E_CAPACITY);
  EXPECT_TRUE(device.untouched());
  EXPECT_EQ(device.read_old_count, 0u);
}

TEST(Applier, BytesAfterTheEndAreRefusedWheneverTheyCome) {
  const BundleSpec spec = small_spec();
  const Bytes bundle = build_bundle(spec).bytes;
  Bytes longer = bundle;
  longer.push_back(0);
  for (const size_t bite : {size_t{0}, size_t{1}, bundle.size()}) {
    for (const size_t limit : std::initializer_list<size_t>{0, 50}) {
      MemoryDevice device(old_files(spec), kPlace);
      ApplySetup setup = setup_one();
      setup.work_limit = limit;
      EXPECT_EQ(TestApplier(device, setup).apply(longer, bite), TENSORPATCH_E_TRAILING)
          << "bite " << bite << " limit " << limit;
    }
  }
  MemoryDevice device(old_files(spec), kPlace);
  TestApplier applier(device, setup_one());
  ASSERT_EQ(applier.apply(bundle), TENSORPATCH_DONE);
  size_t consumed = 0;
  EXPECT_EQ(tensorpatch_apply_push(applier.get(), nullptr, 0, &consumed), TENSORPATCH_DONE);
  const uint8_t extra = 0;
  EXPECT_EQ(tensorpatch_apply_push(applier.get(), &extra, 1, &consumed), TENSORPATCH_E_TRAILING);
  EXPECT_EQ(tensorpatch_apply_finish(applier.get()), TENSORPATCH_E_TRAILING);
}

TEST(Applier, ErrorsStay) {
  const BundleSpec spec = small_spec();
  Bytes bundle = build_bundle(spec).bytes;
  bundle[0] ^= 1;
  MemoryDevice device(old_files(spec), kPlace);
  TestApplier applier(device, setup_one());
  EXPECT_EQ(applier.apply(bundle), TENSORPATCH_E_FORMAT);
  size_t consumed = 1;
  EXPECT_EQ(tensorpatch_apply_push(applier.get(), bundle.data(), 1, &consumed),
            TENSORPATCH_E_FORMAT);
  EXPECT_EQ(consumed, 0u);
  EXPECT_EQ(tensorpatch_apply_finish(applier.get()), TENSORPATCH_E_FORMAT);
  const Record record{};
  EXPECT_EQ(tensorpatch_apply_resume(applier.get(), record.data()), TENSORPATCH_E_FORMAT);
}

TEST(Applier, Cancel) {
  const BundleSpec spec = small_spec();
  const Bytes bundle = build_bundle(spec).bytes;
  MemoryDevice device(old_files(spec), kPlace);
  TestApplier early(device, setup_one());
  tensorpatch_apply_cancel(early.get());
  EXPECT_EQ(early.apply(bundle), TENSORPATCH_E_CANCELLED);
  EXPECT_TRUE(device.untouched());

  MemoryDevice second(old_files(spec), kPlace);
  TestApplier during(second, setup_one());
  second.cancel_in_write = during.get();
  EXPECT_EQ(during.apply(bundle), TENSORPATCH_E_CANCELLED);
  EXPECT_TRUE(second.holds_only_prefix_of(0, spec.components[0].new_file));
  EXPECT_EQ(tensorpatch_apply_finish(during.get()), TENSORPATCH_E_CANCELLED);
}

TEST(Applier, ReadsBackWhatStorageHolds) {
  const BundleSpec spec = two_component_spec();
  const Bytes bundle = build_bundle(spec).bytes;
  MemoryDevice counted(old_files(spec), kPlace);
  ASSERT_EQ(TestApplier(counted, setup_one()).apply(bundle), TENSORPATCH_DONE);
  ASSERT_GT(counted.write_count, 1u);
  for (uint64_t n = 1; n <= counted.write_count; ++n) {
    MemoryDevice device(old_files(spec), kPlace);
    device.corrupt_write_at = n;
    EXPECT_EQ(TestApplier(device, setup_one()).apply(bundle), TENSORPATCH_E_NEW) << n;
  }
}

TEST(Applier, ErasesJustAheadInWholePages) {
  BundleSpec spec = small_spec();
  CopyPatch patch;
  for (uint32_t i = 0; i < 40; ++i) patch.pieces.push_back({i * 7 % 200, 16, i % 2 == 0, 0});
  patch.pieces.push_back({5, 11, true, 0});  // new ends inside of a page
  spec.limits = {256, 64, 32, 8, 8, 0, 0, 0, 0, 0, 0};
  spec.components[0].new_file = apply_copies(patch, old_files(spec));
  spec.components[0].patch = encode_copies(patch);
  const Bytes bundle = build_bundle(spec).bytes;

  MemoryDevice device(old_files(spec), kPlace);
  device.erases = true;
  device.erase_size = 32;
  device.write_size = 8;
  EXPECT_EQ(TestApplier(device, setup_one()).apply(bundle, 5), TENSORPATCH_DONE);
  expect_new(device, spec);
  EXPECT_GE(device.erase_count, spec.components[0].new_file.size() / 64);

  // Not a byte of the new place is erased before the first block is known to be right.
  Bytes damaged = bundle;
  damaged[bundle.size() - spec.components[0].patch.size() / 2] ^= 1;
  const BuiltBundle built = build_bundle(spec);
  damaged = built.bytes;
  damaged[built.blocks_offset + 40] ^= 1;
  MemoryDevice second(old_files(spec), kPlace);
  second.erases = true;
  second.erase_size = 32;
  EXPECT_EQ(TestApplier(second, setup_one()).apply(damaged), TENSORPATCH_E_DIGEST);
  EXPECT_TRUE(second.untouched());
}

TEST(Applier, ProgressGrowsToItsTotal) {
  const BundleSpec spec = two_component_spec();
  const Bytes bundle = build_bundle(spec).bytes;
  MemoryDevice device(old_files(spec), kPlace);
  ApplySetup setup = setup_one();
  setup.work_limit = 20;
  TestApplier applier(device, setup);
  tensorpatch_progress progress{};
  tensorpatch_apply_progress(applier.get(), &progress);
  EXPECT_EQ(progress.total, 0u);
  uint64_t last = 0;
  size_t at = 0;
  tensorpatch_status status = TENSORPATCH_MORE;
  while (status == TENSORPATCH_MORE) {
    size_t consumed = 0;
    status =
        tensorpatch_apply_push(applier.get(), bundle.data() + at, bundle.size() - at, &consumed);
    at += consumed;
    tensorpatch_apply_progress(applier.get(), &progress);
    EXPECT_GE(progress.done, last);
    EXPECT_EQ(progress.consumed, at);
    last = progress.done;
  }
  EXPECT_EQ(status, TENSORPATCH_DONE);
  uint64_t total = 0;
  for (const ComponentSpec& each : spec.components) {
    total += each.old_file.size() + 2 * each.new_file.size();
  }
  EXPECT_EQ(progress.total, total);
  EXPECT_EQ(progress.done, total);
}

TEST(Applier, Peek) {
  const BundleSpec spec = two_component_spec();
  const Bytes bundle = build_bundle(spec).bytes;
  tensorpatch_summary summary{};
  ASSERT_EQ(tensorpatch_peek(bundle.data(), TENSORPATCH_PEEK_SIZE, &summary), TENSORPATCH_OK);
  EXPECT_EQ(summary.workspace_size, workspace_size(spec.limits));
  EXPECT_EQ(summary.component_count, 2u);
  EXPECT_EQ(summary.required_codecs, 1u);
  size_t needed = 0;  // what the header takes, without its zeros
  while (tensorpatch_peek(bundle.data(), needed, &summary) == TENSORPATCH_E_TRUNCATED) ++needed;
  EXPECT_EQ(tensorpatch_peek(bundle.data(), needed, &summary), TENSORPATCH_OK);
  EXPECT_GT(needed, format::kPrefixSize + 32);
  EXPECT_LT(needed, size_t{TENSORPATCH_PEEK_SIZE});
  Bytes other = bundle;
  other[3] ^= 4;
  EXPECT_EQ(tensorpatch_peek(other.data(), other.size(), &summary), TENSORPATCH_E_FORMAT);
  other = bundle;
  other[format::kPrefixMajor] = 99;
  EXPECT_EQ(tensorpatch_peek(other.data(), other.size(), &summary), TENSORPATCH_E_VERSION);
  BundleSpec wrong = spec;
  wrong.edit_statement = [](Bytes& statement) {
    statement[format::header::kWorkspaceSize + 3] = 0x7F;  // two gigabytes
  };
  other = build_bundle(wrong).bytes;
  EXPECT_EQ(tensorpatch_peek(other.data(), other.size(), &summary), TENSORPATCH_E_FORMAT);
  other = bundle;
  for (size_t i = format::kPrefixSize; i < other.size(); i += 2) {  // a header twice its size
    other[i] = 0;
  }
  EXPECT_EQ(tensorpatch_peek(other.data(), TENSORPATCH_PEEK_SIZE, &summary), TENSORPATCH_E_FORMAT);
  EXPECT_EQ(tensorpatch_peek(nullptr, 5, &summary), TENSORPATCH_E_ARGUMENT);
}

TEST(Applier, AcceptsALaterMinorVersion) {
  BundleSpec spec = small_spec();
  spec.edit_statement = [](Bytes& statement) { statement[format::header::kMinor] = 200; };
  spec.edit_prefix = [](Bytes& prefix) { prefix[format::kPrefixMinor] = 200; };
  MemoryDevice device(old_files(spec), kPlace);
  EXPECT_EQ(TestApplier(device, setup_one()).apply(build_bundle(spec).bytes), TENSORPATCH_DONE);
}

TEST(Applier, IgnoresUnknownOptionalFlags) {
  BundleSpec spec = small_spec();
  spec.edit_statement = [](Bytes& statement) {
    wire::write_u32(statement.data() + format::header::kOptionalFlags, 0xFFFFFFFFu);
  };
  MemoryDevice device(old_files(spec), kPlace);
  EXPECT_EQ(TestApplier(device, setup_one()).apply(build_bundle(spec).bytes), TENSORPATCH_DONE);
}

TEST(Applier, ThresholdCountsDifferentKeys) {
  BundleSpec spec = small_spec();
  spec.signers = {1, 2, 9};  // 9 is nobody's
  const Bytes bundle = build_bundle(spec).bytes;
  const TestKey two(2);
  const TestKey three(3);
  ApplySetup setup;
  setup.ring = {key_one().entry(), two.entry(), three.entry()};
  for (const uint32_t threshold : {1u, 2u, 3u}) {
    setup.threshold = threshold;
    MemoryDevice device(old_files(spec), kPlace);
    EXPECT_EQ(TestApplier(device, setup).apply(bundle, 1),
              threshold <= 2 ? TENSORPATCH_DONE : TENSORPATCH_E_UNTRUSTED);
    EXPECT_EQ(device.untouched(), threshold > 2);
  }
}

TEST(Applier, SkipsLargeSignaturesByUnknownKeys) {
  BundleSpec spec = small_spec();
  spec.edit_signatures = [](std::vector<SignatureSpec>& signatures) {
    SignatureSpec large;
    large.algorithm = TENSORPATCH_ML_DSA;
    large.key.fill(7);
    large.signature = noise(3309, 5);
    signatures.insert(signatures.begin(), large);
  };
  MemoryDevice device(old_files(spec), kPlace);
  EXPECT_EQ(TestApplier(device, setup_one()).apply(build_bundle(spec).bytes, 100),
            TENSORPATCH_DONE);
}

// Each argument that init must refuse.
TEST(Applier, InitRefusesWhatItCannotWorkWith) {
  MemoryDevice device({Bytes{}}, kPlace);
  const tensorpatch_key ring[] = {key_one().entry()};
  tensorpatch_options options{};
  options.keys = ring;
  options.key_count = 1;
  options.threshold = 1;
  alignas(8) static uint8_t workspace[4096];
  tensorpatch_applier applier;
  const auto init = [&](const tensorpatch_ports& ports, const tensorpatch_options& with) {
    return tensorpatch_apply_init(&applier, workspace, sizeof workspace, &ports, &with);
  };
  const tensorpatch_ports ports = device.ports();
  ASSERT_EQ(init(ports, options), TENSORPATCH_OK);

  const auto refuses_ports = [&](void (*change)(tensorpatch_ports&)) {
    tensorpatch_ports changed = ports;
    change(changed);
    return init(changed, options) == TENSORPATCH_E_ARGUMENT;
  };
  EXPECT_TRUE(refuses_ports([](tensorpatch_ports& p) { p.hash.init = nullptr; }));
  EXPECT_TRUE(refuses_ports([](tensorpatch_ports& p) { p.hash.update = nullptr; }));
  EXPECT_TRUE(refuses_ports([](tensorpatch_ports& p) { p.hash.finish = nullptr; }));
  EXPECT_TRUE(refuses_ports([](tensorpatch_ports& p) { p.verify = nullptr; }));
  EXPECT_TRUE(refuses_ports([](tensorpatch_ports& p) { p.read_old = nullptr; }));
  EXPECT_TRUE(refuses_ports([](tensorpatch_ports& p) { p.read_new = nullptr; }));

  const auto refuses_options = [&](void (*change)(tensorpatch_options&)) {
    tensorpatch_options changed = options;
    change(changed);
    return init(ports, changed) == TENSORPATCH_E_ARGUMENT;
  };
  EXPECT_TRUE(refuses_options([](tensorpatch_options& o) { o.threshold = 0; }));
  EXPECT_TRUE(refuses_options([](tensorpatch_options& o) { o.keys = nullptr; }));
  EXPECT_TRUE(refuses_options([](tensorpatch_options& o) { o.codec_count = 1; }));

  tensorpatch_key odd = key_one().entry();
  odd.algorithm = TENSORPATCH_ML_DSA;
  tensorpatch_options with_odd = options;
  with_odd.keys = &odd;
  EXPECT_EQ(init(ports, with_odd), TENSORPATCH_E_ARGUMENT);

  EXPECT_EQ(tensorpatch_apply_init(nullptr, workspace, 4096, &ports, &options),
            TENSORPATCH_E_ARGUMENT);
  EXPECT_EQ(tensorpatch_apply_init(&applier, nullptr, 4096, &ports, &options),
            TENSORPATCH_E_ARGUMENT);
  EXPECT_EQ(tensorpatch_apply_init(&applier, workspace + 4, 4000, &ports, &options),
            TENSORPATCH_E_ARGUMENT);
  EXPECT_EQ(tensorpatch_apply_init(&applier, workspace, 4096, nullptr, &options),
            TENSORPATCH_E_ARGUMENT);
  EXPECT_EQ(tensorpatch_apply_init(&applier, workspace, 4096, &ports, nullptr),
            TENSORPATCH_E_ARGUMENT);

  // After a failed init, and in memory that init never saw, the applier cannot be used.
  size_t consumed = 0;
  EXPECT_EQ(tensorpatch_apply_push(&applier, workspace, 1, &consumed), TENSORPATCH_E_STATE);
  EXPECT_EQ(tensorpatch_apply_finish(&applier), TENSORPATCH_E_STATE);
  EXPECT_EQ(tensorpatch_apply_resume(&applier, Record{}.data()), TENSORPATCH_E_STATE);
}

TEST(Applier, PushRefusesNullPointers) {
  MemoryDevice device({Bytes{}}, kPlace);
  TestApplier applier(device, setup_one());
  size_t consumed = 0;
  EXPECT_EQ(tensorpatch_apply_push(nullptr, nullptr, 0, &consumed), TENSORPATCH_E_ARGUMENT);
  EXPECT_EQ(tensorpatch_apply_push(applier.get(), nullptr, 1, &consumed), TENSORPATCH_E_ARGUMENT);
  EXPECT_EQ(tensorpatch_apply_push(applier.get(), nullptr, 0, nullptr), TENSORPATCH_E_ARGUMENT);
  EXPECT_EQ(tensorpatch_apply_push(applier.get(), nullptr, 0, &consumed), TENSORPATCH_MORE);
  EXPECT_EQ(tensorpatch_apply_finish(applier.get()), TENSORPATCH_E_TRUNCATED);
}

TEST(Status, EveryCodeHasATextOfItsOwn) {
  std::set<std::string> texts;
  const int codes[] = {0,   1,   2,   3,   16,  17,  18,  32,  33,  34,  35, 36, 48,
                       49,  50,  51,  52,  53,  64,  80,  81,  96,  97,  98, 99, 100,
                       101, 102, 103, 128, 129, 130, 131, 132, 133, 134, 135};
  for (const int code : codes) {
    const char* text = tensorpatch_status_text(static_cast<tensorpatch_status>(code));
    ASSERT_NE(text, nullptr);
    EXPECT_TRUE(texts.insert(text).second) << text;
    EXPECT_STRNE(text, "unknown status") << code;
  }
  EXPECT_STREQ(tensorpatch_status_text(TENSORPATCH_E_OLD), "wrong old file");
  EXPECT_STREQ(tensorpatch_status_text(static_cast<tensorpatch_status>(200)), "unknown status");
}

}  // namespace
}  // namespace tensorpatch::test
