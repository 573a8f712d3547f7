// row_model.h: the side information of the rows predictor; shared by encoder and decoder.
//
// The values of an operation are seen as rows of equal length. Each row or each column may have a
// gain, and each row and each column a vector of `rank` factors; predict_linear() (prediction.h)
// makes the expected value from them. Numbers of the columns stand in front of the operation's
// values, in a table of the workspace; those of a row stand in front of its first value.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdint.h>

#include "number_model.h"
#include "prediction.h"

namespace tensorpatch {

enum class GainAxis : uint8_t { kNone = 0, kRow = 1, kColumn = 2 };

struct RowsShape {
  uint32_t row_values = 0;  // >= 1
  uint32_t column = 0;      // of the operation's first value, < row_values
  GainAxis gain = GainAxis::kNone;
  uint8_t gain_shift = 0;    // gains are multiples of 2^gain_shift, 0..30
  uint8_t rank = 0;          // 0..kMaxRank
  uint8_t factor_shift = 0;  // products of factors count 2^-factor_shift, 0..126
};

inline unsigned column_numbers(const RowsShape& shape) {
  return shape.rank + (shape.gain == GainAxis::kColumn ? 1u : 0u);
}
inline unsigned row_numbers(const RowsShape& shape) {
  return shape.rank + (shape.gain == GainAxis::kRow ? 1u : 0u);
}

// One of the workspace's structures: plain integers, the same size everywhere.
struct RowState {
  int32_t row[kMaxRank + 1];  // the row at hand: its gain, if it has one, then its factors
  int32_t last_gain;          // in units of 2^gain_shift
  NumberModel gains;
  NumberModel factors;
  Cell negative[4];
};

inline void row_state_reset(RowState& state, const RowsShape& shape) {
  state.last_gain = kGainOne >> shape.gain_shift;
  number_model_reset(state.gains);
  number_model_reset(state.factors);
  for (Cell& cell : state.negative) cell = kCellStart;
}

// The prediction of the value in column `column` of the row at hand. `table`: column_numbers() for
// each column.
inline Prediction predict_in_row(ValueType type, uint32_t old_bits, const RowsShape& shape,
                                 const RowState& state, const int32_t* table, uint32_t column) {
  const int32_t* of_column = table + static_cast<size_t>(column) * column_numbers(shape);
  const int32_t* of_row = static_cast<const int32_t*>(state.row);
  LinearTerms terms{kGainOne, 0, shape.factor_shift};
  if (shape.gain == GainAxis::kRow) terms.gain = *of_row++;
  if (shape.gain == GainAxis::kColumn) terms.gain = *of_column++;
  for (unsigned i = 0; i < shape.rank; ++i) {
    terms.update += static_cast<int64_t>(of_row[i]) * of_column[i];
  }
  return predict_linear(type, old_bits, terms);
}

template <class Coder>
class RowModel {
 public:
  RowModel(Coder& coder, RowState& state, const RowsShape& shape)
      : coder_(coder), s_(state), shape_(shape) {}

  // Number `index` of a column or a row; a decoder gives any value and gets the real one.
  int32_t code_of_column(unsigned index, int32_t value) {
    return code(shape_.gain == GainAxis::kColumn && index == 0, value);
  }
  int32_t code_of_row(unsigned index, int32_t value) {
    return code(shape_.gain == GainAxis::kRow && index == 0, value);
  }

 private:
  int32_t code(bool is_gain, int32_t value) {
    if (!is_gain) return signed_number(s_.factors, 2, value, kFactorBits);
    const int32_t before = s_.last_gain;
    const auto moved = static_cast<uint32_t>(
        signed_number(s_.gains, 0,
                      static_cast<int32_t>(static_cast<uint32_t>(value >> shape_.gain_shift) -
                                           static_cast<uint32_t>(before)),
                      32));
    s_.last_gain = static_cast<int32_t>(static_cast<uint32_t>(before) + moved);
    return static_cast<int32_t>(static_cast<uint32_t>(s_.last_gain) << shape_.gain_shift);
  }

  // Larger numbers than `bits` bits are cut; no encoder makes them.
  int32_t signed_number(NumberModel& model, unsigned cell, int32_t value, unsigned bits) {
    const auto size = static_cast<uint64_t>(value < 0 ? -static_cast<int64_t>(value) : value);
    const uint64_t coded = code_number(coder_, model, size) & ((uint64_t{1} << bits) - 1);
    if (coded == 0) return 0;
    const unsigned negative = code_bit(coder_, s_.negative[cell], value < 0 ? 1u : 0u);
    const auto low = static_cast<uint32_t>(coded);
    return static_cast<int32_t>(negative != 0 ? 0u - low : low);
  }

  Coder& coder_;
  RowState& s_;
  const RowsShape& shape_;
};

}  // namespace tensorpatch
