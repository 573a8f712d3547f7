// value_type.h: the element types of the values codec, as numbers of the format.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdint.h>

namespace tensorpatch {

enum class ValueType : uint8_t {
  kInt8 = 0,
  kUint8 = 1,
  kInt16 = 2,
  kInt32 = 3,
  kFloat16 = 4,
  kBfloat16 = 5,
  kFloat32 = 6,
  kUint4 = 7,  // two in a byte, the low half first; only inside records
};
inline constexpr unsigned kValueTypeCount = 7;  // of plain values

// Bytes of one value (kUint4: of two).
inline constexpr unsigned value_size(ValueType type) {
  switch (type) {
    case ValueType::kInt8:
    case ValueType::kUint8:
    case ValueType::kUint4:
      return 1;
    case ValueType::kInt32:
    case ValueType::kFloat32:
      return 4;
    default:
      return 2;
  }
}

struct FloatShape {
  uint8_t mantissa_bits;
  uint8_t exponent_mask;
};
// For integers the exponent is always 0.
inline constexpr FloatShape float_shape(ValueType type) {
  switch (type) {
    case ValueType::kFloat16:
      return {10, 31};
    case ValueType::kBfloat16:
      return {7, 255};
    case ValueType::kFloat32:
      return {23, 255};
    default:
      return {0, 0};
  }
}

// The raw bits of a value of `size` bytes, zero-extended.
inline uint32_t load_value(const uint8_t* p, unsigned size) {
  uint32_t value = 0;
  for (unsigned i = 0; i < size; ++i) value |= static_cast<uint32_t>(p[i]) << (8 * i);
  return value;
}

}  // namespace tensorpatch
