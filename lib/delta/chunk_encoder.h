// delta/chunk_encoder.h: operations of one interval to the payload of a chunk; mirrors
// lib/apply/patch_decoder.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "apply/patch_decoder.h"
#include "apply/residual_model.h"
#include "base/file.h"
#include "delta/delta.h"
#include "delta/entropy_encoder.h"
#include "delta/predictors.h"

namespace tensorpatch::delta {

// One slot of the values codec. Copyable, so that a choice can be tried.
class ValueSlot {
 public:
  explicit ValueSlot(unsigned level) : level_(level), words_(value_state_size(level) / 4 + 2) {
    reset();
  }
  ValueState& state() { return *reinterpret_cast<ValueState*>(words_.data()); }
  void reset() { value_state_reset(state(), level_); }
  unsigned level() const { return level_; }

 private:
  unsigned level_;
  std::vector<uint32_t> words_;
};

// The bytes codec's memory.
class ByteTables {
 public:
  explicit ByteTables(const PatchLimits& limits)
      : cells_(size_t{1} << limits.byte_cells_log2, kCellStart),
        matches_(limits.match_log2 != 0 ? size_t{1} << limits.match_log2 : 0),
        tables_{cells_.data(), limits.byte_cells_log2, matches_.data(), limits.match_log2} {
    byte_state_reset(state, limits.byte_cells_log2);
  }
  ByteTables(const ByteTables&) = delete;
  ByteTables& operator=(const ByteTables&) = delete;
  std::unique_ptr<ByteTables> copy() const {
    auto made = std::unique_ptr<ByteTables>(new ByteTables(cells_, matches_, tables_));
    made->state = state;
    return made;
  }
  template <class Coder>
  typename ByteModel<Coder>::Tables tables() const {
    return {tables_.cells, tables_.cells_log2, tables_.matches, tables_.matches_log2};
  }
  struct Contents {
    std::vector<Cell> cells;
    std::vector<uint32_t> matches;
  };
  Contents contents() const { return {cells_, matches_}; }
  void restore(const Contents& contents) {
    std::copy(contents.cells.begin(), contents.cells.end(), cells_.begin());
    std::copy(contents.matches.begin(), contents.matches.end(), matches_.begin());
  }
  ByteState state{};
  TrialNotes notes;  // of the trial at hand; here to keep its memory

 private:
  ByteTables(std::vector<Cell> cells, std::vector<uint32_t> matches,
             const ByteModel<CostCounter>::Tables& sizes)
      : cells_(std::move(cells)),
        matches_(std::move(matches)),
        tables_{cells_.data(), sizes.cells_log2, matches_.data(), sizes.matches_log2} {}

  std::vector<Cell> cells_;
  std::vector<uint32_t> matches_;
  ByteModel<CostCounter>::Tables tables_;
};

// A range of offsets in the new file.
struct Interval {
  uint64_t begin = 0;
  uint64_t end = 0;
};

// What the encoder may look at: the new file from the restart point on.
struct NewView {
  base::Bytes bytes;  // the whole new file
  uint64_t restart_offset;
  uint32_t reach;  // of the decoder's history

  History history(uint64_t new_offset) const {
    return {bytes.data() + restart_offset, 0xFFFFFFFFu, reach,
            static_cast<uint32_t>(new_offset - restart_offset)};
  }
};

// A stretch of an operation's values.
struct ValueRun {
  Operation operation;        // says how they are coded; size, slot and fresh do not matter
  const RowNumbers* numbers;  // of the rows predictor, else null
  const uint8_t* old_values;  // null for intra
  uint64_t new_offset;        // of the first value
  uint64_t count;             // of values, or of records
};

template <unsigned Level, class Coder>
void code_intra_values(Coder& coder, ValueState& state, const NewView& view, const ValueRun& run) {
  const unsigned size = value_size(run.operation.type);
  const uint32_t row_bytes = run.operation.row_bytes;
  ValueModel<Coder, Level> model(coder, state);
  for (uint64_t i = 0; i < run.count; ++i) {
    const uint64_t at = run.new_offset + i * size;
    uint32_t above = 0;
    const uint64_t known = at - view.restart_offset;
    if (row_bytes >= size && row_bytes <= known && row_bytes <= view.reach) {
      above = load_value(view.bytes.data() + at - row_bytes, size);
    }
    code_intra_value(model, run.operation, above, load_value(view.bytes.data() + at, size));
  }
}

// The numbers of the rows predictor as the coder comes to them.
template <class Coder>
class RowWriter {
 public:
  RowWriter(Coder& coder, const ValueRun& run)
      : shape_(run.operation.rows), model_(coder, state_, shape_), numbers_(*run.numbers) {
    row_state_reset(state_, shape_);
    const unsigned per_column = column_numbers(shape_);
    for (size_t i = 0; i < numbers_.columns.size(); ++i) {
      model_.code_of_column(static_cast<unsigned>(i % per_column), numbers_.columns[i]);
    }
    column_ = shape_.column;
    begin_row();
  }
  RowPlace place() const { return {&state_, numbers_.columns.data(), column_}; }
  // After each value but the last.
  void advance() {
    if (++column_ != shape_.row_values) return;
    column_ = 0;
    begin_row();
  }

 private:
  void begin_row() {
    for (unsigned i = 0; i < row_numbers(shape_); ++i) {
      state_.row[i] = model_.code_of_row(i, numbers_.rows[next_++]);
    }
  }
  const RowsShape& shape_;
  RowState state_;
  RowModel<Coder> model_;
  const RowNumbers& numbers_;
  uint32_t column_ = 0;
  size_t next_ = 0;
};

// One value that is not in an unchanged tile.
template <class Model>
void code_changed_value(Model& model, const Operation& operation, const RowPlace& place,
                        const uint8_t* old_value, const uint8_t* new_value) {
  const unsigned size = value_size(operation.type);
  const uint32_t old_bits = load_value(old_value, size);
  NewValue value{load_value(new_value, size), 0};
  if (operation.predictor == Predictor::kGrid) {
    value.steps = grid_steps(operation.type, old_bits, value.bits, operation.grid).value_or(0);
  }
  if (operation.predictor == Predictor::kLattice) {
    value.steps = lattice_place(operation.type, value.bits, operation.lattice.new_step);
  }
  code_residual_value(model, operation, old_bits, place, value);
}

template <unsigned Level, class Coder>
void code_residual_values(Coder& coder, ValueState& state, const NewView& view,
                          const ValueRun& run) {
  const unsigned size = value_size(run.operation.type);
  const uint8_t* new_values = view.bytes.data() + run.new_offset;
  ValueModel<Coder, Level> model(coder, state);
  std::optional<RowWriter<Coder>> rows;
  if (run.operation.predictor == Predictor::kRows) rows.emplace(coder, run);
  for (uint64_t tile = 0; tile < run.count; tile += kTile) {
    const uint64_t end = std::min<uint64_t>(tile + kTile, run.count);
    const bool unchanged =
        std::equal(new_values + tile * size, new_values + end * size, run.old_values + tile * size);
    model.code_tile_unchanged(unchanged ? 1 : 0);
    for (uint64_t i = tile; i < end; ++i) {
      if (!unchanged) {
        code_changed_value(model, run.operation, rows ? rows->place() : RowPlace{},
                           run.old_values + i * size, new_values + i * size);
      }
      if (rows && i + 1 < run.count) rows->advance();
    }
  }
}

// The values of one field of a record.
template <class Model>
void code_field(Model& model, const RecordField& field, int32_t& ratio, const uint8_t* old_bytes,
                const uint8_t* new_bytes) {
  const unsigned step = value_size(field.type);
  for (uint32_t at = 0; at < field_size(field); at += step) {
    const uint32_t from = load_value(old_bytes + at, step), to = load_value(new_bytes + at, step);
    if (field.type == ValueType::kUint4) {
      code_field_value(model, field, from & 15, ratio, to & 15);
      code_field_value(model, field, from >> 4, ratio, to >> 4);
    } else {
      code_field_value(model, field, from, ratio, to);
    }
  }
}

template <unsigned Level, class Coder>
void code_records(Coder& coder, std::span<ValueSlot> slots, const NewView& view,
                  const ValueRun& run) {
  const RecordShape& shape = run.operation.record;
  const uint32_t size = record_size(shape);
  const auto state = [&](unsigned field) -> ValueState& {
    return slots[slots.size() - 1 - field].state();
  };
  for (uint64_t i = 0; i < run.count; ++i) {
    const uint8_t* old_next = run.old_values + i * size;
    const uint8_t* new_next = view.bytes.data() + run.new_offset + i * size;
    const bool unchanged = std::equal(new_next, new_next + size, old_next);
    ValueModel<Coder, Level>(coder, state(0)).code_tile_unchanged(unchanged ? 1 : 0);
    if (unchanged) continue;
    int32_t ratio = kGainOne;
    for (unsigned f = 0; f < shape.count; ++f) {
      ValueModel<Coder, Level> model(coder, state(f));
      code_field(model, shape.fields[f], ratio, old_next, new_next);
      old_next += field_size(shape.fields[f]);
      new_next += field_size(shape.fields[f]);
    }
  }
}

template <unsigned Level, class Coder>
void code_values_at(Coder& coder, std::span<ValueSlot> slots, const NewView& view,
                    const ValueRun& run) {
  const Operation& operation = run.operation;
  if (operation.kind == OperationKind::kRecords) {
    code_records<Level>(coder, slots, view, run);
  } else if (operation.intra != 0) {
    code_intra_values<Level>(coder, slots[operation.slot].state(), view, run);
  } else {
    code_residual_values<Level>(coder, slots[operation.slot].state(), view, run);
  }
}

// Codes a run with any coder. Records use the last slots, the others slots[operation.slot].
template <class Coder>
void code_values(Coder& coder, std::span<ValueSlot> slots, const NewView& view,
                 const ValueRun& run) {
  if (slots.front().level() == 0) {
    code_values_at<0>(coder, slots, view, run);
  } else {
    code_values_at<1>(coder, slots, view, run);
  }
}

// Old as the bytes codec asks for it: nothing before the floor is there.
struct OldBytes {
  base::Bytes bytes;
  uint64_t floor;
  uint64_t lowest = UINT64_MAX;  // offset that was asked for
  int at(uint64_t offset) {
    if (offset >= bytes.size()) return -1;
    lowest = std::min(lowest, offset);
    return offset >= floor ? bytes[offset] : -1;
  }
};

// Codes [new_offset, new_offset + size) as bytes; byte_state_begin() comes before the first call.
template <class Coder, class Old>
void code_bytes(Coder& coder, ByteTables& tables, const NewView& view, const ByteShape& shape,
                Old& old, Interval range) {
  const auto t = tables.tables<Coder>();
  ByteModel<Coder> model(coder, tables.state, t);
  for (uint64_t at = range.begin; at < range.end; ++at) {
    model.code_byte(view.history(at), shape, old, view.bytes[at]);
  }
}

// Lets the model learn a stretch of old before an operation.
template <class Coder>
void learn_bytes(Coder& coder, ByteTables& tables, const ByteShape& shape, OldBytes& old,
                 Interval range) {
  const auto t = tables.tables<Coder>();
  ByteModel<Coder> model(coder, tables.state, t);
  if (range.begin == range.end) return;
  tables.state.learnt = range.begin;
  for (uint64_t at = range.begin; at < range.end; ++at) model.learn(shape, old, at);
}

// Coding of `size` bytes that can be undone: short stretches note every change, long ones keep a
// copy of the tables, so that memory stays bounded. Without tables there is nothing to undo.
class ByteTrial {
 public:
  ByteTrial(ByteTables* tables, uint64_t size) : tables_(tables) {
    if (tables_ == nullptr) return;
    state_ = tables_->state;
    if (size > kNotedBytes) {
      before_ = tables_->contents();
    } else {
      counter.note_changes(tables->notes);
    }
  }
  void undo() {
    if (tables_ == nullptr) return;
    counter.undo();
    if (!before_.cells.empty()) tables_->restore(before_);
    tables_->state = state_;
  }
  TrialCounter counter;

 private:
  static constexpr uint64_t kNotedBytes = 8192;  // about 8 MiB of notes
  ByteTables* tables_;
  ByteState state_{};
  ByteTables::Contents before_;
};

// Encodes operations, in order, from a restart point on.
class ChunkEncoder {
 public:
  ChunkEncoder(const std::vector<ComponentInput>& components, uint32_t component,
               const PatchLimits& limits, uint64_t restart_offset);

  // operation.slot and fresh are chosen here. new_offset ascends without gaps. `numbers`: of the
  // rows predictor, else null.
  void encode(Operation operation, uint64_t new_offset, const RowNumbers* numbers);
  size_t size() const { return encoder_.size(); }
  uint32_t used_codecs() const { return used_codecs_; }
  // Most bytes behind the restart point at which old was looked at.
  uint64_t reach() const {
    return lowest_old_ < view_.restart_offset ? view_.restart_offset - lowest_old_ : 0;
  }
  std::vector<uint8_t> finish() { return encoder_.finish(); }

 private:
  void choose_slot(ValueRun& run);
  void choose_record_slots(ValueRun& run);
  bool past_costs_more(const ValueRun& run) const;

  const std::vector<ComponentInput>& components_;
  uint32_t component_;
  NewView view_;
  PatchLimits limits_;
  RangeEncoder encoder_;
  OperationModel operations_{};
  std::vector<ValueSlot> slots_;
  RecordShape last_record_{};
  std::vector<uint32_t> slot_uses_;  // what each slot was last used for, 0: never
  std::unique_ptr<ByteTables> byte_tables_;
  uint32_t used_codecs_ = 1u << format::kCodecOperations;
  uint64_t lowest_old_ = UINT64_MAX;
};

}  // namespace tensorpatch::delta
