// entropy_decoder.h: the decoding half of a carry-less-to-read binary range coder.
//
// Range coding as by G. N. N. Martin (1979): 32-bit range, bytes out when the range falls below
// 2^24; the encoder resolves carries (lib/delta/entropy_encoder.h). The first four bytes fill the
// code word; where the payload has ended, zeros follow.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdint.h>

#include "entropy_model.h"
#include "number_model.h"

namespace tensorpatch {

struct RangeDecoder {
  uint32_t range;
  uint32_t word;
  const uint8_t* next;
  const uint8_t* end;

  uint8_t take() { return next != end ? *next++ : uint8_t{0}; }

  void begin() {
    range = 0xFFFFFFFFu;
    word = 0;
    for (int i = 0; i < 4; ++i) word = word << 8 | take();
  }

  void normalize() {
    while (range < 1u << 24) {
      range <<= 8;
      word = word << 8 | take();
    }
  }

  // probability: of a 1, in 1/65536, within [1, 65535].
  unsigned code(uint32_t probability, unsigned /*bit*/) {
    const uint32_t bound = (range >> 16) * probability;
    unsigned bit;
    if (word < bound) {
      range = bound;
      bit = 1;
    } else {
      word -= bound;
      range -= bound;
      bit = 0;
    }
    normalize();
    return bit;
  }

  // An adaptive bit.
  unsigned read(Cell& cell) {
    const unsigned bit = code(cell_probability(cell), 0);
    cell_update(cell, bit, kPlainCell);
    return bit;
  }
  static unsigned read_mixed(RangeDecoder* decoder, const Mix& mix, unsigned bit);
  uint32_t read_tree(Cell* cells, unsigned bits);
  uint64_t read_raw(uint64_t result, unsigned bits);
  uint64_t read_number(NumberModel& model);

  // `bits` equally likely bits, 1..16.
  uint32_t raw(uint32_t /*value*/, unsigned bits) {
    range >>= bits;
    uint32_t value = word / range;
    const uint32_t top = (1u << bits) - 1;
    if (value > top) value = top;  // only in damaged streams
    word -= value * range;
    normalize();
    return value;
  }
};

}  // namespace tensorpatch
