// number_model.h: an adaptive code of numbers of any size; shared by encoder and decoder.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdint.h>

#include "entropy_model.h"

namespace tensorpatch {

// The length in bits by a tree; below the leading one two modelled bits of numbers up to 7 bits
// long, the rest raw.
struct NumberModel {
  Cell length[64];
  Cell top[32];  // 4 for each length below 8
};

inline void number_model_reset(NumberModel& model) {
  for (Cell& cell : model.length) cell = kCellStart;
  for (Cell& cell : model.top) cell = kCellStart;
}

// The low `bits` bits of value, not modelled, behind what `result` holds.
template <class Coder>
inline uint64_t raw_bits(Coder& coder, uint64_t result, unsigned bits, uint64_t value) {
  while (bits > 0) {
    const unsigned part = bits < 12 ? bits : 12;
    bits -= part;
    const auto low = static_cast<uint32_t>(value >> bits & ((1u << part) - 1));
    result = result << part | coder.raw(low, part);
  }
  return result;
}
template <class Coder>
inline uint64_t code_raw_bits(Coder& coder, uint64_t result, unsigned bits, uint64_t value) {
  if constexpr (kReads<Coder>) {
    return coder.read_raw(result, bits);
  } else {
    return raw_bits(coder, result, bits, value);
  }
}

// A number below 2^62.
template <class Coder>
inline uint64_t number(Coder& coder, NumberModel& model, uint64_t value) {
  unsigned length = 0;
  while (length < 63 && value >> length != 0) ++length;
  length = code_tree(coder, model.length, 6, length);
  if (length < 2) return length;
  unsigned rest = length - 1;
  uint32_t result = 1;
  for (unsigned i = 0; i < 2 && rest > 0 && length < 8; ++i) {
    --rest;
    const uint32_t node = i == 0 ? 1u : 2u | (result & 1);
    result = result << 1 | code_bit(coder, model.top[length * 4 + node],
                                    static_cast<unsigned>(value >> rest & 1));
  }
  return code_raw_bits(coder, result, rest, value);
}
template <class Coder>
inline uint64_t code_number(Coder& coder, NumberModel& model, uint64_t value) {
  if constexpr (kReads<Coder>) {
    return coder.read_number(model);
  } else {
    return number(coder, model, value);
  }
}

}  // namespace tensorpatch
