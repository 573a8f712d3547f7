// tests/support/operation_cases.cc: makes the cases; see operation_cases.h.
// SPDX-License-Identifier: Apache-2.0
#include "support/operation_cases.h"

#include <algorithm>

#include "delta/chunk_encoder.h"

namespace tensorpatch::test {
namespace {

using File = std::vector<uint8_t>;

// Numbers of a linear congruence.
class Dice {
 public:
  explicit Dice(uint32_t seed) : state_(seed * 2654435769u + 12345) {}
  uint32_t bits() {
    state_ = state_ * 1664525u + 1013904223u;
    return state_ >> 8 ^ state_ << 24;
  }
  uint32_t below(uint32_t limit) { return bits() % limit; }
  // From -limit to limit.
  int32_t around(uint32_t limit) {
    return static_cast<int32_t>(below(2 * limit + 1)) - static_cast<int32_t>(limit);
  }

 private:
  uint32_t state_;
};

uint32_t mask_of(ValueType type) {
  if (type == ValueType::kUint4) return 15;
  return 0xFFFFFFFFu >> (32 - 8 * value_size(type));
}

// Weights of a usual size, now and then something odd.
uint32_t old_value(Dice& dice, ValueType type) {
  const FloatShape shape = float_shape(type);
  const uint32_t any = dice.bits(), mask = mask_of(type);
  if (dice.below(8) == 0) {
    const uint32_t infinity = static_cast<uint32_t>(shape.exponent_mask) << shape.mantissa_bits;
    const uint32_t odd[] = {0, sign_of(type), infinity, infinity | 1, 1, infinity - 1, mask, any};
    return odd[dice.below(8)] & mask;
  }
  if (shape.exponent_mask == 0) return any & mask & (type == ValueType::kInt32 ? 0xFFFF : mask);
  const uint32_t exponent = (shape.exponent_mask >> 1) - 2 - dice.below(6);
  const uint32_t mantissa = any & ((1u << shape.mantissa_bits) - 1);
  return (any & sign_of(type)) | exponent << shape.mantissa_bits | mantissa;
}

// Near `expected`, seldom far away.
uint32_t moved_value(Dice& dice, ValueType type, uint32_t expected) {
  if (dice.below(24) == 0) return dice.bits() & mask_of(type);
  return (expected + static_cast<uint32_t>(dice.around(2))) & mask_of(type);
}

class CaseMaker {
 public:
  CaseMaker(std::string name, uint32_t seed) : dice_(seed) { made_.name = std::move(name); }

  OperationCase take() { return std::move(made_); }
  Dice& dice() { return dice_; }

  void rows(Operation operation, uint32_t count) {
    const RowsShape& shape = operation.rows;
    delta::RowNumbers numbers;
    for (uint32_t i = 0; column_numbers(shape) != 0 && i < shape.row_values; ++i) {
      if (shape.gain == GainAxis::kColumn) numbers.columns.push_back(gain(shape));
      for (unsigned k = 0; k < shape.rank; ++k) numbers.columns.push_back(factor());
    }
    const uint32_t row_count = (shape.column + count - 1) / shape.row_values + 1;
    for (uint32_t i = 0; i < row_count; ++i) {
      if (shape.gain == GainAxis::kRow) numbers.rows.push_back(gain(shape));
      for (unsigned k = 0; k < shape.rank; ++k) numbers.rows.push_back(factor());
    }
    operation.predictor = Predictor::kRows;
    begin(operation);
    RowState state{};
    for (uint32_t i = 0; i < count; ++i) {
      const uint32_t at = shape.column + i;
      const unsigned per_row = row_numbers(shape);
      for (unsigned k = 0; k < per_row; ++k) {
        state.row[k] = numbers.rows[at / shape.row_values * per_row + k];
      }
      const uint32_t old_bits = next_old(operation.type);
      const Prediction expected = predict_in_row(operation.type, old_bits, shape, state,
                                                 numbers.columns.data(), at % shape.row_values);
      put(operation, old_bits, moved_value(dice_, operation.type, expected.bits));
    }
    end(operation, std::move(numbers));
  }

  void grid(Operation operation, uint32_t count) {
    operation.predictor = Predictor::kGrid;
    begin(operation);
    for (uint32_t i = 0; i < count; ++i) {
      const uint32_t old_bits = next_old(operation.type);
      const uint32_t kind = dice_.below(12);
      const int32_t k = kind < 6 ? 0 : kind < 11 ? dice_.around(3) : dice_.around(60000);
      uint32_t new_bits = grid_value(operation.type, old_bits, operation.grid, k);
      // What has no number of steps, because it lies beyond the type's ends.
      if (!delta::grid_steps(operation.type, old_bits, new_bits, operation.grid).has_value()) {
        new_bits = old_bits;
      }
      put(operation, old_bits, new_bits);
    }
    end(operation, {});
  }

  void lattice(Operation operation, uint32_t count) {
    operation.predictor = Predictor::kLattice;
    begin(operation);
    for (uint32_t i = 0; i < count; ++i) {
      const uint32_t wild = next_old(operation.type);
      const auto place = static_cast<int8_t>(dice_.around(100));
      const uint32_t on = lattice_value(operation.type, operation.lattice.old_step, place);
      const uint32_t old_bits = dice_.below(8) == 0 ? wild : on;
      const uint32_t near =
          lattice_index(operation.type, old_bits, operation.lattice.old_step).bits;
      const auto k = static_cast<int8_t>(near + static_cast<uint32_t>(dice_.around(3)));
      put(operation, old_bits, lattice_value(operation.type, operation.lattice.new_step, k));
    }
    end(operation, {});
  }

  // What came before, and that times a number.
  void products(Operation operation, uint32_t count) {
    const unsigned size = value_size(operation.type);
    operation.intra = 1;
    const size_t from = made_.new_file.size();
    const uint32_t factor = operation.factor;
    operation.factor = 0;
    begin(operation);
    for (uint32_t i = 0; i < count; ++i) put(operation, 0, next_old(operation.type));
    end(operation, {});
    operation.factor = factor;
    operation.row_bytes = count * size;
    begin(operation);
    for (uint32_t i = 0; i < count; ++i) {
      const uint32_t above = load_value(made_.new_file.data() + from + i * size, size);
      const Prediction expected = predict_product(operation.type, above, factor);
      put(operation, 0,
          i % 4 == 3 ? moved_value(dice_, operation.type, expected.bits) : expected.bits);
    }
    end(operation, {});
  }

  void plain(Operation operation, uint32_t count) {
    begin(operation);
    for (uint32_t i = 0; i < count; ++i) {
      const uint32_t old_bits = next_old(operation.type);
      put(operation, old_bits, moved_value(dice_, operation.type, old_bits));
    }
    end(operation, {});
  }

  // Values whose low bits are zero, until some are not.
  void tails(Operation operation, uint32_t count, unsigned bits) {
    begin(operation);
    const uint32_t mask = mask_of(operation.type);
    for (uint32_t i = 0; i < count; ++i) {
      const uint32_t old_bits = next_old(operation.type) >> bits << bits;
      uint32_t new_bits = moved_value(dice_, operation.type, old_bits >> bits) << bits & mask;
      if (i > count * 3 / 4 && dice_.below(5) == 0) new_bits ^= 1u << dice_.below(bits);
      put(operation, old_bits, new_bits);
    }
    end(operation, {});
  }

  // Every third record as it was.
  void records(const RecordShape& shape, uint32_t count) {
    Operation operation;
    operation.kind = OperationKind::kRecords;
    operation.record = shape;
    operation.old.offset = made_.old_file.size();
    operation.size = count * record_size(shape);
    for (uint32_t i = 0; i < count; ++i) record(shape, i % 3 == 1);
    end(operation, {});
  }

 private:
  int32_t gain(const RowsShape& shape) {
    const int32_t fine = kGainOne + dice_.around(1u << 26) * (dice_.below(9) == 0 ? 15 : 1);
    const auto units = static_cast<uint32_t>(dice_.below(16) == 0 ? 0 : fine >> shape.gain_shift);
    return static_cast<int32_t>(units << shape.gain_shift);
  }
  int32_t factor() {
    return dice_.below(10) == 0 ? dice_.around((1u << 23) - 1) : dice_.around(99);
  }

  void begin(Operation& operation) {
    operation.kind = OperationKind::kValues;
    operation.old.offset = made_.old_file.size();
  }
  uint32_t next_old(ValueType type) { return old_value(dice_, type); }

  void put(const Operation& operation, uint32_t old_bits, uint32_t new_bits) {
    const uint32_t sign = sign_of(operation.type), zero = zero_of(operation.type);
    if (operation.zero_map != 0 && dice_.below(3) == 0) {
      new_bits = sign != 0 && dice_.below(4) != 0 ? old_bits & sign : sign & dice_.bits();
      if (sign == 0) new_bits = zero;
    }
    put_bytes(made_.old_file, old_bits, value_size(operation.type));
    put_bytes(made_.new_file, new_bits, value_size(operation.type));
  }
  static void put_bytes(File& file, uint32_t value, unsigned size) {
    for (unsigned i = 0; i < size; ++i) file.push_back(static_cast<uint8_t>(value >> (8 * i)));
  }

  void end(Operation operation, delta::RowNumbers numbers) {
    operation.size = static_cast<uint32_t>(made_.old_file.size() - operation.old.offset);
    made_.operations.push_back({operation, std::move(numbers)});
  }

  void record(const RecordShape& shape, bool unchanged) {
    int32_t ratio = kGainOne;
    for (unsigned f = 0; f < shape.count; ++f) {
      const RecordField& field = shape.fields[f];
      std::vector<uint32_t> olds, news;
      for (unsigned i = 0; i < field.count; ++i) {
        olds.push_back(old_value(dice_, field.type));
        const Prediction expected = predict_linear(field.type, olds[i], {ratio, 0, 0});
        const uint32_t around = field.scaled != 0 ? expected.bits : olds[i];
        news.push_back(unchanged ? olds[i] : moved_value(dice_, field.type, around));
        if (field.type == ValueType::kFloat16) {
          if (!unchanged && dice_.below(2) == 0) news[i] = olds[i] ^ (dice_.bits() & 0x1FF);
          ratio = scale_ratio(olds[i], news[i]);
        }
      }
      put_field(made_.old_file, field, olds);
      put_field(made_.new_file, field, news);
    }
  }
  static void put_field(File& file, const RecordField& field, const std::vector<uint32_t>& values) {
    const bool halves = field.type == ValueType::kUint4;
    for (size_t i = 0; i < values.size(); i += halves ? 2 : 1) {
      put_bytes(file, halves ? values[i] | values[i + 1] << 4 : values[i], value_size(field.type));
    }
  }

  OperationCase made_;
  Dice dice_;
};

struct NamedType {
  const char* name;
  ValueType type;
};

Operation of_type(ValueType type) {
  Operation operation;
  operation.type = type;
  return operation;
}

// A gain for each row, then for each column, then factors, then both with a zero map; the first row
// is cut in some, and in some the last.
OperationCase rows_case(const NamedType& each) {
  CaseMaker make(std::string("rows-") + each.name, static_cast<uint32_t>(each.type) + 100);
  const bool is_integer = float_shape(each.type).exponent_mask == 0;
  const auto shift = static_cast<uint8_t>(is_integer ? 12 : 24);
  const uint32_t count = value_size(each.type) == 4 ? 45 : 70;
  Operation operation = of_type(each.type);
  operation.rows = {11, 4, GainAxis::kRow, 14, 0, 0};
  make.rows(operation, count);
  operation.rows = {9, 0, GainAxis::kColumn, 0, 0, 0};
  make.rows(operation, count);
  operation.rows = {13, 12, GainAxis::kNone, 0, 3, shift};
  make.rows(operation, count);
  operation.rows = {6, 1, GainAxis::kRow, 30, 1, static_cast<uint8_t>(is_integer ? 3 : 126)};
  operation.zero_map = 1;
  make.rows(operation, count);
  operation.rows = {12, 0, GainAxis::kColumn, 20, 4, static_cast<uint8_t>(is_integer ? 75 : 40)};
  make.rows(operation, 11);
  return make.take();
}

// A row that never ends, rank 16.
OperationCase long_rows_case() {
  CaseMaker make("rows-long", 7);
  Operation operation = of_type(ValueType::kFloat32);
  operation.rows = {0x7FFFFFFF, 0x7FFFFF00, GainAxis::kRow, 8, 0, 0};
  make.rows(operation, 70);
  operation.rows = {4, 0, GainAxis::kNone, 0, 16, 26};
  make.rows(operation, 40);
  operation.rows = {1, 0, GainAxis::kNone, 0, 0, 0};  // old, by a roundabout way
  make.rows(operation, 20);
  return make.take();
}

OperationCase grid_case(const NamedType& each, const Grid& first, const Grid& second) {
  CaseMaker make(std::string("grid-") + each.name, static_cast<uint32_t>(each.type) + 200);
  const uint32_t count = value_size(each.type) == 4 ? 80 : 150;
  Operation operation = of_type(each.type);
  operation.grid = first;
  make.grid(operation, count);
  operation.grid = second;
  operation.zero_map = 1;
  make.grid(operation, count / 2);
  operation.zero_map = 0;
  make.grid(operation, count / 4);
  return make.take();
}

OperationCase lattice_case(const NamedType& each, const Lattice& first, const Lattice& second) {
  CaseMaker make(std::string("lattice-") + each.name, static_cast<uint32_t>(each.type) + 600);
  const uint32_t count = value_size(each.type) == 4 ? 80 : 150;
  Operation operation = of_type(each.type);
  operation.lattice = first;
  make.lattice(operation, count);
  operation.lattice = second;
  operation.zero_map = 1;
  make.lattice(operation, count / 2);
  return make.take();
}

OperationCase product_case(const NamedType& each, uint32_t first, uint32_t second) {
  CaseMaker make(std::string("product-") + each.name, static_cast<uint32_t>(each.type) + 700);
  const uint32_t count = value_size(each.type) == 4 ? 30 : 50;
  Operation operation = of_type(each.type);
  operation.factor = first;
  make.products(operation, count);
  operation.factor = second;
  make.products(operation, count / 2);
  return make.take();
}

OperationCase zero_map_case(const NamedType& each) {
  CaseMaker make(std::string("zero-map-") + each.name, static_cast<uint32_t>(each.type) + 300);
  const uint32_t count = value_size(each.type) == 4 ? 100 : 200;
  Operation operation = of_type(each.type);
  operation.zero_map = 1;
  make.plain(operation, count);
  make.plain(operation, count / 4);  // as before
  operation.zero_map = 0;
  make.plain(operation, count / 4);
  return make.take();
}

OperationCase tails_case(const NamedType& each, unsigned bits) {
  CaseMaker make(std::string("tails-") + each.name, static_cast<uint32_t>(each.type) + 500);
  const uint32_t count = value_size(each.type) == 4 ? 70 : 120;
  Operation operation = of_type(each.type);
  make.tails(operation, count, bits);
  operation.intra = 1;
  make.tails(operation, count, bits);
  operation.row_bytes = 4 * value_size(each.type);
  make.tails(operation, count / 4, bits - 1);
  return make.take();
}

OperationCase records_case(const std::string& name, const RecordShape& shape, uint32_t count) {
  CaseMaker make("records-" + name, shape.count + 400u + count);
  make.records(shape, count);
  Operation between = of_type(ValueType::kInt16);
  make.plain(between, 20);
  make.records(shape, 3);  // as before
  return make.take();
}

}  // namespace

std::vector<OperationCase> operation_cases() {
  using enum ValueType;
  std::vector<OperationCase> cases;
  for (const NamedType& each : {NamedType{"float32", kFloat32}, NamedType{"bfloat16", kBfloat16},
                                NamedType{"float16", kFloat16}, NamedType{"int8", kInt8},
                                NamedType{"uint8", kUint8}, NamedType{"int32", kInt32}}) {
    cases.push_back(rows_case(each));
  }
  cases.push_back(long_rows_case());
  cases.push_back(grid_case({"float32", kFloat32}, {13, -16}, {63, -200}));
  cases.push_back(grid_case({"bfloat16", kBfloat16}, {1, -9}, {5, -7}));
  cases.push_back(grid_case({"int8", kInt8}, {3, 0}, {1, 2}));
  cases.push_back(lattice_case({"float32", kFloat32}, {0x3C23D70A, 0x3C360B61}, {0x2F000001, 1}));
  cases.push_back(lattice_case({"float16", kFloat16}, {0x3C23D70A, 0x3B83126F}, {0x3F800000, 0}));
  cases.push_back(
      lattice_case({"bfloat16", kBfloat16}, {0x3C23D70A, 0x3C23D70B}, {0x7F800000, 0x7F7FFFFF}));
  cases.push_back(product_case({"float32", kFloat32}, 0x3D0BD3B4, 0x41F00001));
  cases.push_back(product_case({"bfloat16", kBfloat16}, 0x3F800000, 0x7F800000));
  cases.push_back(zero_map_case({"float32", kFloat32}));
  cases.push_back(zero_map_case({"float16", kFloat16}));
  cases.push_back(zero_map_case({"uint8", kUint8}));
  cases.push_back(zero_map_case({"int32", kInt32}));
  cases.push_back(tails_case({"float32", kFloat32}, 16));
  cases.push_back(tails_case({"bfloat16", kBfloat16}, 5));
  cases.push_back(tails_case({"int32", kInt32}, 12));
  cases.push_back(tails_case({"int16", kInt16}, 6));
  cases.push_back(records_case("q4-0", {2, {{1, kFloat16, 0}, {32, kUint4, 1}}}, 20));
  cases.push_back(records_case("q8-0", {2, {{1, kFloat16, 0}, {32, kInt8, 1}}}, 14));
  cases.push_back(records_case("seven",
                               {7,
                                {{2, kUint8, 0},
                                 {2, kFloat16, 0},
                                 {6, kUint4, 1},
                                 {3, kInt16, 1},
                                 {1, kBfloat16, 1},
                                 {2, kFloat32, 1},
                                 {1, kInt32, 1}}},
                               20));
  return cases;
}

uint8_t slots_needed(const OperationCase& each) {
  uint8_t most = 1;
  for (const CaseOperation& part : each.operations) {
    most = std::max(most, part.operation.record.count);
  }
  return most;
}

std::vector<uint8_t> encode_case(const OperationCase& each, const PatchLimits& limits) {
  const model::Model no_model;
  const std::vector<delta::ComponentInput> inputs = {
      {each.old_file, each.new_file, &no_model, &no_model}};
  delta::ChunkEncoder encoder(inputs, 0, limits, 0);
  uint64_t offset = 0;
  for (const CaseOperation& part : each.operations) {
    encoder.encode(part.operation, offset, &part.numbers);
    offset += part.operation.size;
  }
  const File payload = encoder.finish();
  File stream = {format::kChunkRestart | format::kCodecOperations};
  for (size_t value : {each.new_file.size(), payload.size()}) {
    for (; value >= 128; value >>= 7) stream.push_back(static_cast<uint8_t>(value | 128));
    stream.push_back(static_cast<uint8_t>(value));
  }
  stream.insert(stream.end(), payload.begin(), payload.end());
  return stream;
}

}  // namespace tensorpatch::test
