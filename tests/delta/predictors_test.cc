// tests/delta/predictors_test.cc: predictors are found where they are and nowhere else, and what
// they find is coded, decoded and smaller.
// SPDX-License-Identifier: Apache-2.0
#include "delta/predictors.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <random>

#include "delta/chunk_encoder.h"
#include "support/patch_replay.h"

namespace tensorpatch::delta {
namespace {

using File = std::vector<uint8_t>;

// A matrix of float32, or of int8 rounded from them.
struct Tensor {
  uint64_t rows = 64;
  uint64_t width = 96;
  ValueType type = ValueType::kFloat32;
  std::vector<double> old_values;
  std::vector<double> new_values;
};

Tensor random_tensor(uint32_t seed, uint64_t rows, uint64_t width) {
  std::mt19937 random(seed);
  std::normal_distribution<double> normal(0, 0.02);
  Tensor made;
  made.rows = rows;
  made.width = width;
  for (uint64_t i = 0; i < rows * width; ++i) made.old_values.push_back(normal(random));
  made.new_values = made.old_values;
  return made;
}

uint32_t bits_of(ValueType type, double value) {
  if (type == ValueType::kFloat32) return std::bit_cast<uint32_t>(static_cast<float>(value));
  if (type == ValueType::kBfloat16) {
    return std::bit_cast<uint32_t>(static_cast<float>(value)) >> 16;
  }
  const double n = std::clamp(std::nearbyint(value * 1500), -128.0, 127.0);
  return static_cast<uint32_t>(static_cast<int32_t>(n)) & 0xFF;
}

File bytes_of(ValueType type, const std::vector<double>& values) {
  File bytes;
  for (const double value : values) {
    const uint32_t bits = bits_of(type, value);
    for (unsigned i = 0; i < value_size(type); ++i) {
      bytes.push_back(static_cast<uint8_t>(bits >> (8 * i)));
    }
  }
  return bytes;
}

struct Files {
  ValueType type;
  File old_file;
  File new_file;
  uint64_t width;
  uint64_t column = 0;
  ValuePair pair() const {
    return {type,  old_file.data(), new_file.data(), old_file.size() / value_size(type),
            width, column};
  }
};

Files files_of(const Tensor& tensor) {
  return {tensor.type, bytes_of(tensor.type, tensor.old_values),
          bytes_of(tensor.type, tensor.new_values), tensor.width};
}

constexpr uint32_t kCapacity = 4096;

// One operation through the real encoder and decoder; its size.
size_t coded_size(const Files& files, Operation operation, const RowNumbers* numbers) {
  PatchLimits limits = {4096, 1u << 24, 1, 1, 12, 2, 1, 0, 0, 0, 12};
  operation.kind = OperationKind::kValues;
  operation.type = files.type;
  operation.size = static_cast<uint32_t>(files.new_file.size());
  const model::Model no_model;
  const std::vector<ComponentInput> inputs = {
      {files.old_file, files.new_file, &no_model, &no_model}};
  ChunkEncoder encoder(inputs, 0, limits, 0);
  encoder.encode(operation, 0, numbers);
  const File payload = encoder.finish();
  File stream = {format::kChunkRestart | format::kCodecOperations};
  for (size_t value : {files.new_file.size(), payload.size()}) {
    for (; value >= 128; value >>= 7) stream.push_back(static_cast<uint8_t>(value | 128));
    stream.push_back(static_cast<uint8_t>(value));
  }
  stream.insert(stream.end(), payload.begin(), payload.end());
  test::Replay job;
  job.old_files = {files.old_file};
  job.new_size = files.new_file.size();
  job.limits = limits;
  for (const size_t bite : {size_t{0}, size_t{77}}) {
    job.bite = bite;
    const test::Replayed got = test::replay(job, stream);
    EXPECT_EQ(got.event, PatchEvent::kDone);
    EXPECT_EQ(got.misuse, "");
    EXPECT_TRUE(got.new_file == files.new_file);
  }
  return payload.size();
}

size_t plain_size(const Files& files) {
  return coded_size(files, {}, nullptr);
}

void expect_whole(const Files& files, const RowsFit& fit) {
  const RowsShape& shape = fit.shape;
  ASSERT_GE(shape.row_values, 1u);
  ASSERT_LT(shape.column, shape.row_values);
  ASSERT_LE(shape.rank, kMaxRank);
  ASSERT_LE(shape.gain_shift, kGainLog2);
  ASSERT_EQ(fit.numbers.columns.size(),
            column_numbers(shape) != 0 ? uint64_t{shape.row_values} * column_numbers(shape) : 0);
  const uint64_t rows =
      (shape.column + files.pair().count + shape.row_values - 1) / shape.row_values;
  ASSERT_EQ(fit.numbers.rows.size(), rows * row_numbers(shape));
  ASSERT_LE(fit.numbers.columns.size(), kCapacity);
}

// The smallest that any fit makes; SIZE_MAX when there is none.
struct Best {
  size_t size = std::numeric_limits<size_t>::max();
  RowsShape shape;
};
Best best_fit(const Files& files) {
  Best best;
  for (const RowsFit& fit : fit_rows(files.pair(), kCapacity)) {
    expect_whole(files, fit);
    Operation operation;
    operation.predictor = Predictor::kRows;
    operation.rows = fit.shape;
    const size_t size = coded_size(files, operation, &fit.numbers);
    if (size < best.size) best = {size, fit.shape};
  }
  return best;
}

TEST(FitRows, AGainForEachRow) {
  for (const ValueType type : {ValueType::kFloat32, ValueType::kBfloat16, ValueType::kInt8}) {
    Tensor tensor = random_tensor(1, 64, 96);
    tensor.type = type;
    if (type == ValueType::kInt8) {  // gains are taken of what was rounded
      for (double& v : tensor.old_values) v = std::nearbyint(v * 1500) / 1500;
    } else if (type == ValueType::kBfloat16) {
      for (double& v : tensor.old_values) {
        v = std::bit_cast<float>(bits_of(type, v) << 16);
      }
    } else {
      for (double& v : tensor.old_values) v = static_cast<float>(v);
    }
    for (uint64_t i = 0; i < tensor.old_values.size(); ++i) {
      const double gain = 1 + 0.05 * std::sin(static_cast<double>(i / tensor.width) * 3.7);
      tensor.new_values[i] = tensor.old_values[i] * gain;
    }
    const Files files = files_of(tensor);
    const Best best = best_fit(files);
    EXPECT_EQ(best.shape.gain, GainAxis::kRow);
    EXPECT_EQ(best.shape.rank, 0);
    EXPECT_EQ(best.shape.row_values, tensor.width);
    // What is left is the gains' own precision.
    EXPECT_LT(best.size,
              type == ValueType::kFloat32 ? plain_size(files) / 4 : plain_size(files) / 2)
        << static_cast<int>(type);
  }
}

TEST(FitRows, AGainForEachColumn) {
  Tensor tensor = random_tensor(2, 128, 48);
  for (uint64_t i = 0; i < tensor.old_values.size(); ++i) {
    const double gain = 1 + 0.2 * std::cos(static_cast<double>(i % tensor.width) * 5.1);
    tensor.new_values[i] = double{static_cast<float>(tensor.old_values[i])} * gain;
  }
  const Files files = files_of(tensor);
  const Best best = best_fit(files);
  EXPECT_EQ(best.shape.gain, GainAxis::kColumn);
  EXPECT_EQ(best.shape.rank, 0);
  EXPECT_LT(best.size, plain_size(files) / 4);
}

Tensor merged(uint32_t seed, unsigned rank) {
  Tensor tensor = random_tensor(seed, 160, 192);
  std::mt19937 random(seed + 1);
  std::normal_distribution<double> normal(0, 0.03);
  std::vector<double> u, v;
  for (uint64_t i = 0; i < tensor.rows * rank; ++i) u.push_back(normal(random));
  for (uint64_t i = 0; i < tensor.width * rank; ++i) v.push_back(normal(random));
  for (uint64_t i = 0; i < tensor.old_values.size(); ++i) {
    double sum = static_cast<float>(tensor.old_values[i]);
    for (unsigned k = 0; k < rank; ++k) {
      sum += u[i / tensor.width * rank + k] * v[i % tensor.width * rank + k];
    }
    tensor.new_values[i] = sum;
  }
  return tensor;
}

TEST(FitRows, AMergedLowRank) {
  for (const unsigned rank : {1u, 4u}) {
    const Files files = files_of(merged(3, rank));
    const Best best = best_fit(files);
    EXPECT_EQ(best.shape.rank, rank);
    EXPECT_LT(best.size, plain_size(files) / 2) << rank;
  }
}

// A tensor's part that begins and ends within a row.
TEST(FitRows, RowsThatAreCut) {
  const Files whole = files_of(merged(4, 2));
  const size_t cut = 4 * (192 - 50);
  const Files part = {whole.type, File(whole.old_file.begin() + cut, whole.old_file.end() - 88),
                      File(whole.new_file.begin() + cut, whole.new_file.end() - 88), 192, 192 - 50};
  const Best best = best_fit(part);
  EXPECT_EQ(best.shape.column, 192u - 50);
  EXPECT_GE(best.shape.rank, 2);
  EXPECT_LT(best.size, plain_size(part) * 2 / 3);
}

TEST(FitRows, NoiseGivesNoneOrOneThatLoses) {
  Tensor tensor = random_tensor(5, 64, 96);
  std::mt19937 random(6);
  std::normal_distribution<double> normal(0, 0.001);
  for (double& v : tensor.new_values) v += normal(random);
  const Files files = files_of(tensor);
  const Best best = best_fit(files);
  EXPECT_GT(best.size, plain_size(files) * 99 / 100);
  EXPECT_EQ(best.shape.rank, 0);
}

TEST(FitRows, NothingChangedIsNoFit) {
  const Files files = files_of(random_tensor(7, 32, 32));
  EXPECT_TRUE(fit_rows(files.pair(), kCapacity).empty());
}

TEST(FitRows, TablesStayWithinTheCapacity) {
  const Files files = files_of(merged(8, 6));
  for (const uint32_t capacity : {0u, 64u, 191u, 192u, 400u, 1000u}) {
    for (const RowsFit& fit : fit_rows(files.pair(), capacity)) {
      EXPECT_LE(fit.numbers.columns.size(), capacity);
    }
  }
  EXPECT_TRUE(fit_rows(files.pair(), 0).empty());
}

// Whatever the bits: the fit is coded and comes back.
TEST(FitRows, ValuesThatAreNoNumbers) {
  for (const ValueType type : {ValueType::kFloat32, ValueType::kBfloat16}) {
    Tensor tensor = merged(9, 2);
    tensor.type = type;
    const double infinity = std::numeric_limits<double>::infinity();
    const double odd[] = {infinity, -infinity, std::nan(""), 3.4e38, -3.4e38, 1e-45, -0.0, 0.0};
    for (size_t i = 0; i < 64; ++i) {
      (i % 2 == 0 ? tensor.old_values : tensor.new_values)[i * 371] = odd[i % 8];
    }
    const Files files = files_of(tensor);
    best_fit(files);
    std::mt19937 random(10);
    Files wild = files;
    for (uint8_t& byte : wild.old_file) byte = static_cast<uint8_t>(random());
    for (uint8_t& byte : wild.new_file) byte = static_cast<uint8_t>(random());
    best_fit(wild);
  }
}

TEST(FitRows, TheSmallest) {
  for (const uint64_t rows : {1u, 2u, 3u, 5u}) {
    for (const uint64_t width : {1u, 2u, 7u, 24u, 40u}) {
      Tensor tensor = random_tensor(static_cast<uint32_t>(rows * 100 + width), rows, width);
      for (double& v : tensor.new_values) v = v * 1.25 + 0.001;
      Files files = files_of(tensor);
      best_fit(files);
      files.width = 0;  // unknown
      best_fit(files);
      files.width = 1000;  // wider than all of it
      files.column = 999;
      best_fit(files);
    }
  }
}

// ---- Grids

Files on_grid(ValueType type, const Grid& grid, uint64_t count) {
  std::mt19937 random(11);
  Tensor tensor = random_tensor(12, 1, count);
  tensor.type = type;
  Files files = files_of(tensor);
  const unsigned size = value_size(type);
  for (uint64_t i = 0; i < count; ++i) {
    const uint32_t old_bits = load_value(files.old_file.data() + i * size, size);
    const int32_t k = static_cast<int32_t>(random() % 9) - 4;
    const uint32_t new_bits = random() % 3 != 0 ? old_bits : grid_value(type, old_bits, grid, k);
    for (unsigned b = 0; b < size; ++b) {
      files.new_file[i * size + b] = static_cast<uint8_t>(new_bits >> (8 * b));
    }
  }
  return files;
}

TEST(FindGrid, WhereOneIs) {
  const struct {
    ValueType type;
    Grid grid;
  } kCases[] = {{ValueType::kFloat32, {1, -14}},  {ValueType::kFloat32, {5, -15}},
                {ValueType::kFloat32, {63, -20}}, {ValueType::kBfloat16, {1, -12}},
                {ValueType::kInt8, {3, 0}},       {ValueType::kInt8, {1, 2}}};
  for (const auto& each : kCases) {
    const Files files = on_grid(each.type, each.grid, 6000);
    const auto found = find_grid(files.pair());
    ASSERT_TRUE(found.has_value()) << static_cast<int>(each.grid.multiplier);
    EXPECT_EQ(found->multiplier, each.grid.multiplier);
    EXPECT_EQ(found->exponent, each.grid.exponent);
    Operation operation;
    operation.predictor = Predictor::kGrid;
    operation.grid = *found;
    EXPECT_LT(coded_size(files, operation, nullptr), plain_size(files));
  }
}

TEST(FindGrid, OnlyWhereAllOfNewLiesOnOne) {
  Files files = on_grid(ValueType::kFloat32, {1, -14}, 6000);
  ASSERT_TRUE(find_grid(files.pair()).has_value());
  files.new_file[4 * 5999] ^= 1;
  EXPECT_FALSE(find_grid(files.pair()).has_value());
  EXPECT_FALSE(find_grid(on_grid(ValueType::kInt8, {1, 0}, 6000).pair()).has_value())
      << "every integer lies on it";
  Tensor tensor = random_tensor(13, 60, 100);
  for (double& v : tensor.new_values) v *= 1.001;
  EXPECT_FALSE(find_grid(files_of(tensor).pair()).has_value());
}

TEST(FindGrid, ValuesThatAreNoNumbers) {
  for (const uint32_t odd : {0x7F800000u, 0xFF800000u, 0x7FC00000u, 0x80000000u}) {
    for (const bool in_new : {false, true}) {
      Files files = on_grid(ValueType::kFloat32, {1, -14}, 6000);
      File& file = in_new ? files.new_file : files.old_file;
      for (unsigned b = 0; b < 4; ++b) file[400 + b] = static_cast<uint8_t>(odd >> (8 * b));
      const auto found = find_grid(files.pair());
      if (!found.has_value()) continue;
      Operation operation;
      operation.predictor = Predictor::kGrid;
      operation.grid = *found;
      coded_size(files, operation, nullptr);
    }
  }
  std::mt19937 random(14);
  Files wild = on_grid(ValueType::kFloat32, {1, -14}, 6000);
  for (uint8_t& byte : wild.old_file) byte = static_cast<uint8_t>(random());
  for (uint8_t& byte : wild.new_file) byte = static_cast<uint8_t>(random());
  EXPECT_FALSE(find_grid(wild.pair()).has_value());
}

TEST(FindGrid, NotOfAFewValues) {
  for (uint64_t count = 0; count < 24; ++count) {
    EXPECT_FALSE(find_grid(on_grid(ValueType::kFloat32, {1, -14}, count).pair()).has_value());
  }
}

// ---- Products

// Scales of weights and, as new, those times a scale of inputs.
Files products(uint64_t count, float input) {
  std::mt19937 random(17);
  Tensor tensor = random_tensor(18, 1, count);
  tensor.type = ValueType::kFloat32;
  Files files = files_of(tensor);
  for (uint64_t i = 0; i < count; ++i) {
    const float weight = 1e-3F * static_cast<float>(1 + random() % 100000);
    const auto from = std::bit_cast<uint32_t>(weight), to = std::bit_cast<uint32_t>(weight * input);
    for (unsigned b = 0; b < 4; ++b) {
      files.old_file[4 * i + b] = static_cast<uint8_t>(from >> (8 * b));
      files.new_file[4 * i + b] = static_cast<uint8_t>(to >> (8 * b));
    }
  }
  return files;
}

TEST(FitProduct, OneGainForAll) {
  for (const uint64_t count : {8u, 16u, 1000u}) {
    const Files files = products(count, 0.0341372F);
    const auto fit = fit_product(files.pair());
    ASSERT_TRUE(fit.has_value()) << count;
    ASSERT_EQ(fit->numbers.rows.size(), 1u);
    EXPECT_NEAR(std::ldexp(fit->numbers.rows[0], -30), 0.0341372, 1e-8);
    Operation operation;
    operation.predictor = Predictor::kRows;
    operation.rows = fit->shape;
    EXPECT_LT(coded_size(files, operation, &fit->numbers), 12 + count / 4);
  }
}

TEST(ProductFactor, IsExactBothWays) {
  Files files = products(300, 0.0341372F);
  EXPECT_EQ(product_factor(files.pair()), std::bit_cast<uint32_t>(0.0341372F));
  std::swap(files.old_file, files.new_file);
  const auto factor = product_factor(files.pair());
  ASSERT_TRUE(factor.has_value());
  EXPECT_NEAR(std::bit_cast<float>(*factor), 1 / 0.0341372F, 1e-5);
}

TEST(FitProduct, NoneWhereOneValueIsAnother) {
  Files files = products(100, 0.0341372F);
  files.new_file[4 * 50 + 1] ^= 4;
  EXPECT_FALSE(fit_product(files.pair()).has_value());
  files = products(100, 0.0341372F);
  for (unsigned b = 0; b < 4; ++b) files.old_file[b] = 0;
  EXPECT_FALSE(fit_product(files.pair()).has_value());
  EXPECT_FALSE(fit_product(products(0, 1.F).pair()).has_value());
  EXPECT_FALSE(product_factor(products(0, 1.F).pair()).has_value());
}

// ---- Lattices

// Integers of 8 bits times a step, as they are stored after quantisation in training.
Files on_lattice(ValueType type, float old_step, float new_step, uint64_t count) {
  std::mt19937 random(15);
  Tensor tensor = random_tensor(16, 1, count);
  tensor.type = type;
  Files files = files_of(tensor);
  const unsigned size = value_size(type);
  const auto put = [size](File& file, uint64_t i, uint32_t bits) {
    for (unsigned b = 0; b < size; ++b) file[i * size + b] = static_cast<uint8_t>(bits >> (8 * b));
  };
  for (uint64_t i = 0; i < count; ++i) {
    const auto k = static_cast<int32_t>(random() % 31 + random() % 31 + random() % 31) - 45;
    const auto moved =
        k + static_cast<int32_t>(random() % 4 == 0) - static_cast<int32_t>(i % 5 == 0);
    put(files.old_file, i, lattice_value(type, std::bit_cast<uint32_t>(old_step), k));
    put(files.new_file, i, lattice_value(type, std::bit_cast<uint32_t>(new_step), moved));
  }
  return files;
}

TEST(FindLattice, WhereOneIs) {
  const struct {
    ValueType type;
    float old_step, new_step;
  } kCases[] = {{ValueType::kFloat32, 0.0123F, 0.0125F},
                {ValueType::kFloat32, 3e-30F, 3.1e-30F},
                {ValueType::kFloat32, 1.F, 1.F},
                {ValueType::kFloat16, 0.02F, 0.021F},
                {ValueType::kBfloat16, 0.02F, 0.021F}};
  for (const auto& each : kCases) {
    const Files files = on_lattice(each.type, each.old_step, each.new_step, 3000);
    const auto found = find_lattice(files.pair());
    ASSERT_TRUE(found.has_value()) << each.old_step;
    if (each.type == ValueType::kFloat32) {
      EXPECT_EQ(found->old_step, std::bit_cast<uint32_t>(each.old_step));
      EXPECT_EQ(found->new_step, std::bit_cast<uint32_t>(each.new_step));
    }
    Operation operation;
    operation.predictor = Predictor::kLattice;
    operation.lattice = *found;
    EXPECT_LT(coded_size(files, operation, nullptr), plain_size(files));
  }
}

TEST(FindLattice, OnlyWhereAllOfNewLiesOnOne) {
  Files files = on_lattice(ValueType::kFloat32, 0.0123F, 0.0125F, 3000);
  files.old_file[4 * 100] ^= 1;  // old may lie anywhere
  EXPECT_TRUE(find_lattice(files.pair()).has_value());
  files.new_file[4 * 2999] ^= 1;
  EXPECT_FALSE(find_lattice(files.pair()).has_value());
  files = on_lattice(ValueType::kFloat32, 0.0123F, 0.0125F, 3000);
  for (unsigned b = 0; b < 4; ++b) files.new_file[400 + b] = b == 3 ? 0x80 : 0;  // -0
  EXPECT_FALSE(find_lattice(files.pair()).has_value());
  EXPECT_FALSE(find_lattice(on_lattice(ValueType::kFloat32, 1.F, 1.F, 23).pair()).has_value());
  Tensor tensor = random_tensor(13, 60, 100);
  EXPECT_FALSE(find_lattice(files_of(tensor).pair()).has_value());
}

TEST(GridSteps, TheFewestThatGiveNew) {
  const Grid grid = {3, -10};
  const ValueType type = ValueType::kFloat32;
  const uint32_t old_bits = bits_of(type, 0.75);
  for (const int32_t k : {0, 1, -1, 7, -1000, 1 << 19}) {
    EXPECT_EQ(grid_steps(type, old_bits, grid_value(type, old_bits, grid, k), grid), k);
  }
  EXPECT_FALSE(grid_steps(type, old_bits, old_bits + 1, grid).has_value());
  EXPECT_FALSE(grid_steps(type, old_bits, 0x7F800000u, grid).has_value());
  EXPECT_FALSE(grid_steps(type, 0x7F800000u, old_bits, grid).has_value());
  // Steps that rounding swallows: a value as large as this does not move by one.
  const uint32_t large = bits_of(type, 1e9);
  const auto few = grid_steps(type, large, large + 1, grid);
  ASSERT_TRUE(few.has_value());
  EXPECT_EQ(grid_value(type, large, grid, *few), large + 1);
}

}  // namespace
}  // namespace tensorpatch::delta
