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

struct Operation {
  OperationKind kind = OperationKind::kCopy;
  uint32_t size = 0;  // bytes of new, > 0; for values a multiple of the value size
  OldPlace old;       // copy and residual values
  // Values.
  ValueType type = ValueType::kInt8;
  uint8_t slot = 0;
  uint8_t fresh = 0;     // 1: the slot, or every slot of the records, is reset before
  uint8_t zero_map = 0;  // 1: a flag in front of each value tells whether it is zero
  Predictor predictor = Predictor::kOld;
  RowsShape rows;
  Grid grid{1, 0};
  Lattice lattice{0, 0};
  uint32_t factor = 0;  // intra: the value above times this float32 is expected; 0: nothing is
  // Values and bytes.
  uint8_t intra = 0;       // 1: no old
  uint32_t row_bytes = 0;  // intra: distance of the value above; bytes: stride. 0: none
  // Bytes.
  uint8_t width_log2 = 0;
  RecordShape record;
  uint32_t learn_size = 0;  // bytes of old that the model learns first
  alignas(8) uint64_t learn_offset = 0;
};

inline bool operation_reads_old(const Operation& operation) {
  return operation.kind == OperationKind::kCopy || operation.intra == 0;
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

// What a header says when it only says "as before".
struct LastCoded {
  uint32_t row_bytes = 0;
  ValueType type = ValueType::kInt8;
  uint8_t slot = 0;
  uint8_t intra = 0;
  uint8_t zero_map = 0;
  Predictor predictor = Predictor::kOld;
  uint8_t width_log2 = 0;
};

struct OperationModel {
  OperationCells cells;
  // What the next operation is predicted from.
  OldPlace old;              // behind the last operation that read old
  alignas(8) uint64_t step;  // from the expected place, modulo 2^64, of the last that was near
  alignas(8) uint64_t gap;   // bytes of new written since then without reading old
  LastCoded last_values;
  LastCoded last_bytes;
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
    coded.kind = static_cast<OperationKind>(code_tree(coder_, m_.cells.kind + m_.last_kind * 4, 2,
                                                      static_cast<uint32_t>(operation.kind)));
    if (coded.kind == OperationKind::kCopy) {
      coded.size = static_cast<uint32_t>(number(m_.cells.copy_size, operation.size));
    } else {
      coded.size = static_cast<uint32_t>(number(m_.cells.coded_size, operation.size));
      if (coded.kind == OperationKind::kValues) values(operation, coded);
      if (coded.kind == OperationKind::kBytes) bytes(operation, coded);
      if (coded.kind == OperationKind::kRecords) records(operation, coded);
    }
    if (operation_reads_old(coded)) place(operation, coded);
    remember(coded);
    return coded;
  }

 private:
  uint64_t number(NumberModel& model, uint64_t value) { return code_number(coder_, model, value); }
  uint32_t raw(unsigned bits, uint32_t value) {
    return static_cast<uint32_t>(code_raw_bits(coder_, 0, bits, value));
  }

  uint32_t row_bytes(uint32_t value) {
    unsigned length = 0;
    while (length < 31 && value >> length != 0) ++length;
    length = code_tree(coder_, m_.cells.row_length, 5, length);
    return raw(length, value);
  }

  void values(const Operation& operation, Operation& coded) {
    const LastCoded& last = m_.last_values;
    const unsigned differs = operation.type != last.type || operation.slot != last.slot ||
                             operation.intra != last.intra ||
                             operation.row_bytes != last.row_bytes || operation.fresh != 0 ||
                             operation.zero_map != last.zero_map ||
                             operation.predictor != last.predictor ||
                             operation.predictor != Predictor::kOld || operation.factor != 0;
    if (code_bit(coder_, m_.cells.values_differ[0], differs) == 0) {
      coded.type = last.type;
      coded.slot = last.slot;
      coded.intra = last.intra;
      coded.row_bytes = last.row_bytes;
      coded.zero_map = last.zero_map;
      return;
    }
    coded.type = static_cast<ValueType>(
        code_tree(coder_, m_.cells.type, 3, static_cast<uint32_t>(operation.type)));
    coded.slot = static_cast<uint8_t>(code_tree(coder_, m_.cells.slot, 4, operation.slot));
    coded.fresh = static_cast<uint8_t>(code_bit(coder_, m_.cells.values_fresh[0], operation.fresh));
    coded.intra = static_cast<uint8_t>(code_bit(coder_, m_.cells.values_intra[0], operation.intra));
    if (coded.intra != 0) {
      coded.row_bytes = row_bytes(operation.row_bytes);
      const unsigned scaled = operation.factor != 0 ? 1 : 0;
      if (coded.row_bytes != 0 && code_bit(coder_, m_.cells.predictor[0], scaled) != 0) {
        coded.factor = raw(32, operation.factor);
      }
      return;
    }
    coded.zero_map =
        static_cast<uint8_t>(code_bit(coder_, m_.cells.values_zero_map[0], operation.zero_map));
    coded.predictor = static_cast<Predictor>(
        code_tree(coder_, m_.cells.predictor, 2, static_cast<uint32_t>(operation.predictor)));
    if (coded.predictor == Predictor::kRows) rows(operation.rows, coded.rows);
    if (coded.predictor == Predictor::kGrid) grid(operation.grid, coded.grid);
    if (coded.predictor == Predictor::kLattice) {
      coded.lattice.old_step = raw(32, operation.lattice.old_step);
      coded.lattice.new_step = raw(32, operation.lattice.new_step);
    }
  }

  void rows(const RowsShape& shape, RowsShape& coded) {
    coded.row_values = row_bytes(shape.row_values);
    coded.column = row_bytes(shape.column);
    coded.gain = static_cast<GainAxis>(raw(2, static_cast<uint32_t>(shape.gain)));
    if (coded.gain != GainAxis::kNone)
      coded.gain_shift = static_cast<uint8_t>(raw(5, shape.gain_shift));
    coded.rank = static_cast<uint8_t>(raw(5, shape.rank));
    if (coded.rank != 0) coded.factor_shift = static_cast<uint8_t>(raw(7, shape.factor_shift));
  }

  static constexpr int32_t kGridExponentBias = 256;
  void grid(const Grid& shape, Grid& coded) {
    coded.multiplier = static_cast<uint8_t>(raw(6, shape.multiplier));
    coded.exponent = static_cast<int16_t>(
        static_cast<int32_t>(raw(9, static_cast<uint32_t>(shape.exponent + kGridExponentBias))) -
        kGridExponentBias);
  }

  void records(const Operation& operation, Operation& coded) {
    const unsigned differs = operation.record != m_.last_record || operation.fresh != 0;
    if (code_bit(coder_, m_.cells.record_differs[0], differs) == 0) {
      coded.record = m_.last_record;
      return;
    }
    coded.fresh = static_cast<uint8_t>(code_bit(coder_, m_.cells.record_fresh[0], operation.fresh));
    coded.record.count = static_cast<uint8_t>(raw(3, operation.record.count));
    for (unsigned i = 0; i < coded.record.count; ++i) {
      const RecordField& field = operation.record.fields[i];
      RecordField& made = coded.record.fields[i];
      made.type = static_cast<ValueType>(raw(3, static_cast<uint32_t>(field.type)));
      made.scaled = static_cast<uint8_t>(raw(1, field.scaled));
      made.count = static_cast<uint16_t>(raw(9, field.count));
    }
  }

  void bytes(const Operation& operation, Operation& coded) {
    const LastCoded& last = m_.last_bytes;
    const unsigned differs = operation.width_log2 != last.width_log2 ||
                             operation.intra != last.intra ||
                             operation.row_bytes != last.row_bytes || operation.learn_size != 0;
    if (code_bit(coder_, m_.cells.bytes_differ[0], differs) == 0) {
      coded.width_log2 = last.width_log2;
      coded.intra = last.intra;
      coded.row_bytes = last.row_bytes;
      return;
    }
    coded.intra = static_cast<uint8_t>(code_bit(coder_, m_.cells.bytes_intra[0], operation.intra));
    coded.width_log2 =
        static_cast<uint8_t>(code_tree(coder_, m_.cells.width, 2, operation.width_log2));
    coded.row_bytes = row_bytes(operation.row_bytes);
    const unsigned learns = operation.learn_size != 0 ? 1 : 0;
    if (code_bit(coder_, m_.cells.bytes_learn[0], learns) == 0) return;
    coded.learn_size = static_cast<uint32_t>(number(m_.cells.coded_size, operation.learn_size));
    coded.learn_offset = number(m_.cells.place_distance, operation.learn_offset);
  }

  // Old follows on, or on the same diagonal after what was written in between, or lies elsewhere.
  enum Place : uint32_t { kFollows = 0, kDiagonal = 1, kNear = 2, kElsewhere = 3 };
  void place(const Operation& operation, Operation& coded) {
    const OldPlace diagonal = {m_.old.offset + m_.gap, m_.old.component};
    uint32_t where = kNear;
    if (operation.old.component != m_.old.component) {
      where = kElsewhere;
    } else if (operation.old.offset == m_.old.offset) {
      where = kFollows;
    } else if (operation.old.offset == diagonal.offset) {
      where = kDiagonal;
    }
    where = code_tree(coder_, m_.cells.place + m_.last_kind * 4, 2, where);
    if (where == kFollows) {
      coded.old = m_.old;
    } else if (where == kDiagonal) {
      coded.old = diagonal;
    } else if (where == kNear) {
      coded.old.component = m_.old.component;
      const unsigned again = operation.old.offset - m_.old.offset == m_.step ? 1 : 0;
      if (code_bit(coder_, m_.cells.place_again[0], again) != 0) {
        coded.old.offset = m_.old.offset + m_.step;
        return;
      }
      const bool behind = operation.old.offset < m_.old.offset;
      const uint64_t distance =
          behind ? m_.old.offset - operation.old.offset : operation.old.offset - m_.old.offset;
      const unsigned negative = code_bit(coder_, m_.cells.place_negative[0], behind ? 1 : 0);
      const uint64_t coded_distance = number(m_.cells.place_distance, distance);
      m_.step = negative != 0 ? uint64_t{0} - coded_distance : coded_distance;
      coded.old.offset = m_.old.offset + m_.step;
    } else {
      coded.old.component = component_count_ > 1
                                ? code_tree(coder_, m_.cells.component, 3, operation.old.component)
                                : 0;
      coded.old.offset = number(m_.cells.place_distance, operation.old.offset);
    }
  }

  void remember(const Operation& coded) {
    m_.last_kind = static_cast<uint32_t>(coded.kind);
    if (operation_reads_old(coded)) {
      m_.old = {coded.old.offset + coded.size, coded.old.component};
      m_.gap = 0;
    } else {
      m_.gap += coded.size;
    }
    const LastCoded last = {coded.row_bytes, coded.type,      coded.slot,      coded.intra,
                            coded.zero_map,  coded.predictor, coded.width_log2};
    if (coded.kind == OperationKind::kValues) m_.last_values = last;
    if (coded.kind == OperationKind::kBytes) m_.last_bytes = last;
    if (coded.kind == OperationKind::kRecords) m_.last_record = coded.record;
  }

  Coder& coder_;
  OperationModel& m_;
  uint32_t component_count_;
};

}  // namespace tensorpatch
