// entropy_model.h: adaptive binary probabilities, alone or mixed; the half of the entropy coder
// that encoder and decoder share bit for bit.
//
// A Cell is one adaptive probability with the number of bits it has seen, which sets how fast it
// still moves (1 / (n + 1.5), the Krichevsky-Trofimov estimate, down to a limit). Several cells
// that look at the same bit from different contexts are combined by logistic mixing (M. Mahoney,
// "Adaptive Weighing of Context Models for Lossless Data Compression", 2005): a weighted sum in the
// logistic domain whose weights follow the coding error. Everything is 32-bit integer arithmetic.
//
// `Coder` is RangeDecoder, or on the host RangeEncoder or CostCounter: code(probability, bit)
// returns the bit, which a decoder reads and the others take from its argument.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace tensorpatch {

// With -Os what a table holds is computed instead, to the same numbers.
#ifdef __OPTIMIZE_SIZE__
inline constexpr bool kSmallCode = true;
#else
inline constexpr bool kSmallCode = false;
#endif

// Probability of a 1 in the upper 22 bits, count of bits seen in the lower 10.
using Cell = uint32_t;
inline constexpr Cell kCellStart = 0x80000000u;
inline constexpr uint32_t kCellLimit = 255;  // counts stop here

// Whether a coder reads: what it is given of new is then nothing, and what follows from that need
// not be computed. The parts that many codecs use are functions of such a coder, once in a program.
template <class Coder>
inline constexpr bool kReads = requires(Coder& coder, Cell& cell) {
  coder.read(cell);
};

namespace entropy_tables {

// 65536 / (n + 1.5)
constexpr uint32_t rate(uint32_t n) {
  return 131072u / (2 * n + 3);
}
struct Rates {
  uint16_t of_count[kCellLimit + 1];
};
constexpr Rates make_rates() {
  Rates rates{};
  for (uint32_t n = 0; n <= kCellLimit; ++n) rates.of_count[n] = static_cast<uint16_t>(rate(n));
  return rates;
}
inline constexpr Rates kRates = make_rates();

// log2(1 + i / 256) with 12 fractional bits, by repeated squaring.
constexpr uint32_t log_of_mantissa(uint32_t i) {
  uint64_t m = (256u + i) << 22;  // in [1, 2) with 30 fractional bits
  uint32_t log = 0;
  for (int bit = 0; bit < 13; ++bit) {
    m = (m * m) >> 30;
    log <<= 1;
    if (m >= (uint64_t{2} << 30)) {
      log |= 1;
      m >>= 1;
    }
  }
  return (log + 1) >> 1;
}
struct Logs {
  uint16_t of_mantissa[256];
};
constexpr Logs make_logs() {
  Logs logs{};
  for (uint32_t i = 0; i < 256; ++i)
    logs.of_mantissa[i] = static_cast<uint16_t>(log_of_mantissa(i));
  return logs;
}
inline constexpr Logs kLogs = make_logs();

// The same in half the space: a parabola through both ends and what it lacks, 0..108.
constexpr uint32_t parabola(uint32_t i) {
  return i * (1280 - i) >> 6;
}
struct LogRests {
  uint8_t of_mantissa[256];
};
constexpr LogRests make_log_rests() {
  LogRests rests{};
  for (uint32_t i = 0; i < 256; ++i) {
    rests.of_mantissa[i] = static_cast<uint8_t>(log_of_mantissa(i) - parabola(i));
  }
  return rests;
}
inline constexpr LogRests kLogRests = make_log_rests();

// 65536 / (1 + 2^-x) for x = 0, 1/4, 1/2 .. 12.
inline constexpr uint16_t kSquash[49] = {
    32768, 35600, 38390, 41099, 43691, 46138, 48418, 50517, 52429, 54152, 55691, 57055, 58254,
    59303, 60214, 61002, 61681, 62264, 62762, 63188, 63550, 63858, 64119, 64340, 64528, 64686,
    64820, 64933, 65028, 65108, 65176, 65233, 65281, 65321, 65355, 65384, 65408, 65429, 65446,
    65460, 65472, 65482, 65491, 65498, 65504, 65509, 65513, 65517, 65520};

}  // namespace entropy_tables

// Probability of a 1, in 1/65536, within [32, 65504].
inline uint32_t cell_probability(Cell cell) {
  const uint32_t p = cell >> 16;
  return p < 32 ? 32 : p > 65504 ? 65504 : p;
}

inline uint32_t cell_rate(uint32_t count) {
  return kSmallCode ? entropy_tables::rate(count) : entropy_tables::kRates.of_count[count];
}

// The low bits of a cell that count, and where they stop. What lies between them and the
// probability belongs to the cell's owner.
struct CellKind {
  uint32_t count_mask;
  uint32_t limit;
};
inline constexpr CellKind kPlainCell = {1023, kCellLimit};
inline constexpr CellKind kHashedCell = {63, 60};

inline void cell_update(Cell& cell, unsigned bit, const CellKind& kind) {
  const uint32_t n = cell & kind.count_mask;
  const auto p = static_cast<int32_t>(cell >> 10);
  int32_t error = (bit != 0 ? 0x3FFFFF : 0) - p;
  // At the rates of low counts the probability would leave its range if it were rounded down.
  if (kind.limit != kCellLimit && error < 0) error += 127;
  const int32_t moved = p + (((error >> 7) * static_cast<int32_t>(cell_rate(n))) >> 9);
  cell = static_cast<uint32_t>(moved) << 10 | (cell & 1023 & ~kind.count_mask) |
         (n < kind.limit ? n + 1 : n);
}

// log2(p / (1 - p)) with 8 fractional bits; p in 1/65536, 0 < p < 65536.
inline int32_t stretch(uint32_t p) {
  const auto log2 = [](uint32_t v) {
    const uint32_t e = 31u - static_cast<uint32_t>(__builtin_clz(v));
    const uint32_t i = (v << (31 - e)) >> 23 & 255;
    return static_cast<int32_t>(
        (e << 12) + (kSmallCode
                         ? entropy_tables::parabola(i) + entropy_tables::kLogRests.of_mantissa[i]
                         : entropy_tables::kLogs.of_mantissa[i]));
  };
  return (log2(p) - log2(65536 - p)) >> 4;
}

// The inverse of stretch, within [16, 65520].
inline uint32_t squash(int32_t x) {
  const uint32_t a = static_cast<uint32_t>(x < 0 ? -x : x);
  if (a >= 48 * 64) return x < 0 ? 16 : 65520;
  const uint32_t low = entropy_tables::kSquash[a >> 6];
  const uint32_t high = entropy_tables::kSquash[(a >> 6) + 1];
  const uint32_t p = low + (((high - low) * (a & 63)) >> 6);
  return x < 0 ? 65536 - p : p;
}

template <class Coder>
inline unsigned code_bit(Coder& coder, Cell& cell, unsigned bit) {
  if constexpr (kReads<Coder>) {
    return coder.read(cell);
  } else {
    bit = coder.code(cell_probability(cell), bit);
    cell_update(cell, bit, kPlainCell);
    return bit;
  }
}

// Weights of a mix have 16 fractional bits; a fresh one is 1 / count, slightly above.
using MixWeight = int32_t;
inline constexpr MixWeight mix_start(unsigned count) {
  return static_cast<MixWeight>(80000u / count);
}

inline constexpr unsigned kMaxMixed = 12;

struct Mix {
  Cell* const* cells;
  unsigned count;      // 1..kMaxMixed
  MixWeight* weights;  // one for each cell
  MixWeight* more;     // null, or one for each cell too: they are added up, and cells are hashed
};

inline void move_weight(MixWeight& weight, int32_t step, MixWeight most) {
  const MixWeight moved = weight + step;
  weight = moved > most ? most : moved < -most ? -most : moved;
}

// Codes a bit with the mixed prediction of the cells; without a coder it is only learnt.
template <class Coder>
[[gnu::always_inline]] inline unsigned mixed_bit(Coder* coder, const Mix& mix, unsigned bit) {
  int32_t inputs[kMaxMixed];
  int32_t sum = 0;
  for (unsigned i = 0; i < mix.count; ++i) {
    inputs[i] = stretch(cell_probability(*mix.cells[i]));
    const MixWeight weight = mix.weights[i] + (mix.more != nullptr ? mix.more[i] : 0);
    sum += (inputs[i] * (weight >> 2)) >> 8;
  }
  const uint32_t p = squash(sum >> 6);
  if (coder != nullptr) bit = coder->code(p, bit);
  const int32_t error = static_cast<int32_t>(bit != 0 ? 65536 - p : 0 - p) >> 2;
  for (unsigned i = 0; i < mix.count; ++i) {
    const int32_t step = (inputs[i] * error + (1 << 13)) >> 14;
    move_weight(mix.weights[i], step, mix.more != nullptr ? 7 << 15 : 7 << 16);
    if (mix.more != nullptr) move_weight(mix.more[i], step, 7 << 15);
    cell_update(*mix.cells[i], bit, mix.more != nullptr ? kHashedCell : kPlainCell);
  }
  return bit;
}
template <class Coder>
inline unsigned code_mixed(Coder* coder, const Mix& mix, unsigned bit) {
  if constexpr (kSmallCode && kReads<Coder>) {
    return Coder::read_mixed(coder, mix, bit);
  } else {
    return mixed_bit(coder, mix, bit);
  }
}

// Codes the low `bits` bits of value, first the highest, by a tree of 2^bits cells.
template <class Coder>
inline uint32_t tree_of_bits(Coder& coder, Cell* cells, unsigned bits, uint32_t value) {
  uint32_t node = 1;
  for (unsigned i = bits; i-- > 0;) {
    node = node << 1 | code_bit(coder, cells[node], value >> i & 1);
  }
  return node - (1u << bits);
}
template <class Coder>
inline uint32_t code_tree(Coder& coder, Cell* cells, unsigned bits, uint32_t value) {
  if constexpr (kReads<Coder>) {
    return coder.read_tree(cells, bits);
  } else {
    return tree_of_bits(coder, cells, bits, value);
  }
}

}  // namespace tensorpatch
