// tests/delta/delta_test.cc: from two models to a patch and back, and what is aligned with what.
// SPDX-License-Identifier: Apache-2.0
#include "delta/delta.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "delta/alignment.h"
#include "delta/byte_data.h"
#include "delta/operation_reader.h"
#include "delta/plan.h"
#include "delta/test_files.h"
#include "support/patch_maker.h"

namespace tensorpatch::test {
namespace {

// Makes and replays the patch of a single pair.
size_t round_trip(FilePair pair, const delta::PatchOptions& options) {
  return PatchMaker({std::move(pair)}).round_trip(0, options).size();
}

size_t round_trip(FilePair pair, const char* profile = "linux") {
  const delta::PatchOptions options = options_for(profile, pair.new_file.size());
  return round_trip(std::move(pair), options);
}

// The operations that the default level finds.
std::vector<delta::PlannedOperation> plan(const PatchMaker& maker,
                                          const delta::PatchOptions& options,
                                          const std::vector<delta::Alignment>& alignments,
                                          const delta::Interval& interval) {
  const delta::PlanEffort& effort = delta::effort_of(delta::kDefaultLevel).plans.front();
  return delta::plan_interval(maker.inputs(), 0, options, {interval, alignments, effort});
}

// ---- Round trips

TEST(Delta, GeneratedModelsInBothDirections) {
  for (const std::string& kind : generated_kinds()) {
    for (const char* profile : {"linux", "mcu-64k", "mcu-8k"}) {
      SCOPED_TRACE(kind + " for " + profile);
      const FilePair forth = generated_pair("v1." + kind, "v2." + kind);
      EXPECT_LT(round_trip(forth, profile), forth.new_file.size() * 4 / 5);
      EXPECT_LT(round_trip({forth.new_file, forth.old_file}, profile),
                forth.new_file.size() * 4 / 5);
    }
  }
}

TEST(Delta, HigherLevelsMakeSmallerPatches) {
  for (const char* kind : {"int8.tflite", "bf16.safetensors", "gguf"}) {
    const FilePair pair = generated_pair(std::string("v1.") + kind, std::string("v2.") + kind);
    std::map<unsigned, size_t> sizes;
    for (const unsigned level : {1U, 6U, 9U}) {
      SCOPED_TRACE(std::string(kind) + " at level " + std::to_string(level));
      delta::PatchOptions options = options_for("linux", pair.new_file.size());
      options.limits = delta::limits_at_level(options.limits, level);
      options.level = level;
      sizes[level] = round_trip(pair, options);
    }
    EXPECT_GE(sizes[1], sizes[6]) << kind;
    EXPECT_GE(sizes[6], sizes[9]) << kind;
    EXPECT_GT(sizes[1], sizes[9]) << kind << ": do levels make no difference?";
  }
}

TEST(Delta, ThreadsWithinAnIntervalDoNotMatter) {
  const FilePair pair{generated_model("v1.int8.tflite"), generated_model("v2.onnx")};
  const PatchMaker maker({pair});
  delta::PatchOptions options = options_for("linux", pair.new_file.size());
  const std::vector<uint8_t> alone = maker.patch(0, options);
  options.jobs = 3;
  EXPECT_TRUE(maker.patch(0, options) == alone);
}

TEST(Delta, FromOneContainerToAnother) {
  EXPECT_LT(round_trip(generated_pair("v1.f32.safetensors", "v2.onnx")), 40000U);
  round_trip(generated_pair("v1.gguf", "v2.int8.tflite"), "mcu-256k");
  round_trip(generated_pair("v1.bf16.safetensors", "v2.f32.tflite"), "mcu-16k");
}

TEST(Delta, IdenticalFilesCostAFewBytes) {
  for (const std::string& kind : generated_kinds()) {
    SCOPED_TRACE(kind);
    EXPECT_LE(round_trip(generated_pair("v1." + kind, "v1." + kind)), 24U);
    EXPECT_LE(round_trip(generated_pair("v1." + kind, "v1." + kind), "mcu-8k"), 24U);
  }
}

TEST(Delta, UnrelatedFilesCostLittleMoreThanTheyAre) {
  for (const char* profile : {"linux", "mcu-64k", "mcu-8k"}) {
    const ByteVector file = random_bytes(30000, 1);
    EXPECT_LT(round_trip({random_bytes(20000, 2), file}, profile), file.size() + file.size() / 50);
  }
}

TEST(Delta, WithoutOld) {
  for (const std::string& kind : generated_kinds()) {
    SCOPED_TRACE(kind);
    const ByteVector file = generated_model("v1." + kind);
    EXPECT_LT(round_trip({{}, file}), file.size());
    EXPECT_LT(round_trip({{}, file}, "mcu-16k"), file.size());
  }
}

// A model of one float32 matrix whose rows are integers times a step of their own.
ByteVector quantised_rows(uint32_t rows, uint32_t width, float largest_step, uint32_t seed) {
  std::string header = R"({"w":{"dtype":"F32","shape":[)" + std::to_string(rows) + "," +
                       std::to_string(width) + R"(],"data_offsets":[0,)" +
                       std::to_string(4 * rows * width) + "]}}";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  ByteVector file(8);
  file[0] = static_cast<uint8_t>(header.size());
  file.insert(file.end(), header.begin(), header.end());
  std::mt19937 random(1), moves(seed);
  for (uint32_t row = 0; row < rows; ++row) {
    const float step = largest_step / static_cast<float>(row + 3);
    for (uint32_t i = 0; i < width; ++i) {
      const int moved = seed == 0 || moves() % 4 != 0 ? 0 : moves() % 2 == 0 ? 1 : -1;
      const int k = static_cast<int>(random() % 101) + static_cast<int>(random() % 101) - 100;
      const auto bits = std::bit_cast<uint32_t>(static_cast<float>(k + moved) * step);
      for (unsigned b = 0; b < 4; ++b) file.push_back(static_cast<uint8_t>(bits >> (8 * b)));
    }
  }
  return file;
}

TEST(Delta, QuantisedRowsThatAreStoredAsFloats) {
  const ByteVector old_file = quantised_rows(16, 400, 0.5F, 0);
  const ByteVector new_file = quantised_rows(16, 400, 0.501F, 2);
  // An entropy of 1.06 bits a value, and what it takes to learn that and to tell the steps.
  EXPECT_LT(round_trip({old_file, new_file}), 16U * 400 * 15 / 80 + 350);
}

TEST(Delta, TheSmallestFiles) {
  for (const char* profile : {"linux", "mcu-256k", "mcu-64k", "mcu-16k", "mcu-8k"}) {
    SCOPED_TRACE(profile);
    EXPECT_EQ(round_trip({{}, {}}, profile), 0U);
    EXPECT_EQ(round_trip({{1, 2, 3}, {}}, profile), 0U);
    for (const ByteVector& old : {ByteVector{}, ByteVector{7}, ByteVector{8}, ByteVector(99, 7)}) {
      EXPECT_LE(round_trip({old, {7}}, profile), 16U);
      EXPECT_LE(round_trip({old, {7, 9}}, profile), 16U);
      EXPECT_LE(round_trip({old, ByteVector(31, 7)}, profile), 32U);
    }
  }
}

TEST(Delta, EverySizeUpToAFewWords) {
  const ByteVector old = random_bytes(80, 3);
  for (size_t size = 0; size < 70; ++size) {
    SCOPED_TRACE(size);
    round_trip({old, slice(random_bytes(100, 4), 0, size)}, "mcu-8k");
    round_trip({old, with_step_added(slice(old, 3, size), 13)}, "linux");
  }
}

TEST(Delta, HugeRunsOfOneByte) {
  EXPECT_LT(round_trip({{}, ByteVector(3000000, 0)}), 3000U);
  EXPECT_LT(round_trip({ByteVector(100, 0), ByteVector(400000, 0xFF)}, "mcu-8k"), 3000U);
  EXPECT_LT(round_trip({ByteVector(400000, 0), ByteVector(400000, 0)}, "mcu-64k"), 100U);
  EXPECT_LE(round_trip({random_bytes(2000000, 6), random_bytes(2000000, 6)}), 60U);
}

TEST(Delta, BytesThatMovedWithinAFile) {
  const ByteVector old = random_bytes(60000, 5);
  const ByteVector moved = concat({slice(old, 40000, 20000),
                                   {1, 2, 3},
                                   slice(old, 0, 39000),
                                   random_bytes(50, 6),
                                   slice(old, 39500, 500)});
  EXPECT_LT(round_trip({old, moved}), 300U);
  EXPECT_LT(round_trip({old, moved}, "mcu-8k"), 400U);
}

// ---- Codecs that are not allowed

TEST(Delta, OnlyTheCodecsOfTheOptionsAreUsed) {
  const FilePair pair = generated_pair("v1.int8.tflite", "v2.int8.tflite");
  constexpr uint32_t kValues = format::kAllOfValues, kBytes = format::kAllOfBytes;
  for (const uint32_t codecs : {kValues, kBytes, kValues | kBytes}) {
    delta::PatchOptions options = options_for("mcu-64k", pair.new_file.size());
    options.codecs = codecs | 1u << format::kCodecOperations;
    PatchMaker maker({pair});
    MemorySink sink;
    const auto report = delta::make_patch(maker.inputs(), 0, options, sink);
    ASSERT_TRUE(report.has_value());
    EXPECT_EQ(report->required_codecs & ~options.codecs, 0U);
    maker.round_trip(0, options);
  }
}

TEST(Delta, ValuesAloneMakeFilesOfAnySize) {
  delta::PatchOptions options = options_for("mcu-64k", 5000);
  options.codecs = 1u << format::kCodecOperations | format::kAllOfValues;
  options.limits.byte_cells_log2 = 0;
  options.limits.match_log2 = 0;
  for (const size_t size : {1u, 2u, 3u, 23u, 24u, 1001u}) {
    SCOPED_TRACE(size);
    round_trip({{}, random_bytes(size, 1)}, options);
    round_trip({{5}, random_bytes(size, 1)}, options);
  }
}

TEST(Delta, RefusedWhenNothingCanCodeNewContent) {
  const PatchMaker maker({{random_bytes(500, 1), random_bytes(500, 2)}});
  constexpr uint32_t kValues = format::kAllOfValues, kBytes = format::kAllOfBytes;
  for (const uint32_t codecs : {0u, kValues, kBytes, kValues | kBytes}) {
    delta::PatchOptions options = options_for("mcu-64k", 500);
    options.codecs = 1u << format::kCodecOperations | codecs;
    options.limits.value_slots = 0;
    options.limits.byte_cells_log2 = 0;
    options.limits.match_log2 = 0;
    MemorySink sink;
    const auto report = delta::make_patch(maker.inputs(), 0, options, sink);
    ASSERT_FALSE(report.has_value());
    EXPECT_EQ(report.error().code, TENSORPATCH_E_LIMIT);
    EXPECT_TRUE(sink.data.empty());
  }
}

// ---- The same bytes

TEST(Delta, JobsDoNotChangeThePatch) {
  FilePair pair = generated_pair("v1.f32.safetensors", "v2.reordered.safetensors");
  for (const char* profile : {"linux", "mcu-64k"}) {
    delta::PatchOptions options = options_for(profile, pair.new_file.size());
    options.limits.restart_interval = 4096;  // many intervals
    options.limits.erase_size = 4096;
    const PatchMaker maker({pair});
    options.jobs = 1;
    const ByteVector alone = maker.round_trip(0, options);
    for (const unsigned jobs : {2u, 3u, 8u}) {
      options.jobs = jobs;
      EXPECT_TRUE(maker.patch(0, options) == alone) << jobs << " jobs, " << profile;
    }
  }
}

TEST(Delta, ProgressAscendsToTheEnd) {
  const PatchMaker maker({generated_pair("v1.onnx", "v2.onnx")});
  delta::PatchOptions options = options_for("mcu-64k", maker.files(0).new_file.size());
  options.limits.restart_interval = 4096;
  options.jobs = 2;
  std::vector<uint64_t> calls;
  options.progress = [&](uint64_t done, uint64_t total) {
    EXPECT_EQ(total, maker.files(0).new_file.size());
    calls.push_back(done);
  };
  maker.patch(0, options);
  ASSERT_FALSE(calls.empty());
  EXPECT_TRUE(std::is_sorted(calls.begin(), calls.end()));
  EXPECT_EQ(calls.back(), maker.files(0).new_file.size());
}

struct FullSink : base::Sink {
  Result<void> write(base::Bytes) override { return fail(TENSORPATCH_E_IO, "disk full"); }
};

TEST(Delta, AFailingSinkStopsIt) {
  const PatchMaker maker({generated_pair("v1.gguf", "v2.gguf")});
  FullSink sink;
  const auto report = delta::make_patch(maker.inputs(), 0, options_for("mcu-64k", 20000), sink);
  ASSERT_FALSE(report.has_value());
  EXPECT_EQ(report.error().code, TENSORPATCH_E_IO);
}

TEST(Delta, TheReportTilesThePatch) {
  const PatchMaker maker({generated_pair("v1.f32.tflite", "v2.f32.tflite")});
  MemorySink sink;
  const auto report = delta::make_patch(maker.inputs(), 0, options_for("linux", 50000), sink);
  ASSERT_TRUE(report.has_value());
  ASSERT_EQ(report->segments.size(), maker.new_model(0).segments.size());
  uint64_t sum = 0;
  for (const delta::SegmentReport& segment : report->segments) sum += segment.patch_bytes;
  EXPECT_NEAR(static_cast<double>(sum), static_cast<double>(sink.data.size()),
              static_cast<double>(report->segments.size()) + 20);
}

// ---- Models that look different and are not

TEST(Delta, RenamedAndReorderedTensorsAreFound) {
  const auto plain =
      static_cast<double>(round_trip(generated_pair("v1.f32.safetensors", "v2.f32.safetensors")));
  for (const char* variant : {"v2.renamed.safetensors", "v2.reordered.safetensors"}) {
    const auto size =
        static_cast<double>(round_trip(generated_pair("v1.f32.safetensors", variant)));
    EXPECT_LT(size, plain * 1.03 + 150) << variant;
  }
}

TEST(Delta, TensorsThatMovedToAnotherFile) {
  // Two files change places, and the values of one of them changed.
  const PatchMaker maker({{generated_model("v1.f32.safetensors"), generated_model("v2.gguf")},
                          {generated_model("v1.gguf"), generated_model("v1.f32.safetensors")}});
  delta::PatchOptions options = options_for("linux", 50000);
  EXPECT_LE(maker.round_trip(1, options).size(), 1000U) << "all of it lies in the other's old";
  const size_t alone = round_trip({{}, generated_model("v2.gguf")});
  EXPECT_LT(maker.round_trip(0, options).size(), alone * 9 / 10);
  const PatchMaker six({{{}, generated_model("v1.onnx")},
                        {generated_model("v1.onnx"), {}},
                        {{}, {}},
                        {{1}, {2}},
                        {{3}, {3}},
                        {generated_model("v1.gguf"), generated_model("v2.gguf")}});
  for (size_t i = 0; i < 6; ++i) six.round_trip(i, options);
}

// ---- Alignment

using delta::align;
using delta::Alignment;

std::vector<Alignment> expect_tiles(const PatchMaker& maker, size_t component = 0) {
  std::vector<Alignment> found = align(maker.inputs(), component);
  uint64_t at = 0;
  for (const Alignment& a : found) {
    EXPECT_EQ(a.new_offset, at) << "a hole or an overlap";
    EXPECT_GT(a.size, 0U);
    if (a.old.has_value()) {
      EXPECT_LT(a.old->component, maker.inputs().size());
      const size_t old_size = maker.files(a.old->component).old_file.size();
      EXPECT_LE(a.old->offset, old_size);
      EXPECT_LE(a.size, old_size - a.old->offset);
    }
    at = a.new_offset + a.size;
  }
  EXPECT_EQ(at, maker.files(component).new_file.size());
  return found;
}

// Old's tensor for each tensor of new, by name; "" where a tensor has none or not all of one.
std::map<std::string, std::string> matched_names(const PatchMaker& maker) {
  const std::vector<Alignment> found = expect_tiles(maker);
  std::map<std::string, std::string> names;
  for (const model::Segment& segment : maker.new_model(0).segments) {
    if (segment.role != model::Role::kWeights) continue;
    names[segment.name] = "";
    for (const Alignment& a : found) {
      if (a.new_offset != segment.offset || a.size != segment.size || !a.old.has_value()) continue;
      for (const model::Segment& old : maker.old_model(a.old->component).segments) {
        if (old.offset == a.old->offset && old.size == segment.size) {
          names[segment.name] = old.name;
        }
      }
    }
  }
  return names;
}

TEST(Align, ByNameInEveryContainer) {
  for (const std::string& kind : generated_kinds()) {
    SCOPED_TRACE(kind);
    const auto names = matched_names(PatchMaker({generated_pair("v1." + kind, "v2." + kind)}));
    EXPECT_GE(names.size(), 3U);
    for (const auto& [new_name, old_name] : names) EXPECT_EQ(new_name, old_name);
  }
}

TEST(Align, ByNameWhereTheOrderChanged) {
  const auto names =
      matched_names(PatchMaker({generated_pair("v1.f32.safetensors", "v2.reordered.safetensors")}));
  EXPECT_GE(names.size(), 6U);
  for (const auto& [new_name, old_name] : names) EXPECT_EQ(new_name, old_name);
}

TEST(Align, ByShapeWhereTheNamesChanged) {
  const auto names =
      matched_names(PatchMaker({generated_pair("v1.f32.safetensors", "v2.renamed.safetensors")}));
  EXPECT_EQ(names.at("model.layers.conv.weight"), "conv.kernel");
  EXPECT_EQ(names.at("model.layers.fc.weight"), "fc.kernel");
  EXPECT_EQ(names.at("model.layers.fc/bias"), "fc.bias");
}

// A safetensors file of F32 tensors with one dimension.
ByteVector tensors_of(const std::vector<std::pair<std::string, ByteVector>>& tensors) {
  std::string header = "{";
  ByteVector data;
  for (const auto& [name, values] : tensors) {
    if (header.size() > 1) header += ",";
    header += "\"" + name + "\":{\"dtype\":\"F32\",\"shape\":[" +
              std::to_string(values.size() / 4) + "],\"data_offsets\":[" +
              std::to_string(data.size()) + "," + std::to_string(data.size() + values.size()) +
              "]}";
    data.insert(data.end(), values.begin(), values.end());
  }
  header += "}";
  while (header.size() % 8 != 0) header += " ";
  ByteVector file(8, 0);
  file[0] = static_cast<uint8_t>(header.size());
  file[1] = static_cast<uint8_t>(header.size() >> 8);
  file.insert(file.end(), header.begin(), header.end());
  file.insert(file.end(), data.begin(), data.end());
  return file;
}

TEST(Align, EqualContentGoesBeforeNames) {
  const ByteVector a = random_bytes(400, 1), b = random_bytes(400, 2);
  const auto names = matched_names(
      PatchMaker({{tensors_of({{"x", a}, {"y", b}}), tensors_of({{"x", b}, {"y", a}})}}));
  EXPECT_EQ(names.at("x"), "y");
  EXPECT_EQ(names.at("y"), "x");
}

TEST(Align, OneOldMayServeTwice) {
  const ByteVector a = random_bytes(400, 1);
  const auto names =
      matched_names(PatchMaker({{tensors_of({{"x", a}}), tensors_of({{"x", a}, {"copy", a}})}}));
  EXPECT_EQ(names.at("x"), "x");
  EXPECT_EQ(names.at("copy"), "x");
}

TEST(Align, ATensorThatGrewOrShrank) {
  const ByteVector a = random_bytes(400, 1), more = concat({a, random_bytes(200, 2)});
  for (const bool grows : {true, false}) {
    const FilePair pair = grows ? FilePair{tensors_of({{"x", a}}), tensors_of({{"x", more}})}
                                : FilePair{tensors_of({{"x", more}}), tensors_of({{"x", a}})};
    const PatchMaker maker({pair});
    const std::vector<Alignment> found = expect_tiles(maker);
    const model::Segment& tensor = maker.new_model(0).segments.back();
    const auto it = std::find_if(found.begin(), found.end(), [&](const Alignment& each) {
      return each.new_offset == tensor.offset;
    });
    ASSERT_NE(it, found.end());
    EXPECT_EQ(it->size, 400U);
    ASSERT_TRUE(it->old.has_value());
    EXPECT_EQ(it->old->offset, maker.old_model(0).segments.back().offset);
    EXPECT_EQ(it->type, ValueType::kFloat32);
    maker.round_trip(0, options_for("mcu-64k", pair.new_file.size()));
  }
}

TEST(Align, BytesWithoutTensors) {
  const ByteVector old = random_bytes(5000, 1);
  const ByteVector edited =
      concat({slice(old, 0, 2000), random_bytes(70, 2), slice(old, 2100, 2900)});
  const std::vector<Alignment> found = expect_tiles(PatchMaker({{old, edited}}));
  ASSERT_FALSE(found.empty());
  ASSERT_TRUE(found.front().old.has_value());
  EXPECT_EQ(found.front().old->offset, 0U);
  ASSERT_TRUE(found.back().old.has_value());
  EXPECT_EQ(found.back().old->offset + found.back().size, old.size());
  expect_tiles(PatchMaker({{{}, edited}}));
  expect_tiles(PatchMaker({{old, {}}}));
  expect_tiles(PatchMaker({{{1}, edited}}));
}

TEST(Align, RandomEditsTileExactly) {
  std::mt19937 random(12);
  for (int round = 0; round < 40; ++round) {
    ByteVector old = generated_model("v1.gguf"), edited = old;
    for (auto edits = random() % 12; edits > 0; --edits) {
      const auto at = edited.begin() + static_cast<std::ptrdiff_t>(random() % edited.size());
      if (random() % 2 == 0) {
        edited.insert(at, random() % 300, static_cast<uint8_t>(random()));
      } else {
        const auto left = static_cast<size_t>(edited.end() - at);
        edited.erase(at, at + static_cast<std::ptrdiff_t>(std::min<size_t>(left, random() % 300)));
      }
    }
    SCOPED_TRACE(round);
    const PatchMaker maker({{old, edited}});
    expect_tiles(maker);
    if (round % 5 == 0) maker.round_trip(0, options_for("mcu-16k", edited.size()));
  }
}

// ---- Reading operations back

TEST(Operations, AreThoseOfThePlanInEveryProfile) {
  const PatchMaker maker({generated_pair("v1.int8.tflite", "v2.int8.tflite")});
  const std::vector<base::Bytes> old_files = {maker.files(0).old_file};
  const uint64_t size = maker.files(0).new_file.size();
  const tensorpatch_codec* const codecs[] = {&tensorpatch_codec_values, &tensorpatch_codec_bytes};
  for (const char* profile : {"linux", "mcu-8k"}) {
    delta::PatchOptions options = options_for(profile, size);
    options.codecs = kPlainCodecs;
    const std::vector<uint8_t> stream = maker.patch(0, options);
    const auto counts =
        delta::read_operations({stream, options.limits, old_files, 0, size, codecs});
    ASSERT_TRUE(counts.has_value()) << counts.error().message;
    const std::vector<Alignment> alignments = align(maker.inputs(), 0);
    uint64_t planned = 0;
    for (uint64_t begin = 0; begin < size; begin += options.limits.restart_interval) {
      const uint64_t end = std::min<uint64_t>(begin + options.limits.restart_interval, size);
      planned += plan(maker, options, alignments, {begin, end}).size();
    }
    uint64_t count = 0, new_bytes = 0;
    for (const delta::OperationCount& operations : *counts) {
      count += operations.count;
      new_bytes += operations.new_bytes;
    }
    EXPECT_EQ(count, planned) << profile;
    EXPECT_EQ(new_bytes, size) << profile;
  }
}

TEST(Operations, ADamagedStreamIsAnError) {
  const PatchMaker maker({generated_pair("v1.int8.tflite", "v2.int8.tflite")});
  const std::vector<base::Bytes> old_files = {maker.files(0).old_file};
  const uint64_t size = maker.files(0).new_file.size();
  const delta::PatchOptions options = options_for("mcu-8k", size);
  std::vector<uint8_t> stream = maker.patch(0, options);
  stream.resize(stream.size() / 2);
  EXPECT_FALSE(
      delta::read_operations({stream, options.limits, old_files, 0, size, {}}).has_value());
}

// ---- In place

// Content moves back by what is inserted, in steps beyond the reach; what the encoder says that it
// used is all that the decoder must allow.
TEST(Delta, StaysWithinTheReach) {
  FilePair moved{random_bytes(12000, 1), random_bytes(12000, 1)};
  const std::vector<uint8_t> added = random_bytes(300, 2);
  for (const std::ptrdiff_t at : {1000, 7000}) {
    moved.new_file.insert(moved.new_file.begin() + at, added.begin(), added.end());
  }
  for (const FilePair& pair : {moved, generated_pair("v1.int8.tflite", "v2.int8.tflite")}) {
    const PatchMaker maker({pair});
    delta::PatchOptions options = options_for("mcu-8k", pair.new_file.size());
    options.limits.restart_interval = options.limits.erase_size = 4096;
    for (const uint32_t reach : {100u, 400u}) {
      options.limits.reach = reach;
      MemorySink sink;
      const auto report = delta::make_patch(maker.inputs(), 0, options, sink);
      ASSERT_TRUE(report.has_value());
      PatchLimits declared = options.limits;
      declared.reach = static_cast<uint32_t>(std::clamp<uint64_t>(report->reach, 1, reach));
      const Replayed got = replay(maker.replay_of(0, declared), sink.data);
      EXPECT_EQ(got.event, PatchEvent::kDone) << tensorpatch_status_text(got.status);
      EXPECT_TRUE(got.new_file == pair.new_file) << pair.new_file.size() << ", reach " << reach;
    }
  }
}

// ---- The plan

TEST(Plan, TilesEveryInterval) {
  const PatchMaker maker({generated_pair("v1.f32.tflite", "v2.behind.tflite")});
  const uint64_t size = maker.files(0).new_file.size();
  const std::vector<Alignment> alignments = align(maker.inputs(), 0);
  const delta::PatchOptions options = options_for("mcu-64k", size);
  for (const uint64_t step : {uint64_t{4096}, uint64_t{5001}, size}) {
    for (uint64_t begin = 0; begin < size; begin += step) {
      const delta::Interval interval{begin, std::min(begin + step, size)};
      uint64_t at = begin;
      for (const delta::PlannedOperation& planned : plan(maker, options, alignments, interval)) {
        ASSERT_EQ(planned.new_offset, at);
        ASSERT_GT(planned.operation.size, 0U);
        if (planned.operation.kind == OperationKind::kValues) {
          ASSERT_EQ(planned.operation.size % value_size(planned.operation.type), 0U);
        }
        at += planned.operation.size;
      }
      ASSERT_EQ(at, interval.end);
    }
  }
}

}  // namespace
}  // namespace tensorpatch::test
