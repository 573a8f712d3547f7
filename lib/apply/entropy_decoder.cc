// entropy_decoder.cc: what is not a single bit; not inline, so that all codecs share it.
// SPDX-License-Identifier: Apache-2.0
#include "entropy_decoder.h"

namespace tensorpatch {

unsigned RangeDecoder::read_mixed(RangeDecoder* decoder, const Mix& mix, unsigned bit) {
  return mixed_bit(decoder, mix, bit);
}

uint32_t RangeDecoder::read_tree(Cell* cells, unsigned bits) {
  return tree_of_bits(*this, cells, bits, 0);
}

uint64_t RangeDecoder::read_raw(uint64_t result, unsigned bits) {
  return raw_bits(*this, result, bits, 0);
}

uint64_t RangeDecoder::read_number(NumberModel& model) {
  return number(*this, model, 0);
}

}  // namespace tensorpatch
