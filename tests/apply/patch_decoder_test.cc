// tests/apply/patch_decoder_test.cc: patch streams in bites of every size, with any budget, from
// every restart point; damaged ones and hand-written ones that must be refused.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "apply/wire.h"
#include "delta/entropy_encoder.h"
#include "support/operation_cases.h"
#include "support/patch_maker.h"
#include "support/patch_replay.h"

namespace tensorpatch::test {
namespace {

using File = std::vector<uint8_t>;

// ---- Streams of our own encoder

// Pieces of everything: equal stretches, floats that moved, small integers, text, new noise, zeros.
FilePair mixed_pair(size_t pieces) {
  std::mt19937 random(77);
  FilePair pair;
  const auto both = [&](uint32_t old_value, uint32_t new_value, unsigned size) {
    for (unsigned i = 0; i < size; ++i) {
      pair.old_file.push_back(static_cast<uint8_t>(old_value >> (8 * i)));
      pair.new_file.push_back(static_cast<uint8_t>(new_value >> (8 * i)));
    }
  };
  for (size_t piece = 0; piece < pieces; ++piece) {
    for (unsigned i = 0; i < 700; ++i) {
      const auto any = static_cast<uint32_t>(random());
      const uint32_t value = 0x3C000000u + (any >> 6);
      switch (piece % 5) {
        case 0:
          both(any, any, 4);
          break;
        case 1:
          both(value, value + (any & 0xFFFF) - 0x8000, 4);
          break;
        case 2:
          both(any & 255, (any + (any >> 10) % 3 - 1) & 255, 1);
          break;
        case 3:
          pair.new_file.push_back(static_cast<uint8_t>("weights/bias, "[any % 14]));
          break;
        default:
          pair.new_file.push_back(i < 500 ? uint8_t{0} : static_cast<uint8_t>(any));
      }
    }
  }
  return pair;
}

// A mixed pair cut to about `size` bytes of new, so that small profiles have several restarts.
FilePair mixed_pair_of(size_t size) {
  FilePair pair = mixed_pair(size / 1400 + 5);
  pair.new_file.resize(std::min(pair.new_file.size(), size));
  return pair;
}

struct MadePatch {
  Replay job;
  File patch;
  File new_file;
};

MadePatch make(FilePair pair, const delta::PatchOptions& options) {
  const PatchMaker maker({std::move(pair)});
  MadePatch made{maker.replay_of(0, options.limits), maker.patch(0, options),
                 maker.files(0).new_file};
  return made;
}

void expect_done(const MadePatch& made, const Replay& job) {
  const Replayed got = replay(job, made.patch);
  const uint64_t from = job.from.has_value() ? job.from->new_offset : 0;
  const File wanted(made.new_file.begin() + static_cast<ptrdiff_t>(from), made.new_file.end());
  ASSERT_EQ(got.event, PatchEvent::kDone) << tensorpatch_status_text(got.status);
  ASSERT_EQ(got.misuse, "");
  ASSERT_TRUE(got.new_file == wanted) << "wrong new bytes";
}

// Restart points every 4 KiB.
delta::PatchOptions small_steps() {
  delta::PatchOptions options;
  options.limits = {256, 4096, 1024, 64, 9, 2, 1, 10, 6, 0, 8};
  options.codecs = kPlainCodecs;
  options.jobs = 1;
  return options;
}

TEST(PatchDecoder, BitesOfEverySize) {
  const MadePatch made = make(mixed_pair_of(9000), small_steps());
  for (size_t bite = 1; bite <= 300; bite += bite < 20 ? 1 : 13) {
    SCOPED_TRACE(bite);
    Replay job = made.job;
    job.bite = bite;
    expect_done(made, job);
  }
}

TEST(PatchDecoder, BudgetsOfEverySize) {
  const MadePatch made = make(mixed_pair_of(9000), small_steps());
  for (const size_t budget : {1u, 2u, 3u, 7u, 63u, 64u, 65u, 1000u, 8999u, 9000u, 20000u}) {
    SCOPED_TRACE(budget);
    Replay job = made.job;
    job.budget = budget;
    expect_done(made, job);
    job.bite = 11;
    expect_done(made, job);
  }
}

TEST(PatchDecoder, EveryProfile) {
  const FilePair pair = mixed_pair_of(150000);
  for (const bundle::Profile& profile : bundle::named_profiles()) {
    SCOPED_TRACE(profile.name);
    const MadePatch made = make(pair, options_for(profile.name, pair.new_file.size()));
    EXPECT_LT(made.patch.size(), pair.new_file.size() * 2 / 3);
    expect_done(made, made.job);
    Replay job = made.job;
    job.bite = 997;
    job.budget = 4096;
    expect_done(made, job);
  }
}

// Every limit at its ends, alone.
TEST(PatchDecoder, LimitsOfAllKinds) {
  const FilePair pair = mixed_pair_of(12000);
  const std::vector<std::function<void(PatchLimits&)>> changes = {
      [](PatchLimits& l) { l.history_log2 = 8; },
      [](PatchLimits& l) { l.history_log2 = 16; },
      [](PatchLimits& l) { l.value_slots = 0; },
      [](PatchLimits& l) { l.value_slots = 1; },
      [](PatchLimits& l) { l.value_slots = 16; },
      [](PatchLimits& l) { l.value_level = 0; },
      [](PatchLimits& l) { l.byte_cells_log2 = 8; },
      [](PatchLimits& l) { l.byte_cells_log2 = 18; },
      [](PatchLimits& l) { l.match_log2 = 0; },
      [](PatchLimits& l) { l.match_log2 = 14; },
      [](PatchLimits& l) { l.column_log2 = 0; },
      [](PatchLimits& l) { l.column_log2 = 18; },
      [](PatchLimits& l) { l.write_size = 1; },
      [](PatchLimits& l) { l.write_size = 128; },
      [](PatchLimits& l) { l.restart_interval = 1024; },
      [](PatchLimits& l) { l.restart_interval = 1 << 20; },
      [](PatchLimits& l) { l.erase_size = 1, l.write_size = 1, l.restart_interval = 1237; },
  };
  for (size_t i = 0; i < changes.size(); ++i) {
    SCOPED_TRACE(i);
    delta::PatchOptions options = small_steps();
    changes[i](options.limits);
    ASSERT_TRUE(limits_valid(options.limits));
    expect_done(make(pair, options), make(pair, options).job);
  }
}

// Rows, grids, zero maps and records: what they take and make does not depend on bites, budgets and
// levels.
TEST(PatchDecoder, SpecialOperationsInBitesAndBudgetsOfEverySize) {
  for (const OperationCase& each : operation_cases()) {
    for (const uint8_t level : {uint8_t{0}, uint8_t{1}}) {
      SCOPED_TRACE(each.name + ", level " + std::to_string(level));
      MadePatch made;
      made.new_file = each.new_file;
      made.job.old_files = {each.old_file};
      made.job.new_size = each.new_file.size();
      made.job.limits = {256, 1024, 1, 1, 8, slots_needed(each), level, 0, 0, 0, 6};
      made.patch = encode_case(each, made.job.limits);
      expect_done(made, made.job);
      for (size_t bite = 1; bite <= 200; bite += bite < 10 ? 1 : 63) {
        Replay job = made.job;
        job.bite = bite;
        expect_done(made, job);
        job.budget = bite;
        expect_done(made, job);
      }
    }
  }
}

TEST(PatchDecoder, ZstdChunks) {
  FilePair pair;  // words in random order, and nothing to take from old
  std::mt19937 random(4);
  const File words = mixed_pair(4).old_file;
  while (pair.new_file.size() < 60000) {
    const auto at = words.begin() + static_cast<ptrdiff_t>(random() % 40 * 64);
    pair.new_file.insert(pair.new_file.end(), at, at + 64);
  }
  delta::PatchOptions options = small_steps();
  options.limits.restart_interval = 16384;
  options.limits.zstd_window_log2 = 14;
  options.codecs = 1u << format::kCodecOperations | format::kAllOfBytes | 1u << format::kCodecZstd;
  const MadePatch made = make(pair, options);
  EXPECT_EQ(made.patch[0] & format::kChunkCodecMask, format::kCodecZstd);
  for (const size_t bite : {0u, 1u, 12u, 500u}) {
    for (const size_t budget : {1u, 100u, 100000u}) {
      Replay job = made.job;
      job.bite = bite;
      job.budget = budget;
      expect_done(made, job);
    }
  }
}

TEST(PatchDecoder, BeginsAgainAtEveryRestartPoint) {
  const MadePatch made = make(mixed_pair_of(30000), small_steps());
  const Replayed whole = replay(made.job, made.patch);
  ASSERT_EQ(whole.restart_points.size(), 30000U / 4096);
  for (const RestartPoint& point : whole.restart_points) {
    SCOPED_TRACE(point.new_offset);
    Replay job = made.job;
    job.from = point;
    job.bite = 100;
    expect_done(made, job);
  }
}

TEST(PatchDecoder, NoRestartPointInsideAnErasePageOrAtTheEnd) {
  const MadePatch made = make(mixed_pair_of(8192), small_steps());
  for (const uint64_t offset : {uint64_t{1}, uint64_t{1023}, uint64_t{8192}, ~uint64_t{1023}}) {
    Replay job = made.job;
    job.from = RestartPoint{offset, 0};
    const Replayed got = replay(job, made.patch);
    EXPECT_EQ(got.event, PatchEvent::kFailed);
    EXPECT_TRUE(got.new_file.empty());
  }
}

// The value one row above, where the first rows lie at an odd distance from the restart point.
TEST(PatchDecoder, RowsThatBeginBeforeTheRestartPoint) {
  for (const unsigned lead : {0u, 1u, 2u, 3u, 6u}) {
    for (const uint64_t row : {4u, 20u, 64u}) {
      SCOPED_TRACE(lead * 1000 + row);
      std::mt19937 random(8);
      FilePair pair;
      for (unsigned i = 0; i < lead; ++i) pair.new_file.push_back(0xEE);
      for (unsigned i = 0; i < 300; ++i) {
        const uint32_t value = 0x3C000000u + (static_cast<uint32_t>(random()) >> 4);
        for (unsigned k = 0; k < 4; ++k) {
          pair.new_file.push_back(static_cast<uint8_t>(value >> (8 * k)));
        }
      }
      model::Model old_model, new_model;
      new_model.file_size = pair.new_file.size();
      if (lead != 0) {
        model::Segment head;
        head.size = lead;
        new_model.segments.push_back(head);
      }
      model::Segment tensor;
      tensor.offset = lead;
      tensor.size = 1200;
      tensor.type = model::ElementType::kFloat32;
      tensor.role = model::Role::kWeights;
      tensor.name = "w";
      tensor.shape = {1200 / row, row / 4};
      tensor.row_elements = row / 4;
      new_model.segments.push_back(tensor);
      // An old tensor of the same name keeps the type known; its values are of no use.
      pair.old_file.assign(1200, 0xFF);
      tensor.offset = 0;
      old_model.segments = {tensor};
      old_model.file_size = 1200;
      const std::vector<delta::ComponentInput> inputs = {
          {pair.old_file, pair.new_file, &old_model, &new_model}};
      delta::PatchOptions options = small_steps();
      MemorySink sink;
      ASSERT_TRUE(delta::make_patch(inputs, 0, options, sink).has_value());
      Replay job;
      job.old_files = {pair.old_file};
      job.new_size = pair.new_file.size();
      job.limits = options.limits;
      expect_done({job, sink.data, pair.new_file}, job);
    }
  }
}

// ---- Damage

// Whatever the stream: an end, no misuse of callbacks, and no more than new holds.
Replayed expect_contained(const Replay& job, const File& patch) {
  Replayed got = replay(job, patch);
  EXPECT_EQ(got.misuse, "");
  EXPECT_LE(got.new_file.size(), job.new_size);
  return got;
}

TEST(PatchDecoder, EveryTruncationIsRefusedOrWaits) {
  const MadePatch made = make(mixed_pair_of(5000), small_steps());
  for (size_t size = 0; size < made.patch.size(); size += size < 64 ? 1 : 7) {
    SCOPED_TRACE(size);
    const File cut(made.patch.begin(), made.patch.begin() + static_cast<ptrdiff_t>(size));
    // The statement says that the stream is this short.
    EXPECT_EQ(expect_contained(made.job, cut).event, PatchEvent::kFailed);
  }
}

TEST(PatchDecoder, BytesBehindTheEndAreRefused) {
  MadePatch made = make(mixed_pair_of(5000), small_steps());
  for (const uint8_t byte : {uint8_t{0}, uint8_t{0x80}, uint8_t{0xFF}}) {
    File longer = made.patch;
    longer.push_back(byte);
    const Replayed got = expect_contained(made.job, longer);
    EXPECT_EQ(got.event, PatchEvent::kFailed);
    EXPECT_EQ(got.status, TENSORPATCH_E_FORMAT);
  }
}

TEST(PatchDecoder, MutationsAreContained) {
  std::mt19937 random(20);
  for (const size_t size : {900u, 5000u}) {
    delta::PatchOptions options = small_steps();
    const MadePatch made = make(mixed_pair_of(size), options);
    unsigned refused = 0;
    for (int round = 0; round < 1500; ++round) {
      File patch = made.patch;
      for (uint32_t changes = 1 + random() % 4; changes > 0; --changes) {
        // Headers more often than chance would have it.
        const size_t reach = random() % 3 == 0 ? std::min<size_t>(patch.size(), 40) : patch.size();
        patch[random() % reach] = static_cast<uint8_t>(random() >> 8);
      }
      Replay job = made.job;
      job.bite = random() % 3 == 0 ? 1 + random() % 200 : 0;
      job.budget = random() % 3 == 0 ? 1 + random() % 200 : SIZE_MAX;
      if (expect_contained(job, patch).event == PatchEvent::kFailed) ++refused;
    }
    EXPECT_GT(refused, 500U);
  }
}

TEST(PatchDecoder, NoiseIsContained) {
  std::mt19937 random(21);
  Replay job = make(mixed_pair_of(3000), small_steps()).job;
  for (int round = 0; round < 1500; ++round) {
    File patch = {0x80, 0xB8, 0x17, 0x64};  // one chunk of 3000 bytes with 100 bytes of payload
    for (int i = 0; i < 100; ++i) patch.push_back(static_cast<uint8_t>(random() >> 8));
    job.new_size = 3000;
    expect_contained(job, patch);
  }
}

TEST(PatchDecoder, ATypeOfCodecThatIsNotGivenIsRefused) {
  MadePatch made = make(mixed_pair_of(5000), small_steps());
  made.job.without_codecs = true;
  EXPECT_EQ(expect_contained(made.job, made.patch).status, TENSORPATCH_E_CODEC);
}

// ---- Hand-written streams

void put_varint(File& out, uint32_t value) {
  for (; value >= 128; value >>= 7) out.push_back(static_cast<uint8_t>(value | 128));
  out.push_back(static_cast<uint8_t>(value));
}

struct ChunkSpec {
  uint8_t first = format::kChunkRestart;
  uint32_t new_size = 0;
  File payload;
};

File stream_of(const std::vector<ChunkSpec>& chunks) {
  File stream;
  for (const ChunkSpec& chunk : chunks) {
    stream.push_back(chunk.first);
    put_varint(stream, chunk.new_size);
    put_varint(stream, static_cast<uint32_t>(chunk.payload.size()));
    stream.insert(stream.end(), chunk.payload.begin(), chunk.payload.end());
  }
  return stream;
}

// Headers of operations and nothing else: enough for copies, and for what is refused before data.
File headers_of(const std::vector<Operation>& operations, uint64_t restart_offset = 0) {
  delta::RangeEncoder encoder;
  OperationModel model;
  operation_model_reset(model, {restart_offset, 0});
  OperationCoder<delta::RangeEncoder> coder(encoder, model, 2);
  for (const Operation& op : operations) coder.code(op);
  return encoder.finish();
}

Operation operation(OperationKind kind, uint32_t size, OldPlace old = {}) {
  Operation op;
  op.kind = kind;
  op.size = size;
  op.old = old;
  return op;
}

// Two old files of 2000 bytes, new of 2048.
class HandWritten : public testing::Test {
 protected:
  HandWritten() {
    job_.old_files = {File(2000, 0x11), File(2000, 0x22)};
    job_.new_size = 2048;
    job_.limits = small_steps().limits;
    job_.limits.value_slots = 2;
  }

  void expect_refused(const File& stream, tensorpatch_status status = TENSORPATCH_E_FORMAT) {
    for (const size_t bite : {0u, 1u}) {
      job_.bite = bite;
      const Replayed got = expect_contained(job_, stream);
      EXPECT_EQ(got.event, PatchEvent::kFailed);
      EXPECT_EQ(got.status, status) << tensorpatch_status_text(got.status);
    }
  }

  void expect_taken(const File& stream, const File& new_file) {
    for (const size_t bite : {0u, 1u}) {
      job_.bite = bite;
      const Replayed got = expect_contained(job_, stream);
      EXPECT_EQ(got.event, PatchEvent::kDone) << tensorpatch_status_text(got.status);
      EXPECT_TRUE(got.new_file == new_file);
    }
  }

  // A chunk for all of new with these operations.
  static File chunk(const std::vector<Operation>& operations) {
    return stream_of({{format::kChunkRestart, 2048, headers_of(operations)}});
  }

  const File copy1024_ = headers_of({operation(OperationKind::kCopy, 1024, {5, 0})});
  Replay job_;
};

TEST_F(HandWritten, CopiesOfBothFilesAreTaken) {
  File wanted(1024, 0x11);
  wanted.resize(2048, 0x22);
  expect_taken(chunk({operation(OperationKind::kCopy, 1024, {976, 0}),
                      operation(OperationKind::kCopy, 1024, {976, 1})}),
               wanted);
  const File second = headers_of({operation(OperationKind::kCopy, 1024, {976, 1})}, 1024);
  expect_taken(stream_of({{0x80, 1024, copy1024_}, {0x80, 1024, second}}), wanted);
}

TEST_F(HandWritten, UnknownCodecOfAChunk) {
  for (uint8_t codec = 1; codec < 16; ++codec) {
    expect_refused(stream_of({{static_cast<uint8_t>(0x80 | codec), 2048, copy1024_}}),
                   TENSORPATCH_E_CODEC);
  }
}

TEST_F(HandWritten, UnknownFlagOfAChunk) {
  for (const uint8_t flag : {uint8_t{0x10}, uint8_t{0x20}, uint8_t{0x40}}) {
    expect_refused(stream_of({{static_cast<uint8_t>(0x80 | flag), 1024, copy1024_}}));
  }
}

TEST_F(HandWritten, ChunkOfNothing) {
  expect_refused(stream_of({{0x80, 0, {}}}));
}

TEST_F(HandWritten, ChunkLargerThanNew) {
  for (const uint32_t size : {2049u, 0x7FFFFFFFu, 0xFFFFFFFFu}) {
    expect_refused(stream_of({{0x80, size, copy1024_}}));
  }
  // The first leaves less than the second wants.
  expect_refused(stream_of({{0x80, 1024, copy1024_}, {0x80, 1025, copy1024_}}));
}

TEST_F(HandWritten, ChunksBeyondTheRestartInterval) {
  job_.new_size = 8192;
  expect_refused(stream_of({{0x80, 4097, copy1024_}}));
  const File rest = headers_of({operation(OperationKind::kCopy, 1900, {})});
  expect_refused(stream_of({{0x80, 1024, copy1024_}, {0x00, 4097 - 1024, rest}}));
}

TEST_F(HandWritten, PayloadLargerThanTheStream) {
  File stream = stream_of({{0x80, 2048, copy1024_}});
  stream.pop_back();
  expect_refused(stream);
  expect_refused({0x80, 0x01, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F});
}

TEST_F(HandWritten, SuperfluousOrEndlessSizes) {
  job_.new_size = 5;
  const File copy = headers_of({operation(OperationKind::kCopy, 5, {5, 0})});
  const auto with = [&](const File& size) {
    File stream = {0x80};
    stream.insert(stream.end(), size.begin(), size.end());
    stream.push_back(static_cast<uint8_t>(copy.size()));
    stream.insert(stream.end(), copy.begin(), copy.end());
    return stream;
  };
  expect_taken(with({0x05}), File(5, 0x11));
  expect_refused(with({0x85, 0x00}));
  expect_refused(with({0x85, 0x80, 0x00}));
  expect_refused(with({0x85, 0x80, 0x80, 0x80, 0x10}));
  expect_refused(with({0x85, 0x80, 0x80, 0x80, 0x80, 0x00}));
}

TEST_F(HandWritten, TheFirstChunkMustBeARestartPoint) {
  expect_refused(stream_of({{0x00, 2048, copy1024_}}));
}

TEST_F(HandWritten, ARestartPointInsideAnErasePage) {
  const File copy = headers_of({operation(OperationKind::kCopy, 1000, {})});
  const File rest = headers_of({operation(OperationKind::kCopy, 1048, {})}, 1000);
  expect_refused(stream_of({{0x80, 1000, copy}, {0x80, 1048, rest}}));
}

TEST_F(HandWritten, CheckpointsOnlyWhereAChunkRestarts) {
  job_.from = RestartPoint{1024, 0};
  expect_refused(stream_of({{0x00, 1024, copy1024_}}));
}

TEST_F(HandWritten, PayloadLeftOver) {
  File payload = copy1024_;
  payload.resize(payload.size() + 9, 0xAA);
  expect_refused(stream_of({{0x80, 1024, payload}, {0x80, 1024, copy1024_}}));
}

TEST_F(HandWritten, BytesBehindTheEnd) {
  job_.new_size = 1024;
  expect_taken(stream_of({{0x80, 1024, copy1024_}}), File(1024, 0x11));
  expect_refused(stream_of({{0x80, 1024, copy1024_}, {0x80, 1024, copy1024_}}));
}

TEST_F(HandWritten, StreamThatEndsTooEarly) {
  expect_refused(stream_of({{0x80, 1024, copy1024_}}));
  expect_refused({});
  job_.new_size = 0;
  expect_taken({}, {});
}

TEST_F(HandWritten, OperationOfNothingOrBeyondItsChunk) {
  for (const uint32_t size : {0u, 2049u, 0x80000000u}) {
    expect_refused(chunk({operation(OperationKind::kCopy, size, {})}));
    expect_refused(chunk({operation(OperationKind::kBytes, size, {})}));
    expect_refused(chunk({operation(OperationKind::kValues, size, {})}));
  }
}

// Each of these breaks one rule of an operation that is taken otherwise.
TEST_F(HandWritten, SpecialOperationsBeyondTheirLimits) {
  Operation rows = operation(OperationKind::kValues, 1024, {});
  rows.fresh = 1;
  rows.predictor = Predictor::kRows;
  rows.rows = {16, 15, GainAxis::kRow, 30, 16, 127};
  Operation grid = rows;
  grid.predictor = Predictor::kGrid;
  grid.grid = {63, 255};
  Operation lattice = rows;
  lattice.type = ValueType::kFloat32;
  lattice.predictor = Predictor::kLattice;
  lattice.lattice = {1, 0x7F7FFFFF};  // the smallest step and the largest
  Operation records = operation(OperationKind::kRecords, 1024, {});
  records.fresh = 1;
  records.record = {2, {{511, ValueType::kUint8, 1}, {2, ValueType::kUint4, 0}}};
  for (const Operation& good : {rows, grid, lattice, records}) {
    const Replayed got = expect_contained(job_, stream_of({{0x80, 1024, headers_of({good})}}));
    EXPECT_NE(got.status, TENSORPATCH_OK) << "the stream ends early";
    EXPECT_EQ(got.new_file.size(), 1024U);
  }
  const auto refused = [&](Operation odd, const std::function<void(Operation&)>& edit) {
    edit(odd);
    expect_refused(stream_of({{0x80, 1024, headers_of({odd})}}));
    EXPECT_TRUE(
        expect_contained(job_, stream_of({{0x80, 1024, headers_of({odd})}})).new_file.empty());
  };
  refused(rows, [](Operation& op) { op.rows.row_values = 0; });
  refused(rows, [](Operation& op) { op.rows.column = 16; });
  refused(rows, [](Operation& op) { op.rows.row_values = 17; });
  refused(rows, [](Operation& op) { op.rows.row_values = 0x7FFFFFFF; });
  refused(rows, [](Operation& op) { op.rows.rank = 17, op.rows.row_values = 16; });
  refused(rows, [](Operation& op) { op.rows.gain_shift = 31; });
  refused(rows, [](Operation& op) { op.rows.gain = static_cast<GainAxis>(3); });
  refused(rows, [](Operation& op) { op.predictor = static_cast<Predictor>(3); });
  refused(grid, [](Operation& op) { op.grid.multiplier = 0; });
  refused(records, [](Operation& op) { op.record = {}; });
  refused(records, [](Operation& op) { op.record.fields[1].count = 3; });
  refused(records, [](Operation& op) { op.record.fields[1].count = 0; });
  refused(records, [](Operation& op) { op.record.fields[0].count = 510; });
  refused(records, [](Operation& op) { op.fresh = 0; });
  job_.limits.value_slots = 1;
  refused(records, [](Operation&) {});
  job_.limits.column_log2 = 0;
  refused(rows, [](Operation&) {});
}

TEST_F(HandWritten, OldOutOfRange) {
  for (const uint32_t component : {0u, 1u}) {
    for (const uint64_t offset : {uint64_t{1001}, uint64_t{2001}, (uint64_t{1} << 62) - 1}) {
      expect_refused(chunk({operation(OperationKind::kCopy, 1000, {offset, component})}));
      Operation values = operation(OperationKind::kValues, 1000, {offset, component});
      values.fresh = 1;
      expect_refused(chunk({values}));
    }
    expect_refused(chunk({operation(OperationKind::kBytes, 100, {2001, component})}));
  }
  expect_refused(chunk({operation(OperationKind::kCopy, 10, {0, 2})}));
  expect_refused(chunk({operation(OperationKind::kBytes, 10, {0, 7})}));
  // Below zero, by way of a distance: behind the first copy old is expected at 10.
  File stream = chunk({operation(OperationKind::kCopy, 10, {0, 0}),
                       operation(OperationKind::kCopy, 10, {~uint64_t{0} - 5, 0})});
  expect_refused(stream);
}

TEST_F(HandWritten, ValuesThatAreCut) {
  for (const ValueType type : {ValueType::kInt16, ValueType::kFloat16, ValueType::kFloat32}) {
    Operation op = operation(OperationKind::kValues, 1001, {});
    op.type = type;
    op.fresh = 1;
    expect_refused(chunk({op}));
  }
}

TEST_F(HandWritten, ValuesOfAnUnknownType) {
  Operation op = operation(OperationKind::kValues, 1000, {});
  op.type = static_cast<ValueType>(kValueTypeCount);
  op.fresh = 1;
  expect_refused(chunk({op}));
}

TEST_F(HandWritten, SlotOutOfRangeOrNotFresh) {
  Operation op = operation(OperationKind::kValues, 1000, {});
  op.slot = 2;
  op.fresh = 1;
  expect_refused(chunk({op}));
  op.slot = 1;
  op.fresh = 0;
  expect_refused(chunk({op}));
  op.slot = 0;
  expect_refused(chunk({op}));
  job_.limits.value_slots = 0;
  op.fresh = 1;
  expect_refused(chunk({op}));
}

TEST_F(HandWritten, ASlotIsNotFreshBehindARestartPoint) {
  // An empty payload decodes as tiles that are unchanged, or as some values: never refused.
  job_.old_files[0].resize(4096);
  Operation op = operation(OperationKind::kValues, 1024, {});
  op.fresh = 1;
  const File first = headers_of({op});
  op.old.offset = 1024;
  const File again = headers_of({op}, 1024);
  op.fresh = 0;
  op.type = ValueType::kUint8;
  const File stale = headers_of({op}, 1024);
  const Replayed good =
      expect_contained(job_, stream_of({{0x80, 1024, first}, {0x80, 1024, again}}));
  EXPECT_GE(good.new_file.size(), 1024U);
  const Replayed bad =
      expect_contained(job_, stream_of({{0x80, 1024, first}, {0x80, 1024, stale}}));
  EXPECT_EQ(bad.event, PatchEvent::kFailed);
  EXPECT_EQ(bad.new_file.size(), 1024U) << "what came before the restart point is written";
}

TEST_F(HandWritten, BytesWithoutATable) {
  job_.limits.byte_cells_log2 = 0;
  job_.limits.match_log2 = 0;
  Operation op = operation(OperationKind::kBytes, 1000, {});
  op.intra = 1;
  expect_refused(chunk({op}));
}

TEST(PatchLimits, OutOfTheFormatsRanges) {
  const PatchLimits good = small_steps().limits;
  ASSERT_TRUE(limits_valid(good));
  const std::vector<std::function<void(PatchLimits&)>> wrong = {
      [](PatchLimits& l) { l.block_size = 255; },
      [](PatchLimits& l) { l.block_size = (1u << 20) + 64; },
      [](PatchLimits& l) { l.erase_size = 0; },
      [](PatchLimits& l) { l.erase_size = 1000; },
      [](PatchLimits& l) { l.restart_interval = 0; },
      [](PatchLimits& l) { l.restart_interval = 4097; },
      [](PatchLimits& l) { l.write_size = 0; },
      [](PatchLimits& l) { l.write_size = 2048; },
      [](PatchLimits& l) { l.write_size = 256; },  // more than a quarter of the history
      [](PatchLimits& l) { l.history_log2 = 7; },
      [](PatchLimits& l) { l.history_log2 = 23; },
      [](PatchLimits& l) { l.value_slots = 17; },
      [](PatchLimits& l) { l.value_level = 2; },
      [](PatchLimits& l) { l.byte_cells_log2 = 7; },
      [](PatchLimits& l) { l.byte_cells_log2 = 21; },
      [](PatchLimits& l) { l.match_log2 = 5; },
      [](PatchLimits& l) { l.match_log2 = 19; },
      [](PatchLimits& l) { l.zstd_window_log2 = 9; },
      [](PatchLimits& l) { l.zstd_window_log2 = 23; },
      [](PatchLimits& l) { l.column_log2 = 5; },
      [](PatchLimits& l) { l.column_log2 = 19; },
  };
  for (size_t i = 0; i < wrong.size(); ++i) {
    PatchLimits limits = good;
    wrong[i](limits);
    EXPECT_FALSE(limits_valid(limits)) << i;
  }
}

}  // namespace
}  // namespace tensorpatch::test
