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

// Probability of a 1 in the upper 22 bits, count of bits seen in the lower 10.
using Cell = uint32_t;
inline constexpr Cell kCellStart = 0x80000000u;
inline constexpr uint32_t kCellLimit = 255;  // counts stop here

namespace entropy_tables {

struct Rates {
  uint16_t of_count[kCellLimit + 1];
};
constexpr Rates make_rates() {
  Rates rates{};
  for (uint32_t n = 0; n <= kCellLimit; ++n) {
    rates.of_count[n] = static_cast<uint16_t>(131072u / (2 * n + 3));
  }
  return rates;
}
inline constexpr Rates kRates = make_rates();

// log2(1 + i / 256) with 12 fractional bits, by repeated squaring.
struct Logs {
  uint16_t of_mantissa[256];
};
constexpr Logs make_logs() {
  Logs logs{};
  for (uint32_t i = 0; i < 256; ++i) {
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
    logs.of_mantissa[i] = static_cast<uint16_t>((log + 1) >> 1);
  }
  return logs;
}
inline constexpr Logs kLogs = make_logs();

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

inline void cell_update(Cell& cell, unsigned bit, uint32_t limit) {
  const uint32_t n = cell & 1023;
  const int32_t p = static_cast<int32_t>(cell >> 10);
  const int32_t error = (bit != 0 ? 0x3FFFFF : 0) - p;
  const int32_t rate = entropy_tables::kRates.of_count[n];
  const int32_t moved = p + (((error >> 7) * rate) >> 9);
  cell = static_cast<uint32_t>(moved) << 10 | (n < limit ? n + 1 : n);
}

// log2(p / (1 - p)) with 8 fractional bits; p in 1/65536, 0 < p < 65536.
inline int32_t stretch(uint32_t p) {
  const auto log2 = [](uint32_t v) {
    const uint32_t e = 31u - static_cast<uint32_t>(__builtin_clz(v));
    const uint32_t mantissa = (v << (31 - e)) >> 23 & 255;
    return static_cast<int32_t>((e << 12) + entropy_tables::kLogs.of_mantissa[mantissa]);
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
  bit = coder.code(cell_probability(cell), bit);
  cell_update(cell, bit, kCellLimit);
  return bit;
}

// Weights of a mix have 16 fractional bits; a fresh one is 1 / count, slightly above.
using MixWeight = int32_t;
inline constexpr MixWeight mix_start(unsigned count) {
  return static_cast<MixWeight>(80000u / count);
}

// Codes a bit with the mixed prediction of N cells.
template <unsigned N, class Coder>
inline unsigned code_mixed(Coder& coder, Cell* const (&cells)[N], MixWeight* weights,
                           unsigned bit) {
  int32_t inputs[N];
  int32_t sum = 0;
  for (unsigned i = 0; i < N; ++i) {
    inputs[i] = stretch(cell_probability(*cells[i]));
    sum += (inputs[i] * (weights[i] >> 2)) >> 8;
  }
  const uint32_t p = squash(sum >> 6);
  bit = coder.code(p, bit);
  const int32_t error = static_cast<int32_t>(bit != 0 ? 65536 - p : 0 - p) >> 2;
  for (unsigned i = 0; i < N; ++i) {
    constexpr int32_t kMaxWeight = 7 << 16;
    MixWeight w = weights[i] + ((inputs[i] * error + (1 << 13)) >> 14);
    weights[i] = w > kMaxWeight ? kMaxWeight : w < -kMaxWeight ? -kMaxWeight : w;
    cell_update(*cells[i], bit, kCellLimit);
  }
  return bit;
}

// Codes the low `bits` bits of value, first the highest, by a tree of 2^bits cells.
template <class Coder>
inline uint32_t code_tree(Coder& coder, Cell* cells, unsigned bits, uint32_t value) {
  uint32_t node = 1;
  for (unsigned i = bits; i-- > 0;) {
    node = node << 1 | code_bit(coder, cells[node], value >> i & 1);
  }
  return node - (1u << bits);
}

}  // namespace tensorpatch
