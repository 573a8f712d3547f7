// snap_test.cc: every container keeps its layout, every value is one that the decoder can make, the
// update gets small, and what has no grid stays.
// SPDX-License-Identifier: Apache-2.0
#include "snap/snap.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>

#include "delta/predictors.h"
#include "snap/tensor.h"
#include "support/patch_maker.h"
#include "support/temp_folder.h"

namespace tensorpatch::snap {
namespace {

using Bytes = std::vector<uint8_t>;

struct Values {
  std::string name;
  std::vector<uint64_t> shape;
  std::vector<uint32_t> bits;
};

// A safetensors file of one element type.
Bytes safetensors(const std::string& type, const std::vector<Values>& tensors) {
  nlohmann::ordered_json header;
  Bytes data;
  const unsigned size = type == "F32" ? 4 : 2;
  for (const Values& tensor : tensors) {
    const size_t begin = data.size();
    for (const uint32_t bits : tensor.bits) {
      for (unsigned i = 0; i < size; ++i) data.push_back(static_cast<uint8_t>(bits >> (8 * i)));
    }
    header[tensor.name] = {
        {"dtype", type}, {"shape", tensor.shape}, {"data_offsets", {begin, data.size()}}};
  }
  const std::string text = header.dump();
  Bytes file;
  for (unsigned i = 0; i < 8; ++i) file.push_back(static_cast<uint8_t>(text.size() >> (8 * i)));
  file.insert(file.end(), text.begin(), text.end());
  file.insert(file.end(), data.begin(), data.end());
  return file;
}

struct Kind {
  std::string name;
  ValueType type;
};
const std::vector<Kind>& kinds() {
  static const std::vector<Kind> all = {
      {"F32", ValueType::kFloat32}, {"F16", ValueType::kFloat16}, {"BF16", ValueType::kBfloat16}};
  return all;
}

uint32_t bits_of(ValueType type, double value) {
  const Scaled scaled{std::llround(std::ldexp(value, 50)), -50};
  return rounded_sum(float_shape(type), scaled, {0, 0}).bits;
}

double real_of(ValueType type, uint32_t bits) {
  Scaled scaled{};
  EXPECT_TRUE(scaled_of(float_shape(type), bits, &scaled));
  return std::ldexp(static_cast<double>(scaled.value), scaled.exponent);
}

// A matrix and a vector, old and fine-tuned.
test::FilePair float_pair(const Kind& kind, double update) {
  std::mt19937 random(7);
  std::normal_distribution<double> normal;
  std::vector<Values> old_tensors{{"w", {64, 100}, {}}, {"b", {64}, {}}};
  std::vector<Values> new_tensors = old_tensors;
  for (size_t t = 0; t < 2; ++t) {
    for (size_t i = 0; i < (t == 0 ? 6400U : 64U); ++i) {
      const double value = normal(random) * 0.05;
      old_tensors[t].bits.push_back(bits_of(kind.type, value));
      new_tensors[t].bits.push_back(bits_of(kind.type, value + update * normal(random)));
    }
  }
  return {safetensors(kind.name, old_tensors), safetensors(kind.name, new_tensors)};
}

struct Snapped {
  Bytes file;
  Report report;
  model::Model model;
};
Snapped snap_pair(const test::FilePair& pair, double grid, unsigned jobs = 1) {
  const model::Model old_model = model::parse(pair.old_file);
  const model::Model new_model = model::parse(pair.new_file);
  auto snapper = Snapper::study({pair.old_file, pair.new_file, &old_model, &new_model}, jobs);
  EXPECT_TRUE(snapper.has_value());
  test::MemorySink sink;
  Options options;
  options.grid = grid;
  options.jobs = jobs;
  auto report = snapper->write(options, sink);
  EXPECT_TRUE(report.has_value());
  model::Model model = model::parse(sink.data);
  return {std::move(sink.data), std::move(*report), std::move(model)};
}

size_t patch_size(const Bytes& old_file, const Bytes& new_file) {
  const test::PatchMaker maker({{old_file, new_file}});
  return maker.round_trip(0, test::options_for("linux", new_file.size())).size();
}

bool same_layout(const model::Model& a, const model::Model& b) {
  if (a.format != b.format || a.segments.size() != b.segments.size()) return false;
  for (size_t i = 0; i < a.segments.size(); ++i) {
    if (a.segments[i].offset != b.segments[i].offset || a.segments[i].name != b.segments[i].name ||
        a.segments[i].shape != b.segments[i].shape) {
      return false;
    }
  }
  return true;
}

TEST(Snap, EveryValueIsOneOfTheGridAndTheCoderFindsIt) {
  for (const Kind& kind : kinds()) {
    const test::FilePair pair = float_pair(kind, 0.002);
    for (const double grid : {0.25, 1.0, 2.0}) {
      SCOPED_TRACE(kind.name + " " + std::to_string(grid));
      const Snapped snapped = snap_pair(pair, grid);
      const model::Segment& matrix = snapped.model.segments[1];
      ASSERT_EQ(matrix.name, "w");
      const TensorReport& report = snapped.report.tensors[0];
      EXPECT_EQ(report.fate, Fate::kSnapped);
      EXPECT_NEAR(report.step, grid * 0.002, grid * 0.0003);
      EXPECT_LT(report.error, grid * 0.002 / 2);
      delta::ValuePair values;
      values.type = kind.type;
      values.old_values = pair.old_file.data() + matrix.offset;
      values.new_values = snapped.file.data() + matrix.offset;
      values.count = 6400;
      EXPECT_TRUE(delta::find_grid(values).has_value());
      const size_t before = patch_size(pair.old_file, pair.new_file);
      const size_t after = patch_size(pair.old_file, snapped.file);
      const double bits = 8.0 * static_cast<double>(after) / 6400;
      EXPECT_LT(bits, grid < 1 ? 4.6 : grid < 2 ? 2.6 : 1.9);
      EXPECT_LT(after, before);
    }
  }
}

// Whether each value is grid_value() of an old one and the nearest number of steps.
struct Written {
  ValueType type;
  std::vector<uint32_t> old_bits, new_bits;
  void check(const Wanted& wanted, const Grid& grid) const {
    const unsigned size = value_size(type);
    const auto packed = [&](const std::vector<uint32_t>& all) {
      Bytes bytes;
      for (const uint32_t bits : all) {
        for (unsigned i = 0; i < size; ++i) bytes.push_back(static_cast<uint8_t>(bits >> (8 * i)));
      }
      return bytes;
    };
    const Bytes old_bytes = packed(old_bits), new_bytes = packed(new_bits);
    const auto tensor = float_tensor({type, true}, {old_bytes, new_bytes});
    Bytes out(new_bytes.size());
    tensor->write({0, old_bits.size()}, wanted, grid, out.data());
    size_t wrong = 0;
    for (size_t i = 0; i < old_bits.size(); ++i) {
      const double update = real_of(type, new_bits[i]) - real_of(type, old_bits[i]);
      const double steps = update / wanted.step;
      const auto is = [&](double k) {  // both neighbours of a tie will do
        return std::abs(steps - k) < 0.50001 &&
               load_value(out.data() + i * size, size) ==
                   grid_value(type, old_bits[i], grid, static_cast<int32_t>(k));
      };
      wrong += is(std::floor(steps)) || is(std::ceil(steps)) ? 0U : 1U;
    }
    EXPECT_EQ(wrong, 0U) << value_size(type) << " bytes, step " << wanted.step;
  }
};

// All values of 16 bits as the old one, and updates of up to 2^18 steps.
TEST(Snap, ValuesAreThoseOfTheDecoder) {
  std::mt19937 random(3);
  for (const ValueType type : {ValueType::kFloat16, ValueType::kBfloat16, ValueType::kFloat32}) {
    const FloatShape shape = float_shape(type);
    const uint32_t infinity = uint32_t{shape.exponent_mask} << shape.mantissa_bits;
    const uint32_t sign = type == ValueType::kFloat32 ? 0x80000000U : 0x8000U;
    const double largest = real_of(type, infinity - 1);
    for (const double step : {0x1p-40, 0x1.5p-24, 0x1.1p-13, 0x1.7p-3, 11.0, 0x1p60}) {
      Written written{type, {}, {}};
      for (uint32_t i = 0; i < 0x10000; ++i) {
        const uint32_t bits = type == ValueType::kFloat32 ? static_cast<uint32_t>(random()) : i;
        if ((bits & infinity) == infinity) continue;
        const double size = std::ldexp(1, static_cast<int>(random() % 20));
        const double old_real = real_of(type, bits);
        const double update = step * size * (static_cast<double>(random()) / 0x1p31 - 1) * 0.5;
        const Scaled sum{std::llround(std::ldexp(update, 40 - std::ilogb(step * size))),
                         std::ilogb(step * size) - 40};
        Scaled old_scaled{};
        ASSERT_TRUE(scaled_of(shape, bits, &old_scaled));
        uint32_t moved = rounded_sum(shape, old_scaled, sum).bits;
        // The type's own step may be larger than all of these.
        if (std::abs(real_of(type, moved) - old_real) / step > 0x1p19) moved = bits;
        if (std::abs(old_real) > largest / 2 && i % 3 == 0) moved = bits ^ sign;
        if (std::abs(real_of(type, moved) - old_real) / step > 0x1p19) moved = bits;
        written.old_bits.push_back(bits);
        written.new_bits.push_back(moved);
      }
      const std::optional<Grid> grid = nearest_grid(step * 1.04);
      ASSERT_TRUE(grid.has_value());
      written.check({1, step}, *grid);
    }
  }
}

TEST(Snap, TheUpdateStaysUnbiased) {
  const Kind& kind = kinds()[0];
  const test::FilePair pair = float_pair(kind, 0.002);
  const Snapped snapped = snap_pair(pair, 3);
  const uint64_t offset = snapped.model.segments[1].offset;
  double along = 0, squares = 0;
  for (size_t i = 0; i < 6400; ++i) {
    const auto at = [&](const Bytes& file) {
      return real_of(kind.type, load_value(file.data() + offset + 4 * i, 4));
    };
    const double update = at(pair.new_file) - at(pair.old_file);
    along += update * (at(snapped.file) - at(pair.old_file));
    squares += update * update;
  }
  EXPECT_NEAR(along / squares, 1, 0.02);  // a grid of 3 without its multiple would give 0.78
}

TEST(Snap, TheBytesDoNotDependOnThreads) {
  const test::FilePair pair = float_pair(kinds()[0], 0.01);
  EXPECT_EQ(snap_pair(pair, 0.5, 1).file, snap_pair(pair, 0.5, 4).file);
}

TEST(Snap, WhatHasNoGridStaysAsInNew) {
  const uint32_t one = std::bit_cast<uint32_t>(1.0f), two = std::bit_cast<uint32_t>(2.0f);
  const uint32_t infinity = std::bit_cast<uint32_t>(std::numeric_limits<float>::infinity());
  const std::vector<uint32_t> ones(64, one), twos(64, two);
  std::vector<uint32_t> broken = twos;
  broken[5] = infinity;
  const test::FilePair pair{
      safetensors("F32",
                  {{"equal", {8, 8}, ones}, {"shape", {8, 8}, ones}, {"broken", {8, 8}, ones}}),
      safetensors("F32", {{"equal", {8, 8}, ones},
                          {"shape", {4, 16}, twos},
                          {"broken", {8, 8}, broken},
                          {"added", {64}, twos}})};
  const Snapped snapped = snap_pair(pair, 1);
  EXPECT_EQ(snapped.file, pair.new_file);
  std::vector<Fate> fates;
  for (const TensorReport& tensor : snapped.report.tensors) fates.push_back(tensor.fate);
  EXPECT_EQ(fates, (std::vector{Fate::kEqual, Fate::kNoMatch, Fate::kNotFinite, Fate::kNoMatch}));
}

// v1 and v2 of a generated model.
test::FilePair model_pair(const std::string& kind) {
  const auto load = [&](const char* version) {
    const std::string text =
        test::read_file(std::string(TENSORPATCH_TEST_MODELS "/") + version + "." + kind);
    return Bytes(text.begin(), text.end());
  };
  return {load("v1"), load("v2")};
}

// Tensors of a file as doubles, by name.
class Tensors {
 public:
  explicit Tensors(const Bytes& file) : file_(file), model_(model::parse(file)) {}
  std::vector<double> operator[](const std::string& name) const {
    std::vector<double> values;
    for (const model::Segment& segment : model_.segments) {
      if (segment.name != name) continue;
      const unsigned size = model::element_size(segment.type);
      for (uint64_t at = segment.offset; at < segment.offset + segment.size; at += size) {
        const uint32_t bits = load_value(file_.data() + at, size);
        values.push_back(segment.type == model::ElementType::kFloat32
                             ? double{std::bit_cast<float>(bits)}
                         : size == 1 ? static_cast<double>(static_cast<int8_t>(bits))
                                     : static_cast<double>(static_cast<int32_t>(bits)));
      }
    }
    EXPECT_FALSE(values.empty()) << name;
    return values;
  }

 private:
  const Bytes& file_;
  model::Model model_;
};

// Old scales where they will do, biases said in the product of two, and what all of it means near
// to new.
TEST(Snap, QuantisedLayersKeepTheirMeaning) {
  for (const std::string kind : {"qdq.onnx", "int8.tflite"}) {
    SCOPED_TRACE(kind);
    const test::FilePair pair = model_pair(kind);
    const std::string activation = kind == "qdq.onnx" ? "input/scale" : "";
    for (const double grid : {0.25, 2.0}) {
      const Snapped snapped = snap_pair(pair, grid);
      const Tensors of_old(pair.old_file), of_new(pair.new_file), of_snapped(snapped.file);
      double input = 0.5;
      if (!activation.empty()) {
        EXPECT_NE(of_new[activation], of_old[activation]);
        EXPECT_EQ(of_snapped[activation], of_old[activation]);
        input = of_snapped[activation][0];
      }
      for (const std::string layer : {"conv", "fc"}) {
        const auto scales = of_snapped[layer + "/kernel/scale"];
        const auto bias_scales = of_snapped[layer + "/bias/scale"];
        const auto new_scales = of_new[layer + "/kernel/scale"];
        const auto values = of_snapped[layer + "/kernel"], wanted = of_new[layer + "/kernel"];
        const auto biases = of_snapped[layer + "/bias"], new_biases = of_new[layer + "/bias"];
        const auto new_bias_scales = of_new[layer + "/bias/scale"];
        const size_t inner = values.size() / scales.size();
        double squares = 0, kept = 0;
        for (size_t i = 0; i < values.size(); ++i) {
          const size_t c = i / inner;
          squares += std::pow((values[i] * scales[c] - wanted[i] * new_scales[c]) / scales[c], 2);
        }
        EXPECT_LT(std::sqrt(squares / static_cast<double>(values.size())), grid < 1 ? 0.5 : 1.2);
        for (size_t c = 0; c < scales.size(); ++c) {
          EXPECT_NEAR(bias_scales[c], scales[c] * input, 1e-6 * bias_scales[c]);
          EXPECT_NEAR(biases[c] * bias_scales[c], new_biases[c] * new_bias_scales[c], 2e-3);
          kept += scales[c] == of_old[layer + "/kernel/scale"][c] ? 1 : 0;
        }
        const double least = grid > 1 ? static_cast<double>(scales.size()) / 5 : 0;
        EXPECT_GE(kept, least) << layer;
      }
      const auto before = static_cast<double>(patch_size(pair.old_file, pair.new_file));
      const auto after = static_cast<double>(patch_size(pair.old_file, snapped.file));
      EXPECT_LT(after, before * (grid > 1 ? 0.8 : 1.01));
    }
  }
}

// Scaled rows, zeros and a merged low-rank update, which the coder finds without any loss.
TEST(Snap, AnUpdateOfAStructureStays) {
  std::mt19937 random(5);
  std::normal_distribution<double> normal;
  constexpr size_t kRows = 96, kColumns = 128;
  std::vector<double> down(kColumns), up(kRows), gains(kRows);
  for (double& value : down) value = normal(random);
  for (double& value : up) value = 0.002 * normal(random);
  for (double& value : gains) value = 1 + 0.05 * normal(random);
  for (const Kind& kind : kinds()) {
    SCOPED_TRACE(kind.name);
    std::vector<Values> olds, news;
    for (const char* name :
         {"dense", "gains", "pruned", "rank"}) {  // as the file has them, by name
      olds.push_back({name, {kRows, kColumns}, {}});
      news.push_back({name, {kRows, kColumns}, {}});
      for (size_t i = 0; i < kRows * kColumns; ++i) {
        const size_t row = i / kColumns, column = i % kColumns;
        olds.back().bits.push_back(bits_of(kind.type, normal(random) * 0.05));
        const double value = real_of(kind.type, olds.back().bits.back());
        const double noise = 0.002 * normal(random);
        const double update = *name == 'd'   ? noise
                              : *name == 'g' ? value * (gains[row] - 1)
                              : *name == 'p' ? (std::abs(value) < 0.03 ? -value : noise)
                                             : up[row] * down[column];
        news.back().bits.push_back(bits_of(kind.type, value + update));
      }
    }
    const test::FilePair pair{safetensors(kind.name, olds), safetensors(kind.name, news)};
    const Snapped snapped = snap_pair(pair, 0.25);
    std::vector<Fate> fates;
    for (const TensorReport& tensor : snapped.report.tensors) fates.push_back(tensor.fate);
    EXPECT_EQ(fates, (std::vector{Fate::kSnapped, Fate::kNoGain, Fate::kNoGain, Fate::kNoGain}));
    EXPECT_LT(patch_size(pair.old_file, snapped.file), patch_size(pair.old_file, pair.new_file));
  }
}

TEST(Snap, EveryContainerKeepsItsLayout) {
  for (const char* kind : {"int8.tflite", "f32.tflite", "behind.tflite", "onnx", "qdq.onnx", "gguf",
                           "f16.safetensors", "bf16.safetensors"}) {
    SCOPED_TRACE(kind);
    const test::FilePair pair = model_pair(kind);
    const Snapped snapped = snap_pair(pair, 1);
    EXPECT_TRUE(same_layout(snapped.model, model::parse(pair.new_file)));
    EXPECT_LT(patch_size(pair.old_file, snapped.file),
              patch_size(pair.old_file, pair.new_file) * 4 / 5);
  }
}

TEST(Snap, FilesWithChecksumsAreRefused) {
  const std::string text = test::read_file(TENSORPATCH_TEST_MODELS "/v2.npz");
  const Bytes file(text.begin(), text.end());
  const model::Model model = model::parse(file);
  const auto snapper = Snapper::study({file, file, &model, &model}, 1);
  ASSERT_FALSE(snapper.has_value());
  EXPECT_EQ(snapper.error().code, TENSORPATCH_E_USAGE);
}

TEST(Snap, GridsOutOfRangeAreRefused) {
  const test::FilePair pair = float_pair(kinds()[0], 0.01);
  const model::Model old_model = model::parse(pair.old_file);
  const model::Model new_model = model::parse(pair.new_file);
  auto snapper = Snapper::study({pair.old_file, pair.new_file, &old_model, &new_model}, 1);
  ASSERT_TRUE(snapper.has_value());
  for (const double grid : {0.0, -1.0, 3.5, std::nan("")}) {
    test::MemorySink sink;
    Options options;
    options.grid = grid;
    EXPECT_FALSE(snapper->write(options, sink).has_value()) << grid;
  }
}

}  // namespace
}  // namespace tensorpatch::snap
