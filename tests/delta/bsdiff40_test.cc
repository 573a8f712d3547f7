// bsdiff40_test.cc: the classic patch format, against the programs bsdiff and bspatch, by
// hand-written patches, and by damage.
// SPDX-License-Identifier: Apache-2.0
#include "delta/bsdiff40.h"

#include <bzlib.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "delta/byte_data.h"
#include "support/temp_folder.h"

namespace tensorpatch::delta {
namespace {

using test::ByteVector;
using test::concat;
using test::random_bytes;
using test::slice;
using test::TempFolder;
using test::with_step_added;

// Keeps what is written, and fails at once when more than `limit` bytes are.
class VectorSink : public base::Sink {
 public:
  explicit VectorSink(uint64_t limit = UINT64_MAX) : limit_(limit) {}
  Result<void> write(base::Bytes bytes) override {
    data.insert(data.end(), bytes.begin(), bytes.end());
    EXPECT_LE(data.size(), limit_);
    return {};
  }
  ByteVector data;

 private:
  uint64_t limit_;
};

ByteVector make_patch(const ByteVector& old_bytes, const ByteVector& new_bytes) {
  VectorSink patch;
  const auto written = write_bsdiff40(old_bytes, new_bytes, patch);
  EXPECT_TRUE(written.has_value());
  return patch.data;
}

Result<ByteVector> rebuild(const ByteVector& old_bytes, const ByteVector& patch) {
  VectorSink out;
  if (auto done = apply_bsdiff40(old_bytes, patch, out); !done) {
    return tl::unexpected(done.error());
  }
  return std::move(out.data);
}

void write_bytes(const std::filesystem::path& path, const ByteVector& data) {
  test::write_file(path, std::string(data.begin(), data.end()));
}

ByteVector read_bytes(const std::filesystem::path& path) {
  const std::string content = test::read_file(path);
  return {content.begin(), content.end()};
}

// Runs `bsdiff` or `bspatch` on three files of `folder`.
int run(const std::string& program, const TempFolder& folder,
        const std::array<const char*, 3>& names) {
  std::string command = program;
  for (const char* name : names) command += " '" + (folder / name).string() + "'";
  return std::system(command.c_str());
}

// --- against the classic programs -------------------------------------------------------------

struct Pair {
  std::string name;
  ByteVector old_bytes;
  ByteVector new_bytes;
};

ByteVector text_of(size_t lines, uint32_t seed) {
  std::mt19937 random(seed);
  const std::array<const char*, 8> words = {"layer ", "weight ", "bias ",   "scale ",
                                            "zero ",  "point ",  "kernel ", "stride "};
  std::string text;
  for (size_t i = 0; i < lines; ++i) {
    for (int word = 0; word < 6; ++word) text += words[random() % words.size()];
    text += std::to_string(random() % 1000) + "\n";
  }
  return {text.begin(), text.end()};
}

std::vector<Pair> pairs() {
  const ByteVector data = random_bytes(60'000, 1);
  const ByteVector text = text_of(1'000, 2);
  ByteVector edited = text;
  for (size_t at = 500; at < edited.size(); at += 1'777) {
    edited.insert(edited.begin() + static_cast<std::ptrdiff_t>(at), {'e', 'd', 'i', 't'});
  }
  ByteVector dense = data;
  for (size_t i = 0; i < dense.size(); i += 3) dense[i] = static_cast<uint8_t>(dense[i] + 2);
  return {
      {"random", data, random_bytes(50'000, 3)},
      {"identical", data, data},
      {"both empty", {}, {}},
      {"old empty", {}, slice(data, 0, 5'000)},
      {"new empty", slice(data, 0, 5'000), {}},
      {"one byte", {1}, {2}},
      {"zeros grow", ByteVector(10'000), ByteVector(30'000)},
      {"text edits", text, edited},
      {"shifted blocks", data,
       concat({slice(data, 40'000, 20'000), random_bytes(333, 4), slice(data, 0, 40'000)})},
      {"sparse change", data, with_step_added(data, 50)},
      {"dense change", data, dense},
      {"cut", data, slice(data, 10'000, 45'000)},
      {"shifted and changed", text, with_step_added(slice(text, 100, text.size() - 100), 90)},
  };
}

TEST(Bsdiff40, RoundTripsAndBspatchAgrees) {
  for (const Pair& pair : pairs()) {
    SCOPED_TRACE(pair.name);
    const ByteVector patch = make_patch(pair.old_bytes, pair.new_bytes);
    const auto rebuilt = rebuild(pair.old_bytes, patch);
    ASSERT_TRUE(rebuilt.has_value()) << rebuilt.error().message;
    EXPECT_EQ(*rebuilt, pair.new_bytes);

    const TempFolder folder;
    write_bytes(folder / "old", pair.old_bytes);
    write_bytes(folder / "patch", patch);
    ASSERT_EQ(run("bspatch", folder, {"old", "new", "patch"}), 0);
    EXPECT_EQ(read_bytes(folder / "new"), pair.new_bytes);
  }
}

TEST(Bsdiff40, AppliesWhatBsdiffMakesAndIsAsSmall) {
  for (const Pair& pair : pairs()) {
    SCOPED_TRACE(pair.name);
    // bsdiff refuses empty files: it cannot map them.
    if (pair.old_bytes.empty() || pair.new_bytes.empty()) continue;
    const TempFolder folder;
    write_bytes(folder / "old", pair.old_bytes);
    write_bytes(folder / "new", pair.new_bytes);
    ASSERT_EQ(run("bsdiff", folder, {"old", "new", "patch"}), 0);
    const ByteVector patch = read_bytes(folder / "patch");
    const auto rebuilt = rebuild(pair.old_bytes, patch);
    ASSERT_TRUE(rebuilt.has_value()) << rebuilt.error().message;
    EXPECT_EQ(*rebuilt, pair.new_bytes);

    const auto ours = static_cast<double>(make_patch(pair.old_bytes, pair.new_bytes).size());
    EXPECT_LE(ours, static_cast<double>(patch.size()) * 1.02 + 16);
  }
}

TEST(Bsdiff40, ASmallWindowChangesNothingButTheSize) {
  const ByteVector data = random_bytes(100'000, 5);
  const ByteVector moved = concat({slice(data, 50'000, 50'000), slice(data, 0, 50'000)});
  VectorSink patch;
  ASSERT_TRUE(write_bsdiff40(data, moved, patch, {.window = 8 << 10}).has_value());
  EXPECT_LT(patch.data.size(), 1'000u);
  const auto rebuilt = rebuild(data, patch.data);
  ASSERT_TRUE(rebuilt.has_value());
  EXPECT_EQ(*rebuilt, moved);
}

TEST(Bsdiff40, ErrorsOfTheSinkArePassedOn) {
  class FullSink : public base::Sink {
    Result<void> write(base::Bytes) override { return fail(TENSORPATCH_E_IO, "disk is full"); }
  } full;
  const ByteVector data = random_bytes(1'000, 6);
  EXPECT_EQ(write_bsdiff40(data, data, full).error().code, TENSORPATCH_E_IO);
  const ByteVector patch = make_patch(data, data);
  EXPECT_EQ(apply_bsdiff40(data, patch, full).error().code, TENSORPATCH_E_IO);
}

// --- hand-written patches ---------------------------------------------------------------------

ByteVector integer(uint64_t magnitude, uint8_t sign = 0) {
  ByteVector data(8);
  for (size_t i = 0; i < 8; ++i) data[i] = static_cast<uint8_t>(magnitude >> (8 * i));
  data[7] |= sign;
  return data;
}
constexpr uint8_t kNegative = 0x80;

ByteVector bzip2(ByteVector data) {
  ByteVector out(data.size() * 2 + 1'000);
  auto size = static_cast<unsigned>(out.size());
  data.push_back(0);  // data() of an empty vector may be null
  EXPECT_EQ(BZ2_bzBuffToBuffCompress(reinterpret_cast<char*>(out.data()), &size,
                                     reinterpret_cast<char*>(data.data()),
                                     static_cast<unsigned>(data.size() - 1), 9, 0, 0),
            BZ_OK);
  out.resize(size);
  return out;
}

struct Streams {
  ByteVector control;
  ByteVector difference;
  ByteVector extra;
};

const ByteVector kMagic = {'B', 'S', 'D', 'I', 'F', 'F', '4', '0'};

ByteVector patch_of(uint64_t new_size, const Streams& streams) {
  const ByteVector control = bzip2(streams.control);
  const ByteVector difference = bzip2(streams.difference);
  return concat({kMagic, integer(control.size()), integer(difference.size()), integer(new_size),
                 control, difference, bzip2(streams.extra)});
}

void expect_malformed(const ByteVector& old_bytes, const ByteVector& patch) {
  const auto result = rebuild(old_bytes, patch);
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().code, TENSORPATCH_E_FORMAT);
}

const ByteVector kOld = {10, 20, 30, 40};

TEST(Bsdiff40Format, WritesTheLayoutOfTheClassicTool) {
  // new = old + (1, 0, 0, 0), then two fresh bytes.
  const ByteVector old_bytes = random_bytes(100, 7);
  ByteVector new_bytes = concat({old_bytes, {200, 201}});
  ++new_bytes[0];
  ByteVector difference(100);
  difference[0] = 1;
  EXPECT_EQ(
      make_patch(old_bytes, new_bytes),
      patch_of(102, {concat({integer(100), integer(2), integer(0)}), difference, {200, 201}}));
}

TEST(Bsdiff40Format, MovesBackAreSignAndMagnitude) {
  const ByteVector patch = patch_of(
      6,
      {concat({integer(2), integer(1), integer(2, kNegative), integer(3), integer(0), integer(0)}),
       {1, 0, 0, 0, 255},
       {99}});
  const auto result = rebuild(kOld, patch);
  ASSERT_TRUE(result.has_value()) << result.error().message;
  EXPECT_EQ(*result, (ByteVector{11, 20, 99, 10, 20, 29}));
}

TEST(Bsdiff40Format, OutsideOldIsZero) {
  // Two bytes before old and the first of it, then the last of old and two after it, then far away.
  const ByteVector control =
      concat({integer(0), integer(0), integer(2, kNegative), integer(3), integer(0), integer(2),
              integer(3), integer(0), integer(1ULL << 62), integer(1), integer(0), integer(0)});
  const auto result = rebuild(kOld, patch_of(7, {control, {1, 2, 3, 4, 5, 6, 7}, {}}));
  ASSERT_TRUE(result.has_value()) << result.error().message;
  EXPECT_EQ(*result, (ByteVector{1, 2, 13, 44, 5, 6, 7}));
}

TEST(Bsdiff40Format, RefusesBadHeaders) {
  const Streams good = {concat({integer(4), integer(0), integer(0)}), {0, 0, 0, 0}, {}};
  const ByteVector patch = patch_of(4, good);
  ASSERT_EQ(rebuild(kOld, patch).value(), kOld);
  for (const size_t field : {8u, 16u, 24u}) {
    for (const ByteVector& value :
         {integer(1, kNegative), integer(~0ULL >> 1, kNegative), integer(~0ULL >> 1),
          integer(1ULL << 62), integer(patch.size()), integer(0)}) {
      ByteVector bad = patch;
      std::copy(value.begin(), value.end(), bad.begin() + static_cast<std::ptrdiff_t>(field));
      SCOPED_TRACE(field);
      expect_malformed(kOld, bad);
    }
  }
  ByteVector wrong_magic = patch;
  wrong_magic[7] = '1';
  expect_malformed(kOld, wrong_magic);
  expect_malformed(kOld, {});
  expect_malformed(kOld, kMagic);
}

TEST(Bsdiff40Format, RefusesBadTriples) {
  const auto with_triple = [](const ByteVector& difference, const ByteVector& extra,
                              const ByteVector& move) {
    const ByteVector end = concat({integer(0), integer(4), integer(0)});
    return patch_of(4, {concat({difference, extra, move, end}), {0, 0, 0, 0}, {1, 2, 3, 4}});
  };
  constexpr uint64_t kLargest = ~0ULL >> 1;
  expect_malformed(kOld, with_triple(integer(1, kNegative), integer(0), integer(0)));
  expect_malformed(kOld, with_triple(integer(0), integer(1, kNegative), integer(0)));
  expect_malformed(kOld, with_triple(integer(5), integer(0), integer(0)));
  expect_malformed(kOld, with_triple(integer(2), integer(3), integer(0)));
  expect_malformed(kOld, with_triple(integer(kLargest), integer(kLargest), integer(0)));
  // The move overflows: 1 + the largest.
  expect_malformed(kOld, with_triple(integer(1), integer(0), integer(kLargest)));
  // Twice as far back as there are offsets.
  const ByteVector back = concat({integer(0), integer(0), integer(kLargest, kNegative)});
  expect_malformed(
      kOld, patch_of(1, {concat({back, back, integer(1), integer(0), integer(0)}), {1}, {}}));
}

TEST(Bsdiff40Format, RefusesStreamsThatEndEarlyOrGoOn) {
  const ByteVector control = concat({integer(2), integer(2), integer(0)});
  ASSERT_TRUE(rebuild(kOld, patch_of(4, {control, {0, 0}, {1, 2}})).has_value());
  expect_malformed(kOld, patch_of(4, {control, {0}, {1, 2}}));
  expect_malformed(kOld, patch_of(4, {control, {0, 0}, {1}}));
  expect_malformed(kOld, patch_of(4, {control, {0, 0, 0}, {1, 2}}));
  expect_malformed(kOld, patch_of(4, {control, {0, 0}, {1, 2, 3}}));
  expect_malformed(kOld, patch_of(4, {concat({control, {0}}), {0, 0}, {1, 2}}));
  expect_malformed(kOld, patch_of(4, {concat({control, control}), {0, 0}, {1, 2}}));
  expect_malformed(kOld, patch_of(4, {slice(control, 0, 23), {0, 0}, {1, 2}}));
  expect_malformed(kOld, patch_of(5, {control, {0, 0}, {1, 2}}));
  expect_malformed(kOld, concat({patch_of(4, {control, {0, 0}, {1, 2}}), {0}}));
}

TEST(Bsdiff40Format, RefusesMillionsOfTriplesThatDoNothing) {
  // Compresses to a few hundred bytes; a reader that goes on would be busy for long.
  const Streams bomb = {ByteVector(24 * 1'000'000), {0}, {}};
  const ByteVector patch = patch_of(1, bomb);
  EXPECT_LT(patch.size(), 1'000u);
  const auto result = rebuild(kOld, patch);
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().message, "bsdiff patch: the control stream makes no progress");
}

// --- damage -----------------------------------------------------------------------------------

Pair small_pair() {
  const ByteVector data = random_bytes(400, 8);
  return {"small", data,
          with_step_added(concat({slice(data, 200, 200), {1, 2, 3}, slice(data, 0, 150)}), 30)};
}

TEST(Bsdiff40Damage, EveryTruncationIsRefused) {
  const Pair pair = small_pair();
  const ByteVector patch = make_patch(pair.old_bytes, pair.new_bytes);
  for (size_t size = 0; size < patch.size(); ++size) {
    VectorSink out(pair.new_bytes.size());
    const auto result = apply_bsdiff40(pair.old_bytes, slice(patch, 0, size), out);
    ASSERT_FALSE(result.has_value()) << size;
    EXPECT_EQ(result.error().code, TENSORPATCH_E_FORMAT) << size;
  }
}

TEST(Bsdiff40Damage, EveryBitFlipIsRefusedOrHarmless) {
  const Pair pair = small_pair();
  const ByteVector patch = make_patch(pair.old_bytes, pair.new_bytes);
  size_t refused = 0;
  for (size_t bit = 0; bit < patch.size() * 8; ++bit) {
    ByteVector damaged = patch;
    damaged[bit / 8] = static_cast<uint8_t>(damaged[bit / 8] ^ (1u << (bit % 8)));
    // Whatever the header says now, no more than that may be written.
    uint64_t declared = 0;
    for (size_t i = 0; i < 8; ++i) declared |= uint64_t{damaged[24 + i]} << (8 * i);
    VectorSink out(declared);
    const auto result = apply_bsdiff40(pair.old_bytes, damaged, out);
    if (!result) {
      ++refused;
      EXPECT_EQ(result.error().code, TENSORPATCH_E_FORMAT) << bit;
    } else {
      // The block size in a bzip2 header does not matter to small streams, for example.
      EXPECT_EQ(out.data, pair.new_bytes) << bit;
    }
  }
  EXPECT_GT(refused, patch.size() * 8 * 9 / 10);
}

TEST(Bsdiff40Damage, AWrongOldGivesAFileOfTheDeclaredSize) {
  const Pair pair = small_pair();
  const ByteVector patch = make_patch(pair.old_bytes, pair.new_bytes);
  for (const size_t size : {0u, 1u, 100u, 399u}) {
    const auto result = rebuild(slice(pair.old_bytes, 0, size), patch);
    ASSERT_TRUE(result.has_value()) << size;
    EXPECT_EQ(result->size(), pair.new_bytes.size());
    EXPECT_NE(*result, pair.new_bytes);
  }
}

}  // namespace
}  // namespace tensorpatch::delta
