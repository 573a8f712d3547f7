// delta/chunk_encoder.h: operations of one interval to the payload of a chunk; mirrors
// lib/apply/patch_decoder.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "apply/patch_decoder.h"
#include "base/file.h"
#include "delta/delta.h"
#include "delta/entropy_encoder.h"

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

 private:
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

// Codes the values of an operation, `count` of them, with any coder.
// old_values: null for intra. new_values points into the new file, at new_offset.
struct ValueRun {
  ValueType type;
  bool intra;
  uint32_t row_bytes;
  const uint8_t* old_values;
  uint64_t new_offset;
  uint64_t count;
};

template <unsigned Level, class Coder>
void code_values(Coder& coder, ValueState& state, const NewView& view, const ValueRun& run) {
  const unsigned size = value_size(run.type);
  const uint8_t* values = view.bytes.data() + run.new_offset;
  ValueModel<Coder, Level> model(coder, state);
  if (run.intra) {
    for (uint64_t i = 0; i < run.count; ++i) {
      const uint64_t at = run.new_offset + i * size;
      uint32_t above = 0;
      const uint64_t known = at - view.restart_offset;
      if (run.row_bytes >= size && run.row_bytes <= known && run.row_bytes <= view.reach) {
        above = load_value(view.bytes.data() + at - run.row_bytes, size);
      }
      model.code_intra({run.type, 0, above}, load_value(values + i * size, size));
    }
    return;
  }
  for (uint64_t tile = 0; tile < run.count; tile += kTile) {
    const uint64_t in_tile = std::min<uint64_t>(kTile, run.count - tile);
    const uint8_t* old_tile = run.old_values + tile * size;
    const uint8_t* new_tile = values + tile * size;
    const bool unchanged = std::equal(new_tile, new_tile + in_tile * size, old_tile);
    model.code_tile_unchanged(unchanged ? 1 : 0);
    if (unchanged) continue;
    for (uint64_t i = 0; i < in_tile; ++i) {
      model.code_residual({run.type, load_value(old_tile + i * size, size), 0},
                          load_value(new_tile + i * size, size));
    }
  }
}

template <class Coder>
void code_values(Coder& coder, ValueSlot& slot, const NewView& view, const ValueRun& run) {
  if (slot.level() == 0) {
    code_values<0>(coder, slot.state(), view, run);
  } else {
    code_values<1>(coder, slot.state(), view, run);
  }
}

// Old as the bytes codec asks for it.
struct OldBytes {
  base::Bytes bytes;
  int at(uint64_t offset) const { return offset < bytes.size() ? bytes[offset] : -1; }
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
      counter.note_changes();
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

  // operation.slot and fresh are chosen here. new_offset ascends without gaps.
  void encode(Operation operation, uint64_t new_offset);
  size_t size() const { return encoder_.size(); }
  uint32_t used_codecs() const { return used_codecs_; }
  std::vector<uint8_t> finish() { return encoder_.finish(); }

 private:
  void choose_slot(Operation& operation, const ValueRun& run);

  const std::vector<ComponentInput>& components_;
  uint32_t component_;
  NewView view_;
  PatchLimits limits_;
  RangeEncoder encoder_;
  OperationModel operations_{};
  std::vector<ValueSlot> slots_;
  std::vector<uint32_t> slot_uses_;  // what each slot was last used for, 0: never
  std::unique_ptr<ByteTables> byte_tables_;
  uint32_t used_codecs_ = 1u << format::kCodecOperations;
};

}  // namespace tensorpatch::delta
