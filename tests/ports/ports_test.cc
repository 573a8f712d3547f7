// tests/ports/ports_test.cc: the ready-made callbacks, each by itself and in a whole update.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <zstd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <initializer_list>

#include "apply/codec.h"
#include "apply/format.h"
#include "support/bundle_builder.h"
#include "support/temp_folder.h"
#include "tensorpatch/ports/libcrypto.h"
#include "tensorpatch/ports/libsodium.h"
#include "tensorpatch/ports/posix.h"
#include "tensorpatch/ports/zstd.h"

namespace tensorpatch::test {
namespace {

std::string to_text(const Bytes& bytes) {
  return {bytes.begin(), bytes.end()};
}

Digest digest_with(const tensorpatch_hash_port& port, const Bytes& data, size_t bite) {
  Digest digest{};
  EXPECT_EQ(port.init(port.state), 0);
  for (size_t at = 0; at < data.size(); at += bite) {
    EXPECT_EQ(port.update(port.state, data.data() + at, std::min(bite, data.size() - at)), 0);
  }
  EXPECT_EQ(port.finish(port.state, digest.data()), 0);
  return digest;
}

// FIPS 180-4's example "abc".
constexpr Digest kAbc = {0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40,
                         0xde, 0x5d, 0xae, 0x22, 0x23, 0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17,
                         0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad};

TEST(HashPorts, BothAreSha256) {
  tensorpatch_libsodium_hash state;
  const tensorpatch_hash_port sodium = tensorpatch_libsodium_hash_port(&state);
  tensorpatch_hash_port crypto{};
  ASSERT_EQ(tensorpatch_libcrypto_hash_open(&crypto), 0);
  EXPECT_EQ(digest_with(sodium, {'a', 'b', 'c'}, 1), kAbc);
  EXPECT_EQ(digest_with(crypto, {'a', 'b', 'c'}, 1), kAbc);
  for (const size_t size : std::initializer_list<size_t>{0, 1, 55, 56, 64, 1000}) {
    const Bytes data = noise(size, 3);
    EXPECT_EQ(digest_with(sodium, data, 7), digest_with(crypto, data, 64));
  }
  tensorpatch_libcrypto_hash_close(&crypto);
  EXPECT_EQ(crypto.state, nullptr);
}

TEST(LibsodiumPort, VerifiesOnlyRightSignatures) {
  const TestKey key(1);
  const TestKey other(2);
  const Bytes statement = noise(256, 1);
  const Bytes message = framed_statement(statement);
  const Bytes right = sign_statement(statement, key).signature;
  const auto verify = [&](const tensorpatch_key& with, const Bytes& signature) {
    return tensorpatch_libsodium_verify(nullptr, &with, message.data(), message.size(),
                                        signature.data(), signature.size());
  };
  EXPECT_EQ(verify(key.entry(), right), 0);
  EXPECT_NE(verify(other.entry(), right), 0);
  Bytes wrong = right;
  wrong[63] ^= 1;
  EXPECT_NE(verify(key.entry(), wrong), 0);
  wrong = right;
  wrong.pop_back();
  EXPECT_NE(verify(key.entry(), wrong), 0);
  tensorpatch_key odd = key.entry();
  odd.algorithm = TENSORPATCH_ML_DSA;
  EXPECT_NE(verify(odd, right), 0);
  odd = key.entry();
  odd.public_key_size = 31;
  EXPECT_NE(verify(odd, right), 0);
}

class PosixPort : public ::testing::Test {
 protected:
  PosixPort() { tensorpatch_posix_init(&files_); }
  ~PosixPort() override { tensorpatch_posix_close(&files_); }

  std::string path(const std::string& name) const { return (folder_ / name).string(); }

  TempFolder folder_;
  tensorpatch_posix_files files_;
  tensorpatch_ports ports_{};
};

TEST_F(PosixPort, ReadsExactlyOrSaysBeyondTheEnd) {
  write_file(folder_ / "old", "0123456789");
  ASSERT_EQ(tensorpatch_posix_open_old(&files_, 2, path("old").c_str()), 0);
  tensorpatch_posix_set_ports(&files_, &ports_);
  uint8_t data[10];
  EXPECT_EQ(ports_.read_old(&files_, 2, 4, data, 6), 0);
  EXPECT_EQ(std::memcmp(data, "456789", 6), 0);
  EXPECT_EQ(ports_.read_old(&files_, 2, 5, data, 6), TENSORPATCH_BEYOND_END);
  EXPECT_EQ(ports_.read_old(&files_, 2, UINT64_MAX - 2, data, 6), TENSORPATCH_BEYOND_END);
  EXPECT_NE(ports_.read_old(&files_, 1, 0, data, 1), 0) << "that file is not open";
}

TEST_F(PosixPort, OpenRefuses) {
  EXPECT_NE(tensorpatch_posix_open_old(&files_, 0, path("absent").c_str()), 0);
  EXPECT_EQ(errno, ENOENT);
  write_file(folder_ / "old", "x");
  EXPECT_NE(tensorpatch_posix_open_old(&files_, TENSORPATCH_MAX_COMPONENTS, path("old").c_str()),
            0);
  ASSERT_EQ(tensorpatch_posix_open_old(&files_, 0, path("old").c_str()), 0);
  EXPECT_NE(tensorpatch_posix_open_old(&files_, 0, path("old").c_str()), 0) << "open already";
}

TEST_F(PosixPort, KeepsOrTruncatesTheNewFile) {
  write_file(folder_ / "new", "something");
  ASSERT_EQ(tensorpatch_posix_open_new(&files_, 0, path("new").c_str(), TENSORPATCH_POSIX_KEEP), 0);
  EXPECT_EQ(read_file(folder_ / "new"), "something");
  tensorpatch_posix_close(&files_);
  ASSERT_EQ(tensorpatch_posix_open_new(&files_, 0, path("new").c_str(), TENSORPATCH_POSIX_TRUNCATE),
            0);
  EXPECT_EQ(read_file(folder_ / "new"), "");
}

TEST_F(PosixPort, CheckpointFilesAreWhole) {
  const std::string name = path("checkpoint");
  files_.checkpoint_path = name.c_str();
  tensorpatch_posix_set_ports(&files_, &ports_);
  uint8_t loaded[TENSORPATCH_CHECKPOINT_SIZE];
  EXPECT_NE(tensorpatch_posix_load_checkpoint(name.c_str(), loaded), 0);
  EXPECT_EQ(errno, ENOENT);
  for (const uint32_t seed : {1u, 2u}) {
    const Bytes record = noise(TENSORPATCH_CHECKPOINT_SIZE, seed);
    ASSERT_EQ(ports_.save_checkpoint(&files_, record.data()), 0);
    ASSERT_EQ(tensorpatch_posix_load_checkpoint(name.c_str(), loaded), 0);
    EXPECT_EQ(std::memcmp(loaded, record.data(), sizeof loaded), 0);
    EXPECT_EQ(folder_.count(), 1u) << "a temporary file was left";
  }
  for (const size_t size :
       {size_t{TENSORPATCH_CHECKPOINT_SIZE - 1}, size_t{TENSORPATCH_CHECKPOINT_SIZE + 1}}) {
    write_file(name, std::string(size, 'x'));
    EXPECT_NE(tensorpatch_posix_load_checkpoint(name.c_str(), loaded), 0);
    EXPECT_EQ(errno, EINVAL);
  }
}

TEST_F(PosixPort, SaveFailsWithoutTheFolder) {
  const std::string name = path("absent/checkpoint");
  files_.checkpoint_path = name.c_str();
  tensorpatch_posix_set_ports(&files_, &ports_);
  const Bytes record(TENSORPATCH_CHECKPOINT_SIZE);
  EXPECT_NE(ports_.save_checkpoint(&files_, record.data()), 0);
}

// A whole update from files to files, cut in the middle and resumed in a second process's manner.
TEST_F(PosixPort, AppliesAndResumes) {
  const BundleSpec spec = small_spec();
  const Bytes bundle = build_bundle(spec).bytes;
  write_file(folder_ / "old", to_text(spec.components[0].old_file));
  const TestKey key(1);
  const tensorpatch_key ring[] = {key.entry()};
  tensorpatch_options options{};
  options.keys = ring;
  options.key_count = 1;
  options.threshold = 1;
  options.capacity[0] = 4096;
  const std::string name = path("checkpoint");
  std::vector<uint64_t> workspace(2048);
  tensorpatch_libsodium_hash hash;
  for (const bool resumes : {false, true}) {
    files_.checkpoint_path = name.c_str();
    ASSERT_EQ(tensorpatch_posix_open_old(&files_, 0, path("old").c_str()), 0);
    ASSERT_EQ(
        tensorpatch_posix_open_new(&files_, 0, path("new").c_str(),
                                   resumes ? TENSORPATCH_POSIX_KEEP : TENSORPATCH_POSIX_TRUNCATE),
        0);
    ports_.hash = tensorpatch_libsodium_hash_port(&hash);
    ports_.verify = tensorpatch_libsodium_verify;
    tensorpatch_posix_set_ports(&files_, &ports_);
    tensorpatch_applier applier;
    ASSERT_EQ(
        tensorpatch_apply_init(&applier, workspace.data(), 8 * workspace.size(), &ports_, &options),
        TENSORPATCH_OK);
    if (resumes) {
      uint8_t record[TENSORPATCH_CHECKPOINT_SIZE];
      ASSERT_EQ(tensorpatch_posix_load_checkpoint(name.c_str(), record), 0);
      ASSERT_EQ(tensorpatch_apply_resume(&applier, record), TENSORPATCH_OK);
    }
    const size_t end = bundle.size() - (resumes ? 0 : 1);
    tensorpatch_status status = TENSORPATCH_MORE;
    while (status == TENSORPATCH_MORE && tensorpatch_apply_next_offset(&applier) < end) {
      const auto at = static_cast<size_t>(tensorpatch_apply_next_offset(&applier));
      size_t consumed = 0;
      status = tensorpatch_apply_push(&applier, bundle.data() + at, end - at, &consumed);
    }
    EXPECT_EQ(tensorpatch_apply_finish(&applier),
              resumes ? TENSORPATCH_DONE : TENSORPATCH_E_TRUNCATED);
    EXPECT_EQ(tensorpatch_posix_sync(&files_), 0);
    tensorpatch_posix_close(&files_);
  }
  EXPECT_EQ(read_file(folder_ / "new"), to_text(spec.components[0].new_file));
}

class ZstdPort : public ::testing::Test {
 protected:
  static constexpr uint8_t kWindow = 12;

  void start() {
    memory_.resize(tensorpatch_zstd_memory_size(kWindow) / 8);
    codec_ = tensorpatch_zstd_init(&zstd_, memory_.data(), 8 * memory_.size(), kWindow);
    ASSERT_NE(codec_, nullptr);
  }

  static Bytes compress(const Bytes& data, int window_log2) {
    ZSTD_CCtx* context = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, window_log2);
    ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, 0);
    Bytes frame(ZSTD_compressBound(data.size()));
    ZSTD_inBuffer in = {data.data(), data.size(), 0};
    ZSTD_outBuffer out = {frame.data(), frame.size(), 0};
    EXPECT_EQ(ZSTD_compressStream2(context, &out, &in, ZSTD_e_end), 0u);
    ZSTD_freeCCtx(context);
    frame.resize(out.pos);
    return frame;
  }

  // Decodes in small bites; empty on failure.
  Bytes decode(const Bytes& frame, size_t size) {
    Bytes made(size);
    if (codec_->open(codec_->context, static_cast<uint32_t>(size), kWindow) != 0) return {};
    size_t at = 0;
    size_t filled = 0;
    while (filled < size) {
      size_t input = std::min<size_t>(13, frame.size() - at);
      size_t output = std::min<size_t>(50, size - filled);
      if (codec_->decode(codec_->context, frame.data() + at, &input, made.data() + filled,
                         &output) != 0 ||
          (input == 0 && output == 0)) {
        return {};
      }
      at += input;
      filled += output;
    }
    used_ = at;
    return made;
  }

  std::vector<uint64_t> memory_;
  tensorpatch_zstd zstd_;
  const tensorpatch_codec* codec_ = nullptr;
  size_t used_ = 0;
};

Bytes repetitive(size_t size) {
  Bytes data = noise(size, 9);
  for (size_t i = 300; i < size; ++i) data[i] = data[i - 300];
  return data;
}

TEST_F(ZstdPort, DecodesFramesInBites) {
  start();
  EXPECT_EQ(codec_->id, uint32_t{format::kCodecZstd});
  for (const size_t size : std::initializer_list<size_t>{1, 500, 20000}) {
    const Bytes data = repetitive(size);
    const Bytes frame = compress(data, kWindow);
    EXPECT_EQ(decode(frame, size), data);
  }
}

TEST_F(ZstdPort, RefusesLargerWindowsDamageAndTrailingBytes) {
  start();
  const Bytes data = repetitive(20000);
  EXPECT_TRUE(decode(compress(data, kWindow + 2), data.size()).empty());
  EXPECT_NE(codec_->open(codec_->context, 100, kWindow + 1), 0);
  EXPECT_NE(codec_->open(codec_->context, 100, 0), 0);
  Bytes frame = compress(data, kWindow);
  frame[0] ^= 1;
  EXPECT_TRUE(decode(frame, data.size()).empty());
  EXPECT_TRUE(decode(compress(data, kWindow), data.size() + 1).empty()) << "more than the frame";
  Bytes two = compress(data, kWindow);
  const Bytes second = compress(data, kWindow);
  two.insert(two.end(), second.begin(), second.end());
  EXPECT_TRUE(decode(two, 2 * data.size()).empty()) << "two frames are not one";
}

TEST_F(ZstdPort, StatesItsMemory) {
  EXPECT_EQ(tensorpatch_zstd_memory_size(9), 0u);
  EXPECT_EQ(tensorpatch_zstd_memory_size(23), 0u);
  const size_t size = tensorpatch_zstd_memory_size(kWindow);
  EXPECT_GT(size, size_t{1} << kWindow);
  EXPECT_GT(tensorpatch_zstd_memory_size(kWindow + 1), size);
  memory_.resize(size / 8);
  EXPECT_EQ(tensorpatch_zstd_init(&zstd_, memory_.data(), size - 1, kWindow), nullptr);
  EXPECT_EQ(tensorpatch_zstd_init(&zstd_, nullptr, size, kWindow), nullptr);
  EXPECT_EQ(tensorpatch_zstd_init(nullptr, memory_.data(), size, kWindow), nullptr);
  EXPECT_EQ(tensorpatch_zstd_init(&zstd_, memory_.data(), size, 30), nullptr);
}

}  // namespace
}  // namespace tensorpatch::test
