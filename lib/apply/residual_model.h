// residual_model.h: one value of an operation: zero map, predictor, value model;
// shared by encoder and decoder.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "operation_model.h"
#include "value_model.h"

namespace tensorpatch {

// What an encoder knows of the value to come; a decoder passes none of it.
struct NewValue {
  uint32_t bits = 0;
  int32_t steps = 0;  // on the operation's grid; its place on the new lattice
};

// Codes a value of an operation on values. `state`, `columns`, `column`: only for the rows
// predictor, whose numbers for this row and column have been coded.
struct RowPlace {
  const RowState* state;
  const int32_t* columns;
  uint32_t column;
};
template <class Model>
uint32_t code_residual_value(Model& model, const Operation& operation, uint32_t old_bits,
                             const RowPlace& place, const NewValue& value) {
  const ValueType type = operation.type;
  if constexpr (Model::kPlain) return model.code_residual({type, old_bits, 0}, value.bits);
  uint32_t new_bits = value.bits;
  if (operation.zero_map != 0 && model.code_zero(type, old_bits, new_bits) != 0) return new_bits;
  if (operation.predictor == Predictor::kGrid) {
    return grid_value(type, old_bits, operation.grid, model.code_steps(value.steps));
  }
  if (operation.predictor == Predictor::kLattice) {
    const Prediction expected = lattice_index(type, old_bits, operation.lattice.old_step);
    ValueContext index{ValueType::kInt8, expected.bits, 0};
    // Next to nothing was rounded off: old is on a lattice too.
    if (expected.fraction < -1 || expected.fraction > 1) index.fraction = expected.fraction;
    const uint32_t k = model.code_residual(index, static_cast<uint32_t>(value.steps) & 0xFF);
    return lattice_value(type, operation.lattice.new_step, static_cast<int8_t>(k));
  }
  ValueContext context{type, old_bits, 0};
  if (operation.predictor == Predictor::kRows) {
    const Prediction expected =
        predict_in_row(type, old_bits, operation.rows, *place.state, place.columns, place.column);
    context.old_bits = expected.bits;
    context.fraction = expected.fraction;
  }
  return model.code_residual(context, value.bits);
}

// Codes a value of an operation without old; `above` is the one a row before.
template <class Model>
uint32_t code_intra_value(Model& model, const Operation& operation, uint32_t above_bits,
                          uint32_t new_bits) {
  const ValueType type = operation.type;
  if (Model::kPlain || operation.factor == 0)
    return model.code_intra({type, 0, above_bits}, new_bits);
  const Prediction expected = predict_product(type, above_bits, operation.factor);
  return model.code_residual({type, expected.bits, 0, expected.fraction}, new_bits);
}

// Codes a value of a record's field. `ratio`: scale_ratio() of the last float16 field, updated
// behind such a field.
template <class Model>
uint32_t code_field_value(Model& model, const RecordField& field, uint32_t old_bits, int32_t& ratio,
                          uint32_t new_bits) {
  ValueContext context{field.type, old_bits, 0};
  if (field.scaled != 0) {
    const Prediction expected = predict_linear(field.type, old_bits, {ratio, 0, 0});
    context.old_bits = expected.bits;
    context.fraction = expected.fraction;
  }
  const uint32_t value = model.code_residual(context, new_bits);
  if (field.type == ValueType::kFloat16) ratio = scale_ratio(old_bits, value);
  return value;
}

}  // namespace tensorpatch
