// manifest_test.cc: the manifest's bytes, its size, its limits.
// SPDX-License-Identifier: Apache-2.0
#include "bundle/manifest.h"

#include <gtest/gtest.h>

#include "bundle/sample.h"
#include "bundle_generated.h"

namespace tensorpatch::bundle {
namespace {

Manifest default_manifest() {
  Manifest manifest;
  manifest.components.resize(1);
  manifest.components[0].old_reads = 123456789;
  manifest.tool = "tensorpatch 0.1.0";
  return manifest;
}

Manifest full_manifest() {
  Manifest manifest = default_manifest();
  manifest.components.push_back({.name = "labels.txt", .old_reads = 0});
  manifest.components.push_back({.name = "0", .old_reads = UINT64_MAX});
  manifest.version = "2.4.1-β";
  manifest.meta = {{"commit", "0123abc"}, {"a.b_c-d", ""}, {"note", "grüße"}};
  manifest.compatibility = {"tflite-micro >= 2024-03", "board rev B"};
  manifest.details_digest.emplace().fill(0x5A);
  manifest.time_ms = 0;
  manifest.energy_mj = 77;
  return manifest;
}

TEST(Manifest, EverythingComesBack) {
  for (const Manifest& manifest : {default_manifest(), full_manifest()}) {
    const auto bytes = write_manifest(manifest);
    ASSERT_TRUE(bytes) << bytes.error().message;
    const auto read = read_manifest(*bytes);
    ASSERT_TRUE(read) << read.error().message;
    EXPECT_EQ(*read, manifest);
  }
}

TEST(Manifest, DefaultIsSmall) {
  const auto bytes = write_manifest(default_manifest()).value();
  EXPECT_LE(bytes.size(), 100u);
}

TEST(Manifest, SaysNothingInNoBytes) {
  Manifest manifest;
  manifest.components.resize(1);
  EXPECT_TRUE(says_nothing(manifest));
  EXPECT_EQ(write_manifest(manifest).value().size(), 0u);
  EXPECT_EQ(read_manifest({}).value(), manifest);
  manifest.components[0].name = "labels";
  EXPECT_FALSE(says_nothing(manifest));
  EXPECT_GT(write_manifest(manifest).value().size(), 0u);
}

// Written down once and compared with the layout of FlatBuffers by hand.
TEST(Manifest, BytesStayTheSame) {
  const std::string expected =
      "0c000000"          // the root table is at 12
      "08000c0004000800"  // its vtable: components, tool; nothing behind them
      "08000000"
      "20000000"
      "04000000"  // the root table: where both are
      "11000000"
      "74656e736f7270617463682030"
      "2e312e30"
      "000000"  // tool
      "01000000"
      "0c000000"  // one component, at 64
      "08001400"
      "04000800"  // its vtable: name, old_reads
      "08000000"
      "10000000"
      "15cd5b0700000000"
      "00000000"
      "05000000"
      "6d6f64656c"
      "000000";  // name
  EXPECT_EQ(test::to_hex(write_manifest(default_manifest()).value()), expected);
}

TEST(Manifest, ReadsWhereverItStarts) {
  const auto bytes = write_manifest(full_manifest()).value();
  for (size_t shift = 0; shift < 8; ++shift) {
    std::vector<uint8_t> shifted(shift);
    shifted.insert(shifted.end(), bytes.begin(), bytes.end());
    const auto read = read_manifest(base::Bytes(shifted).subspan(shift));
    ASSERT_TRUE(read);
    EXPECT_EQ(*read, full_manifest());
  }
}

TEST(Manifest, WriterRefuses) {
  const auto status = [](auto change) {
    Manifest manifest = full_manifest();
    change(manifest);
    const auto bytes = write_manifest(manifest);
    return bytes ? TENSORPATCH_OK : bytes.error().code;
  };
  EXPECT_EQ(status([](Manifest&) {}), TENSORPATCH_OK);
  EXPECT_EQ(status([](Manifest& m) { m.components.clear(); }), TENSORPATCH_E_USAGE);
  EXPECT_EQ(status([](Manifest& m) { m.components.resize(7); }), TENSORPATCH_E_USAGE);
  EXPECT_EQ(status([](Manifest& m) { m.components[1].name = "model"; }), TENSORPATCH_E_USAGE);
  EXPECT_EQ(status([](Manifest& m) { m.components[1].name = "../x"; }), TENSORPATCH_E_USAGE);
  EXPECT_EQ(status([](Manifest& m) { m.version = "\x1b[31m"; }), TENSORPATCH_E_USAGE);
  EXPECT_EQ(status([](Manifest& m) { m.version = "\xc2\x9b"; }), TENSORPATCH_E_USAGE);
  EXPECT_EQ(status([](Manifest& m) { m.version = "\xc3"; }), TENSORPATCH_E_USAGE);
  EXPECT_EQ(status([](Manifest& m) { m.version = std::string("a\0b", 3); }), TENSORPATCH_E_USAGE);
  EXPECT_EQ(status([](Manifest& m) { m.tool = std::string(256, 'x'); }), TENSORPATCH_E_USAGE);
  EXPECT_EQ(status([](Manifest& m) { m.meta["Key"] = "x"; }), TENSORPATCH_E_USAGE);
  EXPECT_EQ(status([](Manifest& m) { m.meta["k"] = std::string(4096, 'x'); }), TENSORPATCH_OK);
  EXPECT_EQ(status([](Manifest& m) { m.meta["k"] = std::string(4097, 'x'); }), TENSORPATCH_E_USAGE);
  EXPECT_EQ(status([](Manifest& m) { m.compatibility.emplace_back(); }), TENSORPATCH_E_USAGE);
  EXPECT_EQ(status([](Manifest& m) {
              for (int i = 0; i < 16; ++i) m.meta["k" + std::to_string(i)] = std::string(4096, 'x');
            }),
            TENSORPATCH_E_LIMIT);
}

using Builder = flatbuffers::FlatBufferBuilder;

std::vector<uint8_t> bytes_of(const Builder& builder) {
  return {builder.GetBufferPointer(), builder.GetBufferPointer() + builder.GetSize()};
}

TEST(Manifest, ReaderRefusesKeysThatDoNotAscend) {
  for (const auto& [first, second] :
       {std::pair("b", "a"), std::pair("a", "a"), std::pair("a", "b")}) {
    Builder builder;
    const auto component = fbs::CreateManifestComponent(builder, builder.CreateString("model"));
    const auto components = builder.CreateVector(&component, 1);
    const auto value = builder.CreateString("v");
    const flatbuffers::Offset<fbs::Meta> entries[] = {
        fbs::CreateMeta(builder, builder.CreateString(first), value),
        fbs::CreateMeta(builder, builder.CreateString(second), value)};
    const auto meta = builder.CreateVector(entries, 2);
    builder.Finish(fbs::CreateManifest(builder, components, 0, 0, meta));
    EXPECT_EQ(read_manifest(bytes_of(builder)).has_value(), std::string(first) < second);
  }
}

TEST(Manifest, ReaderRefusesOneStringUsedManyTimes) {
  Builder builder;
  const auto name = builder.CreateString(std::string(30000, 'x'));
  const std::vector<flatbuffers::Offset<flatbuffers::String>> texts(5000, name);
  const auto component = fbs::CreateManifestComponent(builder, builder.CreateString("model"));
  const auto components = builder.CreateVector(&component, 1);
  const auto compatibility = builder.CreateVector(texts);
  builder.Finish(fbs::CreateManifest(builder, components, 0, 0, 0, compatibility));
  const auto read = read_manifest(bytes_of(builder));
  ASSERT_FALSE(read);
  EXPECT_NE(read.error().message.find("strings overlap"), std::string::npos)
      << read.error().message;
}

TEST(Manifest, DamagedBytesNeverCrash) {
  const auto bytes = write_manifest(full_manifest()).value();
  for (size_t size = 0; size < bytes.size(); ++size) {
    (void)read_manifest(base::Bytes(bytes).first(size));
  }
  size_t refused = 0;
  for (size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    std::vector<uint8_t> damaged = bytes;
    damaged[bit / 8] = static_cast<uint8_t>(damaged[bit / 8] ^ 1u << bit % 8);
    refused += read_manifest(damaged) ? 0u : 1u;
  }
  EXPECT_GT(refused, bytes.size());
  EXPECT_FALSE(read_manifest(std::vector<uint8_t>(1)));
  EXPECT_FALSE(read_manifest(std::vector<uint8_t>(format::kMaxManifestSize + 1)));
}

TEST(Manifest, ComponentNames) {
  for (const char* good : {"a", "0", "model", "a.b_c-d", "0123456789abcdef0123456789abcdef"}) {
    EXPECT_TRUE(valid_component_name(good)) << good;
  }
  for (const char* bad :
       {"", ".a", "-a", "_a", "A", "a b", "a/b", "ä", "0123456789abcdef0123456789abcdef0"}) {
    EXPECT_FALSE(valid_component_name(bad)) << bad;
  }
}

TEST(Manifest, ContractAddsUpStatementAndManifest) {
  Statement statement = test::small_statement();  // old 100, new 200; erase 1,024, write 64
  statement.components.push_back(statement.components[0]);
  statement.components[1].old_size = 10;
  statement.components[1].new_size = 1024;
  Manifest manifest;
  manifest.components.resize(2);
  manifest.components[0].old_reads = 50;
  manifest.time_ms = 9;
  const ResourceContract sum = contract(statement, manifest);
  EXPECT_EQ(sum.workspace, workspace_size(statement.limits));
  EXPECT_EQ(sum.flash_written, 256u + 1024u);
  EXPECT_EQ(sum.flash_erased, 1024u + 1024u);
  EXPECT_EQ(sum.new_reads, 200u + 1024u);
  EXPECT_EQ(sum.old_reads, 100u + 10u + 50u);
  EXPECT_EQ(sum.time_ms, 9u);
  EXPECT_FALSE(sum.energy_mj);
  statement.components[1].new_size = UINT64_MAX;
  EXPECT_EQ(contract(statement, manifest).flash_written, UINT64_MAX);
}

}  // namespace
}  // namespace tensorpatch::bundle
