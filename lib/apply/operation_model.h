// operation_model.h: how the headers of operations are coded; shared by encoder and decoder.
//
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdint.h>

#include "byte_model.h"
#include "number_model.h"
#include "row_model.h"
#include "value_model.h"

namespace tensorpatch {

enum class OperationKind : uint8_t {
  kCopy = 0,     // bytes of old
  kValues = 1,   // typed values: residuals against old, or intra
  kBytes = 2,    // bytes: against old with a pointer that finds its way, or literal
  kRecords = 3,  // records of several typed fields: residuals against old
};
inline constexpr unsigned kOperationKinds = 4;

// What residuals are taken against.
enum class Predictor : uint8_t {
  kOld = 0,      // old
  kRows = 1,     // old times a gain plus a low-rank update
  kGrid = 2,     // not residuals but steps of a grid around old
  kLattice = 3,  // old and new as integers times a step
};

// Where in old an operation reads.
struct OldPlace {
  alignas(8) uint64_t offset = 0;
  uint32_t component = 0;
};

// The fields of a record, one behind the other.
inline constexpr unsigned kMaxFields = 7;
struct RecordField {
  uint16_t count = 0;  // values, 1..511; of kUint4 an even number
  ValueType type = ValueType::kUint8;
  uint8_t scaled = 0;  // 1: old counts in units of the last float16 field before
  bool operator==(const RecordField&) const = default;
};
struct RecordShape {
  uint8_t count = 0;  // fields, 1..kMaxFields
  RecordField fields[kMaxFields];
  bool operator==(const RecordShape&) const = default;
};
inline uint32_t field_size(const RecordField& field) {
  return field.type == ValueType::kUint4 ? field.count / 2u : field.count * value_size(field.type);
}
inline uint32_t record_size(const RecordShape& shape) {
  uint32_t size = 0;
  for (unsigned i = 0; i < shape.count; ++i) size += field_size(shape.fields[i]);
  return size;
}

// How values or bytes are coded; a header may only say "as before".
struct Coding {
  uint32_t row_bytes = 0;  // intra: distance of the value above; bytes: stride. 0: none
  uint8_t intra = 0;       // 1: no old
  // Values.
  ValueType type = ValueType::kInt8;
  uint8_t slot = 0;
  uint8_t zero_map = 0;  // 1: a flag in front of each value tells whether it is zero
  Predictor predictor = Predictor::kOld;
  // Bytes.
  uint8_t width_log2 = 0;
};

struct Operation : Coding {
  OperationKind kind = OperationKind::kCopy;
  uint32_t size = 0;  // bytes of new, > 0; for values a multiple of the value size
  OldPlace old;       // copy and residual values
  // Values.
  uint8_t fresh = 0;  // 1: the slot, or every slot of the records, is reset before
  RowsShape rows;
  Grid grid{};
  Lattice lattice{};
  uint32_t factor = 0;  // intra: the value above times this float32 is expected; 0: nothing is
  RecordShape record;
  // Bytes.
  uint32_t learn_size = 0;  // bytes of old that the model learns first
  alignas(8) uint64_t learn_offset = 0;
};

inline bool operation_reads_old(const Operation& operation) {
  return operation.kind == OperationKind::kCopy || operation.intra == 0;
}

// Whether the codec of plain values decodes it, at level S: residuals against old, or integers by
// themselves.
inline bool is_plain(const Operation& operation) {
  if (operation.kind != OperationKind::kValues) return false;
  if (operation.intra != 0) return operation.type <= ValueType::kInt32 && operation.factor == 0;
  return operation.predictor == Predictor::kOld && operation.zero_map == 0;
}

// Every adaptive probability of the headers, and nothing else.
struct OperationCells {
  Cell kind[kOperationKinds * 4];
  Cell place[kOperationKinds * 4];
  Cell place_negative[1];
  Cell place_again[1];
  Cell component[8];
  Cell type[8];
  Cell slot[16];
  Cell width[4];
  Cell row_length[32];
  Cell values_differ[1];
  Cell values_fresh[1];
  Cell values_intra[1];
  Cell values_zero_map[1];
  Cell predictor[4];  // the first: of intra values
  Cell record_differs[1];
  Cell record_fresh[1];
  Cell bytes_differ[1];
  Cell bytes_intra[1];
  Cell bytes_learn[1];
  NumberModel copy_size;
  NumberModel coded_size;
  NumberModel place_distance;
};

struct OperationModel {
  OperationCells cells;
  // What the next operation is predicted from.
  OldPlace old;              // behind the last operation that read old
  alignas(8) uint64_t step;  // from the expected place, modulo 2^64, of the last that was near
  alignas(8) uint64_t gap;   // bytes of new written since then without reading old
  Coding last_values;
  Coding last_bytes;
  RecordShape last_record;
  uint32_t last_kind;
};

// `old` is where the first operation is expected to read.
inline void operation_model_reset(OperationModel& model, const OldPlace& old) {
  auto* cells = reinterpret_cast<Cell*>(&model.cells);
  for (unsigned i = 0; i < sizeof(OperationCells) / sizeof(Cell); ++i) cells[i] = kCellStart;
  model.old = old;
  model.gap = 0;
  model.step = 0;
  model.last_values = {};
  model.last_bytes = {};
  model.last_record = {};
  model.last_kind = 0;
}

template <class Coder>
class OperationCoder {
 public:
  OperationCoder(Coder& coder, OperationModel& model, uint32_t component_count)
      : coder_(coder), m_(model), component_count_(component_count) {}

  // Codes one header; a decoder gives any operation and gets the real one. The decoder checks
  // ranges.
  Operation code(const Operation& operation) {
    Operation coded;
    code(operation, coded);
    return coded;
  }
  // The same into an operation as it was made. A decoder may give that one twice.
  void code(const Operation& operation, Operation& coded) {
    const uint32_t before = m_.last_kind * 4;
    m_.last_kind = tree(m_.cells.kind + before, 2, static_cast<uint32_t>(operation.kind));
    coded.kind = static_cast<OperationKind>(m_.last_kind);
    NumberModel& sizes =
        coded.kind == OperationKind::kCopy ? m_.cells.copy_size : m_.cells.coded_size;
    coded.size = static_cast<uint32_t>(number(sizes, operation.size));
    if (coded.kind == OperationKind::kValues) values(operation, coded);
    if (coded.kind == OperationKind::kBytes) bytes(operation, coded);
    if (coded.kind == OperationKind::kRecords) records(operation, coded);
    if (operation_reads_old(coded)) {
      place(m_.cells.place + before, operation.old, coded.old);
      m_.old = {coded.old.offset + coded.size, coded.old.component};
      m_.gap = 0;
    } else {
      m_.gap += coded.size;
    }
  }

 private:
  uint64_t number(NumberModel& model, uint64_t value) { return code_number(coder_, model, value); }
  uint32_t raw(unsigned bits, uint32_t value) {
    return static_cast<uint32_t>(code_raw_bits(coder_, 0, bits, value));
  }
  uint8_t raw_byte(unsigned bits, uint32_t value) { return static_cast<uint8_t>(raw(bits, value)); }
  uint8_t bit(Cell* cell, unsigned value) {
    return static_cast<uint8_t>(code_bit(coder_, *cell, value));
  }
  uint8_t tree(Cell* cells, unsigned bits, uint32_t value) {
    return static_cast<uint8_t>(code_tree(coder_, cells, bits, value));
  }

  uint32_t row_bytes(uint32_t value) {
    unsigned length = 0;
    if constexpr (!kReads<Coder>) {
      while (length < 31 && value >> length != 0) ++length;
    }
    length = tree(m_.cells.row_length, 5, length);
    return raw(length, value);
  }

  // Whether a header must say more than "as before".
  static unsigned values_differ(const Operation& operation, const Coding& last) {
    return operation.type != last.type || operation.slot != last.slot ||
           operation.intra != last.intra || operation.row_bytes != last.row_bytes ||
           operation.fresh != 0 || operation.zero_map != last.zero_map ||
           operation.predictor != last.predictor || operation.predictor != Predictor::kOld ||
           operation.factor != 0;
  }
  static unsigned bytes_differ(const Operation& operation, const Coding& last) {
    return operation.width_log2 != last.width_log2 || operation.intra != last.intra ||
           operation.row_bytes != last.row_bytes || operation.learn_size != 0;
  }

  void values(const Operation& operation, Operation& coded) {
    Coding& last = m_.last_values;
    if (bit(m_.cells.values_differ, kReads<Coder> ? 0 : values_differ(operation, last)) == 0) {
      static_cast<Coding&>(coded) = last;
      coded.predictor = last.predictor = Predictor::kOld;
      return;
    }
    coded.type =
        static_cast<ValueType>(tree(m_.cells.type, 3, static_cast<uint32_t>(operation.type)));
    coded.slot = tree(m_.cells.slot, 4, operation.slot);
    coded.fresh = bit(m_.cells.values_fresh, operation.fresh);
    coded.intra = bit(m_.cells.values_intra, operation.intra);
    if (coded.intra != 0) {
      coded.row_bytes = row_bytes(operation.row_bytes);
      const unsigned scaled = operation.factor != 0 ? 1 : 0;
      if (coded.row_bytes != 0 && bit(m_.cells.predictor, scaled) != 0) {
        coded.factor = raw(32, operation.factor);
      }
    } else {
      coded.zero_map = bit(m_.cells.values_zero_map, operation.zero_map);
      coded.predictor = static_cast<Predictor>(
          tree(m_.cells.predictor, 2, static_cast<uint32_t>(operation.predictor)));
      if (coded.predictor == Predictor::kRows) rows(operation.rows, coded.rows);
      if (coded.predictor == Predictor::kGrid) grid(operation.grid, coded.grid);
      if (coded.predictor == Predictor::kLattice) {
        coded.lattice.old_step = raw(32, operation.lattice.old_step);
        coded.lattice.new_step = raw(32, operation.lattice.new_step);
      }
    }
    last = coded;
  }

  void rows(const RowsShape& shape, RowsShape& coded) {
    coded.row_values = row_bytes(shape.row_values);
    coded.column = row_bytes(shape.column);
    coded.gain = static_cast<GainAxis>(raw(2, static_cast<uint32_t>(shape.gain)));
    if (coded.gain != GainAxis::kNone) coded.gain_shift = raw_byte(5, shape.gain_shift);
    coded.rank = raw_byte(5, shape.rank);
    if (coded.rank != 0) coded.factor_shift = raw_byte(7, shape.factor_shift);
  }

  static constexpr int32_t kGridExponentBias = 256;
  void grid(const Grid& shape, Grid& coded) {
    coded.multiplier = raw_byte(6, shape.multiplier);
    const auto biased = static_cast<uint32_t>(shape.exponent + kGridExponentBias);
    coded.exponent = static_cast<int16_t>(static_cast<int32_t>(raw(9, biased)) - kGridExponentBias);
  }

  void records(const Operation& operation, Operation& coded) {
    unsigned differs = 0;
    if constexpr (!kReads<Coder>) {
      differs = operation.record != m_.last_record || operation.fresh != 0;
    }
    if (bit(m_.cells.record_differs, differs) == 0) {
      coded.record = m_.last_record;
      return;
    }
    coded.fresh = bit(m_.cells.record_fresh, operation.fresh);
    coded.record.count = raw_byte(3, operation.record.count);
    for (unsigned i = 0; i < coded.record.count; ++i) {
      const RecordField& field = operation.record.fields[i];
      RecordField& made = coded.record.fields[i];
      made.type = static_cast<ValueType>(raw(3, static_cast<uint32_t>(field.type)));
      made.scaled = raw_byte(1, field.scaled);
      made.count = static_cast<uint16_t>(raw(9, field.count));
    }
    m_.last_record = coded.record;
  }

  void bytes(const Operation& operation, Operation& coded) {
    Coding& last = m_.last_bytes;
    if (bit(m_.cells.bytes_differ, kReads<Coder> ? 0 : bytes_differ(operation, last)) == 0) {
      static_cast<Coding&>(coded) = last;
      return;
    }
    coded.intra = bit(m_.cells.bytes_intra, operation.intra);
    coded.width_log2 = tree(m_.cells.width, 2, operation.width_log2);
    coded.row_bytes = row_bytes(operation.row_bytes);
    last = coded;
    if (bit(m_.cells.bytes_learn, operation.learn_size != 0 ? 1 : 0) == 0) return;
    coded.learn_size = static_cast<uint32_t>(number(m_.cells.coded_size, operation.learn_size));
    coded.learn_offset = number(m_.cells.place_distance, operation.learn_offset);
  }

  // Old follows on, or on the same diagonal after what was written in between, or lies elsewhere.
  enum Place : uint32_t { kFollows = 0, kDiagonal = 1, kNear = 2, kElsewhere = 3 };
  Place place_of(const OldPlace& old) const {
    if (old.component != m_.old.component) return kElsewhere;
    if (old.offset == m_.old.offset) return kFollows;
    return old.offset == m_.old.offset + m_.gap ? kDiagonal : kNear;
  }
  void place(Cell* places, const OldPlace& old, OldPlace& coded) {
    const uint32_t where = tree(places, 2, kReads<Coder> ? kFollows : place_of(old));
    const OldPlace before = m_.old;
    coded = before;
    if (where == kFollows) return;
    if (where == kDiagonal) {
      coded.offset += m_.gap;
    } else if (where == kNear) {
      const uint64_t moved = old.offset - before.offset;
      if (bit(m_.cells.place_again, moved == m_.step ? 1 : 0) == 0) {
        const unsigned behind = old.offset < before.offset ? 1 : 0;
        const unsigned negative = bit(m_.cells.place_negative, behind);
        m_.step = number(m_.cells.place_distance, behind != 0 ? 0 - moved : moved);
        if (negative != 0) m_.step = 0 - m_.step;
      }
      coded.offset += m_.step;
    } else {
      coded.component = component_count_ > 1 ? tree(m_.cells.component, 3, old.component) : 0;
      coded.offset = number(m_.cells.place_distance, old.offset);
    }
  }

  Coder& coder_;
  OperationModel& m_;
  uint32_t component_count_;
};

}  // namespace tensorpatch
