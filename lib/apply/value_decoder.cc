// value_decoder.cc: the codec of typed values: all of it, or plain values at level S.
// SPDX-License-Identifier: Apache-2.0
#include "patch_decoder.h"
#include "residual_model.h"

namespace tensorpatch {
namespace {

ValueState* slot_state(PatchDecoder* d, uint32_t slot) {
  const uint32_t size = (value_state_size(d->job.limits.value_level) + 7) & ~7u;
  return reinterpret_cast<ValueState*>(d->slots + slot * size);
}

// Resets a slot when the operation says so; false: its state was never set.
bool ready_slot(PatchDecoder* d, uint32_t slot) {
  if (d->operation.fresh != 0) {
    value_state_reset(*slot_state(d, slot), d->job.limits.value_level);
    d->ready_slots |= 1u << slot;
  }
  return (d->ready_slots >> slot & 1) != 0;
}

bool begin_rows(PatchDecoder* d) {
  const RowsShape& rows = d->operation.rows;
  if (d->job.limits.column_log2 == 0 || rows.row_values == 0 || rows.column >= rows.row_values ||
      rows.rank > kMaxRank || rows.gain > GainAxis::kColumn || rows.gain_shift > kGainLog2 ||
      static_cast<uint64_t>(rows.row_values) * column_numbers(rows) >
          1u << d->job.limits.column_log2) {
    return false;
  }
  row_state_reset(*d->rows, rows);
  d->column = rows.column;
  d->column_numbers_left = rows.row_values * column_numbers(rows);
  d->row_numbers_left = row_numbers(rows);
  return true;
}

bool begin_values(PatchDecoder* d) {
  const Operation& op = d->operation;
  if (static_cast<unsigned>(op.type) >= kValueTypeCount || op.size % value_size(op.type) != 0 ||
      op.slot >= d->job.limits.value_slots || !ready_slot(d, op.slot)) {
    return false;
  }
  d->tile_left = 0;
  return true;
}

bool begin_predictor(PatchDecoder* d) {
  const Operation& op = d->operation;
  const bool is_float = float_shape(op.type).exponent_mask != 0;
  if (op.intra != 0) return op.factor == 0 || is_float;
  if (op.predictor == Predictor::kOld) return true;
  if (op.predictor == Predictor::kRows) return begin_rows(d);
  if (op.predictor == Predictor::kLattice) return is_float;
  return op.predictor == Predictor::kGrid && op.grid.multiplier != 0;
}

// The slot of a record's field: the last ones, so that plain values seldom meet them.
uint32_t field_slot(const PatchDecoder* d, uint32_t field) {
  return d->job.limits.value_slots - 1u - field;
}

bool begin_records(PatchDecoder* d) {
  const RecordShape& record = d->operation.record;
  if (record.count == 0 || record.count > d->job.limits.value_slots) return false;
  for (uint32_t i = 0; i < record.count; ++i) {
    const RecordField& field = record.fields[i];
    const bool halves = field.type == ValueType::kUint4 && field.count % 2 != 0;
    if (field.count == 0 || halves || !ready_slot(d, field_slot(d, i))) return false;
  }
  d->tile_left = 0;
  d->field = 0;
  d->field_left = 0;
  d->ratio = kGainOne;
  return d->operation.size % record_size(record) == 0;
}

bool begin_any(PatchDecoder* d) {
  return d->operation.kind == OperationKind::kRecords ? begin_records(d)
                                                      : begin_values(d) && begin_predictor(d);
}

// Puts a value's bytes into the ring.
void put(PatchDecoder* d, uint32_t value, unsigned size) {
  for (unsigned i = 0; i < size; ++i) {
    d->ring[(d->position + i) & d->ring_mask] = static_cast<uint8_t>(value >> (8 * i));
  }
  decoder_advance(d, size);
}

uint32_t value_above(const PatchDecoder* d, unsigned size) {
  if (d->operation.row_bytes < size || d->operation.row_bytes > d->position) return 0;
  const History history = decoder_history(d);
  uint32_t value = 0;
  for (unsigned i = 0; i < size; ++i) {
    value |= static_cast<uint32_t>(history.back(d->operation.row_bytes - i)) << (8 * i);
  }
  return value;
}

// A value may be cut by the write unit or the budget: then it is made whole all the same.
bool output_full(const PatchDecoder* d) {
  return decoder_output_room(d) == 0;
}

// The numbers in front of a value; false: input is short.
bool take_row_numbers(PatchDecoder* d) {
  const RowsShape& shape = d->operation.rows;
  RowModel<RangeDecoder> model(d->range, *d->rows, shape);
  const unsigned per_column = column_numbers(shape), per_row = row_numbers(shape);
  while (d->column_numbers_left != 0) {
    if (!decoder_can_step(d)) return false;
    const uint32_t index = shape.row_values * per_column - d->column_numbers_left--;
    d->columns[index] = model.code_of_column(index % per_column, 0);
  }
  while (d->row_numbers_left != 0) {
    if (!decoder_can_step(d)) return false;
    const unsigned index = per_row - d->row_numbers_left--;
    d->rows->row[index] = model.code_of_row(index, 0);
  }
  return true;
}

void next_column(PatchDecoder* d) {
  if (++d->column != d->operation.rows.row_values) return;
  d->column = 0;
  d->row_numbers_left = static_cast<uint8_t>(row_numbers(d->operation.rows));
}

template <unsigned Level>
ValueModel<RangeDecoder, Level> model_of(PatchDecoder* d, uint32_t slot) {
  return {d->range, *slot_state(d, slot), d->job.limits.value_level};
}

template <unsigned Level>
Step residuals(PatchDecoder* d) {
  const unsigned size = value_size(d->operation.type);
  auto model = model_of<Level>(d, d->operation.slot);
  while (d->operation_left != 0) {
    if (output_full(d)) return Step::kOutput;
    const bool rows = Level != kPlainLevel && d->operation.predictor == Predictor::kRows;
    if (rows && !take_row_numbers(d)) return Step::kInput;
    if (d->tile_left == 0) {
      if (!decoder_can_step(d)) return Step::kInput;
      d->tile_unchanged = static_cast<uint8_t>(model.code_tile_unchanged(0));
      const uint32_t left = d->operation_left / size;
      d->tile_left = left < kTile ? left : kTile;
    }
    if (!decoder_need_old(d, size)) return Step::kFailed;
    const uint32_t old = load_value(d->old_buffer + d->old_used, size);
    uint32_t value = old;
    if (d->tile_unchanged == 0) {
      if (!decoder_can_step(d)) return Step::kInput;
      value = code_residual_value(model, d->operation, old, {d->rows, d->columns, d->column}, {});
    }
    if (rows) next_column(d);
    d->old_used += size;
    --d->tile_left;
    put(d, value, size);
  }
  return Step::kDone;
}

template <unsigned Level>
Step intra_values(PatchDecoder* d) {
  const unsigned size = value_size(d->operation.type);
  auto model = model_of<Level>(d, d->operation.slot);
  while (d->operation_left != 0) {
    if (output_full(d)) return Step::kOutput;
    if (!decoder_can_step(d)) return Step::kInput;
    put(d, code_intra_value(model, d->operation, value_above(d, size), 0), size);
  }
  return Step::kDone;
}

// The values of one byte or more of a record's field.
template <unsigned Level>
uint32_t field_values(PatchDecoder* d, const RecordField& field, uint32_t old) {
  auto model = model_of<Level>(d, field_slot(d, d->field));
  if (field.type != ValueType::kUint4) return code_field_value(model, field, old, d->ratio, 0);
  const uint32_t low = code_field_value(model, field, old & 15, d->ratio, 0);
  return low | code_field_value(model, field, old >> 4, d->ratio, 0) << 4;
}

template <unsigned Level>
Step records(PatchDecoder* d) {
  const RecordShape& shape = d->operation.record;
  while (d->operation_left != 0) {
    if (output_full(d)) return Step::kOutput;
    if (d->tile_left == 0) {  // the first value of a record
      if (!decoder_can_step(d)) return Step::kInput;
      auto model = model_of<Level>(d, field_slot(d, 0));
      d->tile_unchanged = static_cast<uint8_t>(model.code_tile_unchanged(0));
      d->tile_left = record_size(shape);
      d->field = 0;
      d->field_left = field_size(shape.fields[0]);
      d->ratio = kGainOne;
    }
    const RecordField& field = shape.fields[d->field];
    const unsigned size = value_size(field.type);
    if (!decoder_need_old(d, size)) return Step::kFailed;
    uint32_t value = load_value(d->old_buffer + d->old_used, size);
    if (d->tile_unchanged == 0) {
      if (!decoder_can_step(d)) return Step::kInput;
      value = field_values<Level>(d, field, value);
    }
    d->old_used += size;
    d->tile_left -= size;
    d->field_left -= size;
    put(d, value, size);
    if (d->field_left == 0 && d->tile_left != 0) {
      ++d->field;
      d->field_left = field_size(shape.fields[d->field]);
    }
  }
  return Step::kDone;
}

template <unsigned Level>
Step step_level(PatchDecoder* d) {
  if (d->operation.kind == OperationKind::kRecords) return records<Level>(d);
  return d->operation.intra != 0 ? intra_values<Level>(d) : residuals<Level>(d);
}

Step step_any(PatchDecoder* d) {
  if constexpr (kSmallCode) return step_level<kAnyLevel>(d);
  return d->job.limits.value_level == 0 ? step_level<0>(d) : step_level<1>(d);
}

bool begin_plain(PatchDecoder* d) {
  return d->job.limits.value_level == 0 && is_plain(d->operation) && begin_values(d);
}

Step step_plain(PatchDecoder* d) {
  return d->operation.intra != 0 ? intra_values<kPlainLevel>(d) : residuals<kPlainLevel>(d);
}

}  // namespace
}  // namespace tensorpatch

using namespace tensorpatch;

extern "C" const tensorpatch_codec tensorpatch_codec_values = {
    format::kCodecValues, format::kAllOfValues, begin_any, step_any, nullptr, nullptr, nullptr};
extern "C" const tensorpatch_codec tensorpatch_codec_values_small = {format::kCodecValues,
                                                                     1u << format::kCodecValues,
                                                                     begin_plain,
                                                                     step_plain,
                                                                     nullptr,
                                                                     nullptr,
                                                                     nullptr};
