// bundle_head_test.cc: the head is cut out of a stream of any bite size, and checkpoints are found.
// SPDX-License-Identifier: Apache-2.0
#include "toolkit/bundle_head.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "apply/wire.h"
#include "bundle/bundle_writer.h"

namespace tensorpatch::toolkit {
namespace {

class Collector : public base::Sink {
 public:
  Result<void> write(base::Bytes data) override {
    bytes.insert(bytes.end(), data.begin(), data.end());
    return {};
  }
  std::vector<uint8_t> bytes;
};

constexpr uint32_t kBlockSize = 256;

// Two components: patches of 1 block and of several.
std::vector<uint8_t> make_bundle() {
  static const std::vector<uint8_t> kSmall(100, 1);
  static const std::vector<uint8_t> kLarge(1000, 2);
  bundle::Statement statement;
  statement.limits = {kBlockSize, 4096, 256, 64, 8, 1, 0, 8, 0, 0, 0};
  statement.components.resize(2);
  for (auto& component : statement.components) component.new_size = 5000;
  bundle::Manifest manifest;
  manifest.components = {{"a", 0}, {"b", 0}};
  auto writer = bundle::BundleWriter::prepare(statement, manifest, {kSmall, kLarge});
  EXPECT_TRUE(writer) << writer.error().message;
  Collector sink;
  EXPECT_TRUE(writer->write({}, sink));
  return sink.bytes;
}

CheckpointRecord record_at(uint16_t component, uint64_t block) {
  CheckpointRecord record{};
  wire::write_u16(record.data() + format::checkpoint::kComponentAt, component);
  wire::write_u64(record.data() + format::checkpoint::kBlockIndexAt, block);
  return record;
}

TEST(BundleHead, IsCutOutWhateverTheBites) {
  const std::vector<uint8_t> bundle = make_bundle();
  BundleHead whole;
  whole.take(bundle);
  ASSERT_TRUE(whole.is_complete());
  for (const size_t bite : {size_t{1}, size_t{7}, size_t{144}, size_t{1000}}) {
    BundleHead head;
    for (size_t offset = 0; offset < bundle.size(); offset += bite) {
      head.take(base::Bytes(bundle).subspan(offset, std::min(bite, bundle.size() - offset)));
    }
    ASSERT_TRUE(head.is_complete());
    EXPECT_TRUE(std::ranges::equal(head.bytes(), whole.bytes()));
  }
  const auto manifest = whole.manifest();
  ASSERT_TRUE(manifest);
  EXPECT_EQ(manifest->components[1].name, "b");
}

TEST(BundleHead, FindsTheBlockOfACheckpoint) {
  const std::vector<uint8_t> bundle = make_bundle();
  BundleHead head;
  head.take(bundle);
  const uint64_t first = head.bytes().size();
  const auto offset = [&](uint16_t component, uint64_t block) {
    const auto result = head.offset_of(record_at(component, block));
    return result ? *result : 0;
  };
  EXPECT_EQ(offset(0, 0), first);
  EXPECT_EQ(offset(1, 0), first + 100);
  EXPECT_EQ(offset(1, 3), first + 100 + 3 * kBlockSize);
  EXPECT_EQ(offset(0, 1), 0u);  // there is no such block
  EXPECT_EQ(offset(1, 99), 0u);
  EXPECT_EQ(offset(2, 0), 0u);
}

TEST(BundleHead, NeverKeepsMuch) {
  std::vector<uint8_t> nonsense(1 << 20, 0xFF);
  BundleHead head;
  head.take(nonsense);
  EXPECT_LE(head.bytes().size(), size_t{16} + 3 * 65536);
  EXPECT_FALSE(head.statement());
  EXPECT_FALSE(head.manifest());
  EXPECT_FALSE(head.offset_of({}));
}

}  // namespace
}  // namespace tensorpatch::toolkit
