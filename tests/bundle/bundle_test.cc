// bundle_test.cc: bundles written and read: the block chain, signatures, refusals, damage.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <functional>

#include "apply/wire.h"
#include "bundle/bundle_reader.h"
#include "bundle/bundle_writer.h"
#include "bundle/sample.h"

namespace tensorpatch::bundle {
namespace {

constexpr size_t kBlock = 256;
constexpr size_t kRecord = format::kSignatureHeaderSize + 64;

using Buffer = std::vector<uint8_t>;

size_t signatures_at(const Buffer& bundle) {
  return format::kPrefixSize + wire::read_u16(&bundle[format::kPrefixStatementSize]);
}

Buffer concatenate(std::initializer_list<base::Bytes> parts) {
  Buffer all;
  for (const base::Bytes part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

tensorpatch_status open_status(base::Bytes bundle) {
  const auto reader = BundleReader::open(bundle);
  return reader ? TENSORPATCH_OK : reader.error().code;
}

// Whether a reader would say that all is well.
bool is_valid(base::Bytes bundle, const keys::PublicKey& key) {
  const auto reader = BundleReader::open(bundle);
  return reader && reader->verify_signatures({&key, 1}, 1) && reader->verify_blocks();
}

Buffer signed_bundle(base::Bytes patch) {
  const BundleWriter writer = test::prepare_small(patch);
  return test::write_bundle(writer, {test::sign(test::fixed_key(), writer)});
}

TEST(Bundle, EveryByteIsWhereTheSpecificationSays) {
  const Buffer patch = test::pattern(2 * kBlock);  // blocks of 256, 256 and 64 bytes
  const Buffer last(patch.begin() + 448, patch.end());
  const Digest last_digest = sha256(last);
  const Buffer middle = concatenate({last_digest, base::Bytes(patch).subspan(224, 224)});
  const Digest middle_digest = sha256(middle);
  const Buffer first = concatenate({middle_digest, base::Bytes(patch).first(224)});

  const BundleWriter writer = test::prepare_small(patch);
  const keys::Signature signature = test::sign(test::fixed_key(), writer);
  Manifest manifest;
  manifest.components.resize(1);
  manifest.version = "2";
  const Buffer manifest_bytes = write_manifest(manifest).value();
  Statement statement = test::small_statement();
  statement.manifest_size = static_cast<uint32_t>(manifest_bytes.size());
  statement.manifest_digest = sha256(manifest_bytes);
  statement.components[0].patch_size = patch.size();
  statement.components[0].first_block = sha256(first);

  const Buffer stored = pack_statement(write_statement(statement).value());
  ASSERT_LT(stored.size(), 256u);
  const Buffer prefix = test::from_hex(
      "89545042"  // magic
      "0001"      // version 0.1
      + test::to_hex(Buffer{static_cast<uint8_t>(stored.size())}) +
      "00"                                              // stored size of the statement
      "4b00");                                          // signatures size 75
  const Buffer record_head = test::from_hex("014000");  // Ed25519, 64 bytes
  const Buffer expected = concatenate({prefix, stored, record_head, signature.key, signature.bytes,
                                       manifest_bytes, first, middle, last});
  EXPECT_EQ(test::to_hex(test::write_bundle(writer, {signature})), test::to_hex(expected));
}

TEST(Bundle, PatchesOfEverySizeComeBack) {
  for (const size_t size :
       {size_t{0}, size_t{1}, kBlock - 1, kBlock, kBlock + 1, 2 * kBlock - 33, 2 * kBlock - 32,
        2 * kBlock - 31, 2 * kBlock, 3 * kBlock - 64, 3 * kBlock - 63, size_t{1'000'003}}) {
    SCOPED_TRACE(size);
    const Buffer patch = test::pattern(size);
    const Buffer bundle = signed_bundle(patch);
    const auto reader = BundleReader::open(bundle);
    ASSERT_TRUE(reader) << reader.error().message;
    test::MemorySink sink;
    ASSERT_TRUE(reader->read_patch(0, sink));
    EXPECT_TRUE(sink.bytes == patch);
    EXPECT_TRUE(reader->verify_blocks());
    const uint64_t blocks = format::block_count(size, kBlock);
    EXPECT_EQ(blocks_size(size, kBlock).value(), size + 32 * (blocks == 0 ? 0 : blocks - 1));
  }
  EXPECT_FALSE(blocks_size(UINT64_MAX, kBlock));
}

TEST(Bundle, SixComponentsWithoutSignature) {
  std::vector<Buffer> patches;
  for (size_t i = 0; i < 6; ++i) patches.push_back(test::pattern(i * 300));
  Statement statement = test::small_statement();
  statement.components.resize(6, statement.components[0]);
  statement.components[0].new_size = 0;
  statement.components[3].flags = format::kComponentWhole;
  statement.components[3].old_size = 0;
  Manifest manifest;
  for (int i = 0; i < 6; ++i) {
    manifest.components.push_back({.name = "c" + std::to_string(i)});
  }
  const auto writer = BundleWriter::prepare(statement, manifest, {patches.begin(), patches.end()});
  ASSERT_TRUE(writer) << writer.error().message;
  const Buffer bundle = test::write_bundle(*writer, {});
  const auto reader = BundleReader::open(bundle);
  ASSERT_TRUE(reader) << reader.error().message;
  EXPECT_EQ(reader->manifest(), manifest);
  EXPECT_EQ(reader->statement().components, writer->statement().components);
  for (uint32_t i = 0; i < 6; ++i) {
    test::MemorySink sink;
    ASSERT_TRUE(reader->read_patch(i, sink));
    EXPECT_EQ(sink.bytes, patches[i]);
  }
  test::MemorySink sink;
  EXPECT_EQ(reader->read_patch(6, sink).error().code, TENSORPATCH_E_ARGUMENT);
  const keys::PublicKey key = test::fixed_key().public_key();
  EXPECT_EQ(reader->verify_signatures({&key, 1}, 1).error().code, TENSORPATCH_E_UNTRUSTED);
}

TEST(Bundle, PrepareRefusesWhatDoesNotGoTogether) {
  const Buffer patch = test::pattern(10);
  Manifest manifest;
  manifest.components.resize(1);
  const Statement good = test::small_statement();
  const auto status = [](const auto& writer) {
    return writer ? TENSORPATCH_OK : writer.error().code;
  };
  EXPECT_EQ(status(BundleWriter::prepare(good, manifest, {patch})), TENSORPATCH_OK);
  EXPECT_EQ(status(BundleWriter::prepare(good, manifest, {})), TENSORPATCH_E_ARGUMENT);
  EXPECT_EQ(status(BundleWriter::prepare(good, manifest, {patch, patch})), TENSORPATCH_E_ARGUMENT);
  EXPECT_EQ(status(BundleWriter::prepare(good, Manifest{}, {patch})), TENSORPATCH_E_ARGUMENT);
  EXPECT_EQ(status(BundleWriter::prepare(good, manifest, {base::Bytes()})), TENSORPATCH_E_FORMAT);
  Statement no_limits = good;
  no_limits.limits.block_size = 0;
  EXPECT_EQ(status(BundleWriter::prepare(no_limits, manifest, {patch})), TENSORPATCH_E_ARGUMENT);
}

TEST(Bundle, EveryFailedWriteIsReported) {
  const Buffer patch = test::pattern(3 * kBlock);
  const BundleWriter writer = test::prepare_small(patch);
  int failures = 0;
  for (;; ++failures) {
    test::FailingSink sink(failures);
    const auto written = writer.write({}, sink);
    if (written) break;
    EXPECT_EQ(written.error().code, TENSORPATCH_E_IO);
  }
  EXPECT_GE(failures, 6);
}

TEST(Bundle, SignaturesCountOnceByTheRing) {
  const Buffer patch = test::pattern(300);
  const BundleWriter writer = test::prepare_small(patch);
  const keys::PrivateKey a = test::fixed_key();
  const keys::PrivateKey b = keys::PrivateKey::generate().value();
  const keys::PrivateKey c = keys::PrivateKey::generate().value();
  const Buffer bundle = test::write_bundle(writer, {test::sign(a, writer), test::sign(b, writer)});
  const auto reader = BundleReader::open(bundle);
  ASSERT_TRUE(reader) << reader.error().message;
  const auto check = [&](std::vector<keys::PublicKey> ring, uint32_t threshold) {
    return reader->verify_signatures(ring, threshold);
  };
  const auto only_a = check({a.public_key(), c.public_key()}, 1);
  ASSERT_TRUE(only_a) << only_a.error().message;
  EXPECT_EQ(only_a->valid, std::vector<Digest>{a.public_key().id});
  EXPECT_EQ(only_a->unknown, std::vector{keys::hint_of(b.public_key())});
  EXPECT_EQ(check({a.public_key(), b.public_key()}, 2).value().valid.size(), 2u);
  EXPECT_EQ(check({a.public_key(), a.public_key()}, 2).error().code, TENSORPATCH_E_UNTRUSTED);
  EXPECT_EQ(check({a.public_key(), b.public_key()}, 3).error().code, TENSORPATCH_E_UNTRUSTED);
  EXPECT_EQ(check({c.public_key()}, 1).error().code, TENSORPATCH_E_UNTRUSTED);
  EXPECT_EQ(check({}, 1).error().code, TENSORPATCH_E_UNTRUSTED);
  EXPECT_EQ(check({a.public_key()}, 0).error().code, TENSORPATCH_E_ARGUMENT);
}

TEST(Bundle, WrongSignatureOfAKnownKeyIsRefusedDespiteOthers) {
  const Buffer patch = test::pattern(300);
  const BundleWriter writer = test::prepare_small(patch);
  const keys::PrivateKey a = test::fixed_key();
  const keys::PrivateKey b = keys::PrivateKey::generate().value();
  const auto status = [&](const std::function<void(keys::Signature&)>& change) {
    keys::Signature signature = test::sign(b, writer);
    change(signature);
    const Buffer bundle = test::write_bundle(writer, {test::sign(a, writer), signature});
    const std::vector<keys::PublicKey> ring = {a.public_key(), b.public_key()};
    const auto report = BundleReader::open(bundle).value().verify_signatures(ring, 1);
    return report ? TENSORPATCH_OK : report.error().code;
  };
  EXPECT_EQ(status([](keys::Signature&) {}), TENSORPATCH_OK);
  EXPECT_EQ(status([](keys::Signature& s) { s.bytes[10] ^= 1; }), TENSORPATCH_E_SIGNATURE);
  EXPECT_EQ(status([](keys::Signature& s) { s.bytes.pop_back(); }), TENSORPATCH_E_SIGNATURE);
  EXPECT_EQ(status([](keys::Signature& s) { s.bytes.clear(); }), TENSORPATCH_E_SIGNATURE);
  EXPECT_EQ(status([](keys::Signature& s) { s.algorithm = 2; }), TENSORPATCH_E_SIGNATURE);
}

TEST(Bundle, ReplacedSignaturesLeaveTheIdentityAndTheRest) {
  const Buffer patch = test::pattern(1000);
  const Buffer before = signed_bundle(patch);
  const auto old_reader = BundleReader::open(before);
  ASSERT_TRUE(old_reader);
  const keys::PrivateKey key = keys::PrivateKey::generate().value();
  std::vector<keys::Signature> signatures = old_reader->signatures();
  ASSERT_TRUE(add_signature(signatures, key.sign(dsse_message(old_reader->statement_bytes()))));
  test::MemorySink sink;
  ASSERT_TRUE(replace_signatures(*old_reader, signatures, sink));
  const auto reader = BundleReader::open(sink.bytes);
  ASSERT_TRUE(reader) << reader.error().message;
  EXPECT_EQ(reader->identity(), old_reader->identity());
  const std::vector<keys::PublicKey> ring = {test::fixed_key().public_key(), key.public_key()};
  EXPECT_TRUE(reader->verify_signatures(ring, 2));
  EXPECT_TRUE(reader->verify_blocks());
  EXPECT_EQ(sink.bytes.size(), before.size() + kRecord);

  test::MemorySink back;  // and taken off again
  signatures.pop_back();
  ASSERT_TRUE(replace_signatures(*reader, signatures, back));
  EXPECT_EQ(back.bytes, before);
}

TEST(Bundle, AddSignatureReplacesAKeysOwnAndStopsAtEight) {
  std::vector<keys::Signature> signatures;
  for (uint8_t i = 0; i < 8; ++i) {
    keys::Signature signature;
    signature.key.fill(i);
    ASSERT_TRUE(add_signature(signatures, signature));
  }
  keys::Signature again;
  again.key.fill(3);
  again.bytes = {1, 2, 3};
  ASSERT_TRUE(add_signature(signatures, again));
  EXPECT_EQ(signatures.size(), 8u);
  EXPECT_EQ(signatures[3].bytes, again.bytes);
  keys::Signature ninth;
  ninth.key.fill(9);
  EXPECT_EQ(add_signature(signatures, ninth).error().code, TENSORPATCH_E_LIMIT);

  const Buffer patch = test::pattern(10);
  const BundleWriter writer = test::prepare_small(patch);
  test::MemorySink sink;
  signatures[1] = signatures[0];
  EXPECT_EQ(writer.write(signatures, sink).error().code, TENSORPATCH_E_ARGUMENT);
  signatures.resize(2);
  signatures[1].key.fill(1);
  signatures[1].bytes.resize(65525);
  EXPECT_EQ(writer.write(signatures, sink).error().code, TENSORPATCH_E_LIMIT);
  signatures.resize(9);
  EXPECT_EQ(writer.write(signatures, sink).error().code, TENSORPATCH_E_LIMIT);
  EXPECT_TRUE(sink.bytes.empty());
}

// A bundle of one component and two signatures by unknown keys, changed.
tensorpatch_status changed(const std::function<void(Buffer&)>& change) {
  const Buffer patch = test::pattern(600);
  const BundleWriter writer = test::prepare_small(patch);
  std::vector<keys::Signature> signatures(2);
  for (auto& signature : signatures) signature.bytes.resize(64);
  signatures[1].key.fill(1);
  Buffer bundle = test::write_bundle(writer, signatures);
  change(bundle);
  return open_status(bundle);
}

TEST(Bundle, MalformedPrefixAndSectionsAreRefused) {
  const auto put = [](size_t offset, uint8_t value) {
    return [=](Buffer& b) { b[offset] = value; };
  };
  const auto put_behind = [](size_t offset, uint8_t value) {  // from the signatures on
    return [=](Buffer& b) { b[signatures_at(b) + offset] = value; };
  };
  EXPECT_EQ(changed([](Buffer&) {}), TENSORPATCH_OK);
  EXPECT_EQ(changed(put(0, 0x88)), TENSORPATCH_E_FORMAT);                   // bad-magic
  EXPECT_EQ(changed(put(format::kPrefixMajor, 1)), TENSORPATCH_E_VERSION);  // major-version
  EXPECT_EQ(changed(put(format::kPrefixMinor, 2)), TENSORPATCH_E_FORMAT);   // version-mismatch
  for (const size_t size : {0u, 1u, 64u, 255u, 400u}) {                     // statement-size
    EXPECT_EQ(changed([=](Buffer& b) {
                wire::write_u16(&b[format::kPrefixStatementSize], static_cast<uint16_t>(size));
              }),
              TENSORPATCH_E_FORMAT)
        << size;
  }
  // signature-size: a record that reaches beyond the section, one that ends before it.
  EXPECT_EQ(changed(put_behind(1, 65)), TENSORPATCH_E_FORMAT);
  EXPECT_EQ(changed(put_behind(kRecord + 1, 63)), TENSORPATCH_E_FORMAT);
  EXPECT_EQ(changed(put_behind(kRecord + 1, 65)), TENSORPATCH_E_FORMAT);
  EXPECT_EQ(changed([](Buffer& b) {  // signature-twice
              std::fill_n(&b[signatures_at(b) + kRecord + 3], format::kKeyHintSize, uint8_t{0});
            }),
            TENSORPATCH_E_FORMAT);
  EXPECT_EQ(changed(put_behind(2 * kRecord, 0x55)), TENSORPATCH_E_DIGEST);  // manifest
  EXPECT_EQ(changed([](Buffer& b) { b.push_back(0); }), TENSORPATCH_E_TRAILING);
  EXPECT_EQ(changed([](Buffer& b) { b.pop_back(); }), TENSORPATCH_E_TRUNCATED);
  EXPECT_EQ(changed([](Buffer& b) { b.resize(3); }), TENSORPATCH_E_TRUNCATED);
}

TEST(Bundle, NineSignaturesAreRefused) {
  const Buffer patch = test::pattern(10);
  const BundleWriter writer = test::prepare_small(patch);
  Buffer bundle = test::write_bundle(writer, {});
  wire::write_u16(&bundle[format::kPrefixSignaturesSize], 9 * format::kSignatureHeaderSize);
  Buffer records;
  for (uint8_t i = 0; i < 9; ++i) {
    Buffer record(format::kSignatureHeaderSize, i);
    record[0] = 1;  // Ed25519
    wire::write_u16(&record[1], 0);
    records.insert(records.end(), record.begin(), record.end());
  }
  bundle.insert(bundle.begin() + static_cast<std::ptrdiff_t>(signatures_at(bundle)),
                records.begin(), records.end());
  const auto reader = BundleReader::open(bundle);
  ASSERT_FALSE(reader);
  EXPECT_EQ(reader.error().code, TENSORPATCH_E_FORMAT);
  EXPECT_NE(reader.error().message.find("more than 8"), std::string::npos);
}

TEST(Bundle, ChangedBlocksAreRefusedAndNothingOfThemIsGivenOut) {
  const Buffer patch = test::pattern(600);  // 224 + 224 + 152
  const Buffer bundle = signed_bundle(patch);
  const size_t blocks_at = bundle.size() - (600 + 64);
  const std::pair<size_t, size_t> cases[] = {{0, 0}, {255, 0}, {256, 224}, {512, 448}, {663, 448}};
  for (const auto& [offset, given_out] : cases) {
    SCOPED_TRACE(offset);
    Buffer damaged = bundle;
    damaged[blocks_at + offset] ^= 1;
    const auto reader = BundleReader::open(damaged);
    ASSERT_TRUE(reader);
    test::MemorySink sink;
    const auto read = reader->read_patch(0, sink);
    ASSERT_FALSE(read);
    EXPECT_EQ(read.error().code, TENSORPATCH_E_DIGEST);
    EXPECT_EQ(sink.bytes, Buffer(patch.begin(), patch.begin() + static_cast<long>(given_out)));
    EXPECT_EQ(reader->verify_blocks().error().code, TENSORPATCH_E_DIGEST);
  }
}

TEST(Bundle, EveryTruncationAndEveryBitFlipIsRefused) {
  const Buffer patch = test::pattern(300);
  const Buffer bundle = signed_bundle(patch);
  const keys::PublicKey key = test::fixed_key().public_key();
  ASSERT_TRUE(is_valid(bundle, key));
  for (size_t size = 0; size < bundle.size(); ++size) {
    ASSERT_EQ(open_status(base::Bytes(bundle).first(size)), TENSORPATCH_E_TRUNCATED) << size;
  }
  for (size_t bit = 0; bit < 8 * bundle.size(); ++bit) {
    Buffer damaged = bundle;
    damaged[bit / 8] = static_cast<uint8_t>(damaged[bit / 8] ^ 1u << bit % 8);
    ASSERT_FALSE(is_valid(damaged, key)) << "bit " << bit;
  }
}

}  // namespace
}  // namespace tensorpatch::bundle
