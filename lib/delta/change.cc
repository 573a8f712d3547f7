// delta/change.cc: values of every type as numbers, summed in file order.
// SPDX-License-Identifier: Apache-2.0
#include "delta/change.h"

#include <bit>
#include <cmath>
#include <limits>

#include "delta/chunk_encoder.h"

namespace tensorpatch::delta {
namespace {

double from_float16(uint32_t bits) {
  const double sign = (bits & 0x8000) != 0 ? -1.0 : 1.0;
  const uint32_t exponent = bits >> 10 & 31;
  const uint32_t mantissa = bits & 1023;
  if (exponent == 31) {
    return mantissa != 0 ? std::numeric_limits<double>::quiet_NaN()
                         : sign * std::numeric_limits<double>::infinity();
  }
  if (exponent == 0) return sign * std::ldexp(mantissa, -24);
  return sign * std::ldexp(1024 + mantissa, static_cast<int>(exponent) - 25);
}

double to_number(ValueType type, uint32_t bits) {
  switch (type) {
    case ValueType::kInt8:
      return static_cast<int8_t>(bits);
    case ValueType::kUint8:
      return bits;
    case ValueType::kInt16:
      return static_cast<int16_t>(bits);
    case ValueType::kInt32:
      return static_cast<int32_t>(bits);
    case ValueType::kFloat16:
      return from_float16(bits);
    case ValueType::kBfloat16:
      return static_cast<double>(std::bit_cast<float>(bits << 16));
    case ValueType::kFloat32:
      return static_cast<double>(std::bit_cast<float>(bits));
  }
  return 0;
}

}  // namespace

void Change::add(const Change& other) {
  difference_squares += other.difference_squares;
  old_squares += other.old_squares;
  equal += other.equal;
  count += other.count;
}

double Change::relative() const {
  return old_squares > 0 ? std::sqrt(difference_squares / old_squares) : 0;
}

double Change::share_equal() const {
  return count != 0 ? static_cast<double>(equal) / static_cast<double>(count) : 0;
}

Change measure_change(ValueType type, base::Bytes old_values, base::Bytes new_values) {
  const unsigned size = value_size(type);
  Change change;
  for (size_t at = 0; at + size <= new_values.size(); at += size) {
    const uint32_t old_bits = load_value(old_values.data() + at, size);
    const uint32_t new_bits = load_value(new_values.data() + at, size);
    ++change.count;
    if (old_bits == new_bits) ++change.equal;
    const double old_number = to_number(type, old_bits);
    const double difference = to_number(type, new_bits) - old_number;
    if (!std::isfinite(old_number) || !std::isfinite(difference)) continue;
    change.difference_squares += difference * difference;
    change.old_squares += old_number * old_number;
  }
  return change;
}

}  // namespace tensorpatch::delta
