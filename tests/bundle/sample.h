// tests/bundle/sample.h: a small statement, and bundles in memory.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "bundle/bundle_writer.h"
#include "keys/rfc8032.h"

namespace tensorpatch::test {

class MemorySink : public base::Sink {
 public:
  Result<void> write(base::Bytes data) override {
    bytes.insert(bytes.end(), data.begin(), data.end());
    return {};
  }
  std::vector<uint8_t> bytes;
};

// Fails at the n-th write, counted from 0.
class FailingSink : public base::Sink {
 public:
  explicit FailingSink(int fail_at) : left_(fail_at) {}
  Result<void> write(base::Bytes) override {
    if (left_-- == 0) return fail(TENSORPATCH_E_IO, "full");
    return {};
  }

 private:
  int left_;
};

inline constexpr PatchLimits kSmallLimits = {
    .block_size = 256,
    .restart_interval = 4096,
    .erase_size = 1024,
    .write_size = 64,
    .history_log2 = 9,
    .value_slots = 1,
    .value_level = 0,
    .byte_cells_log2 = 8,
    .match_log2 = 6,
    .zstd_window_log2 = 0,
    .column_log2 = 6,
};

inline std::vector<uint8_t> pattern(size_t size) {
  std::vector<uint8_t> bytes(size);
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<uint8_t>(i * 7 + i / 251);
  return bytes;
}

inline bundle::Statement small_statement() {
  bundle::Statement statement;
  statement.limits = kSmallLimits;
  statement.sequence = 7;
  statement.components.resize(1);
  statement.components[0].old_size = 100;
  statement.components[0].new_size = 200;
  statement.components[0].old_digest.fill(0xAA);
  statement.components[0].new_digest.fill(0xBB);
  return statement;
}

// A writer over one patch; `patch` must outlive it.
inline bundle::BundleWriter prepare_small(base::Bytes patch) {
  bundle::Statement statement = small_statement();
  if (patch.empty()) statement.components[0].new_size = 0;
  bundle::Manifest manifest;
  manifest.components.resize(1);
  manifest.version = "2";
  auto writer = bundle::BundleWriter::prepare(statement, manifest, {patch});
  EXPECT_TRUE(writer) << writer.error().message;
  return std::move(*writer);
}

inline std::vector<uint8_t> write_bundle(const bundle::BundleWriter& writer,
                                         const std::vector<keys::Signature>& signatures) {
  MemorySink sink;
  const auto written = writer.write(signatures, sink);
  EXPECT_TRUE(written) << written.error().message;
  EXPECT_EQ(sink.bytes.size(), writer.bundle_size(signatures));
  return sink.bytes;
}

inline keys::PrivateKey fixed_key() {
  return std::move(
      keys::PrivateKey::parse(kPrivatePem, []() -> Result<std::string> { return ""; }).value());
}

inline keys::Signature sign(const keys::PrivateKey& key, const bundle::BundleWriter& writer) {
  return key.sign(bundle::dsse_message(writer.statement_bytes()));
}

}  // namespace tensorpatch::test
