// delta/predictors.h: finds, by floating-point analysis of old and new values, the numbers of a
// predictor; whether it pays is for the coder to say.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "apply/row_model.h"

namespace tensorpatch::delta {

// A stretch of values of one tensor, old and new.
struct ValuePair {
  ValueType type = ValueType::kInt8;  // not kUint4
  const uint8_t* old_values = nullptr;
  const uint8_t* new_values = nullptr;
  uint64_t count = 0;
  uint64_t row_values = 0;  // of one row, 0 unknown
  uint64_t column = 0;      // of the first value
};

// The numbers of the rows predictor, as they stand in the patch.
struct RowNumbers {
  std::vector<int32_t> columns;  // column_numbers() for each column
  std::vector<int32_t> rows;     // row_numbers() for each row begun
};
struct RowsFit {
  RowsShape shape;
  RowNumbers numbers;
};

// Gains and low-rank updates that seem to explain a good part of the change; the table of column
// numbers never has more than `column_capacity` entries. Source of the method for low ranks:
// randomised subspace iteration (N. Halko, P. G. Martinsson, J. A. Tropp, "Finding structure with
// randomness", 2011).
std::vector<RowsFit> fit_rows(const ValuePair& pair, uint32_t column_capacity);

// The gain that makes old, however few values, into all of new but for rounding; none where there
// is no such gain.
std::optional<RowsFit> fit_product(const ValuePair& pair);
// The same as a float32, bits of it.
std::optional<uint32_t> product_factor(const ValuePair& pair);

// The grid on which all of new lies around old, if there is one coarse enough to be meant.
std::optional<Grid> find_grid(const ValuePair& pair);

// The steps of which all of new, and of old where it is so, are multiples by integers of 8 bits, as
// quantised values are that were stored as floats.
std::optional<Lattice> find_lattice(const ValuePair& pair);
// The multiple that a value of a lattice is.
int32_t lattice_place(ValueType type, uint32_t bits, uint32_t step);

// k with grid_value(type, old_bits, grid, k) == new_bits, of least magnitude.
std::optional<int32_t> grid_steps(ValueType type, uint32_t old_bits, uint32_t new_bits,
                                  const Grid& grid);

}  // namespace tensorpatch::delta
