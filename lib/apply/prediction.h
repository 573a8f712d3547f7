// prediction.h: what a value is expected to be when it is more than old itself; integer arithmetic
// that encoder, decoder and every platform do alike, bit for bit.
//
// A prediction is a sum of two scaled integers: old times a gain (2^30 is one), and the product of
// two factor vectors, one of the row and one of the column, which is how a merged low-rank update
// looks. The sum is rounded once, to nearest even, to the value's type; what rounding took off is a
// context of the coder. A value on a grid is old + k * m * 2^e, one on a lattice k times a step,
// rounded by the same function.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdint.h>

#include "value_type.h"

namespace tensorpatch {

inline constexpr unsigned kMaxRank = 16;
inline constexpr unsigned kGainLog2 = 30;            // a gain of 2^30 is one
inline constexpr int32_t kGainOne = 1 << kGainLog2;  // gains are in [-2, 2)
inline constexpr unsigned kFactorBits = 23;          // of a factor's magnitude
inline constexpr unsigned kFractionLog2 = 8;         // of Prediction::fraction
inline constexpr int32_t kHalfStep = 1 << (kFractionLog2 - 1);

struct Prediction {
  uint32_t bits;     // of the nearest value
  int32_t fraction;  // prediction minus bits in 1/256 of a step, within [-128, 128]
};

// value * 2^exponent; |value| < 2^62.
struct Scaled {
  int64_t value;
  int32_t exponent;
};

namespace prediction_detail {

inline uint64_t magnitude(int64_t value) {
  return value < 0 ? 0u - static_cast<uint64_t>(value) : static_cast<uint64_t>(value);
}

// Index of the highest set bit; value != 0.
inline int32_t top_bit(uint64_t value) {
  return 63 - __builtin_clzll(value);
}

// The same number with 61 bits; zero as the smallest of all.
inline Scaled normalized(Scaled s) {
  if (s.value == 0) return {0, INT32_MIN / 2};
  const int32_t shift = 61 - top_bit(magnitude(s.value));
  return {static_cast<int64_t>(static_cast<uint64_t>(s.value) << shift), s.exponent - shift};
}

// a + b; where bits fall off at the low end the result is made odd, so that a later rounding to
// nearest even is still right (S. Boldo, G. Melquiond, "Emulation of FMA and correctly rounded
// sums", 2008).
inline Scaled sum_to_odd(Scaled a, Scaled b) {
  Scaled parts[2] = {a, b};
  for (Scaled& part : parts) part = normalized(part);
  const bool second = parts[0].exponent < parts[1].exponent;
  const Scaled& large = parts[second ? 1 : 0];
  const Scaled& small = parts[second ? 0 : 1];
  int32_t shift = large.exponent - small.exponent;
  if (shift > 62) shift = 62;  // nothing but the sign is left
  const int64_t kept = small.value >> shift;
  const bool inexact = static_cast<int64_t>(static_cast<uint64_t>(kept) << shift) != small.value;
  return {(large.value + kept) | (inexact ? 1 : 0), large.exponent};
}

}  // namespace prediction_detail

// A finite float as a scaled integer; false for infinities and NaN.
inline bool scaled_of(FloatShape shape, uint32_t bits, Scaled* scaled) {
  const uint32_t field = bits >> shape.mantissa_bits & shape.exponent_mask;
  if (field == shape.exponent_mask) return false;
  const uint32_t low = bits & ((1u << shape.mantissa_bits) - 1);
  const uint32_t mantissa = field != 0 ? low | 1u << shape.mantissa_bits : low;
  const int32_t bias = shape.exponent_mask >> 1;
  scaled->exponent = (field != 0 ? static_cast<int32_t>(field) : 1) - bias - shape.mantissa_bits;
  const uint32_t negative = bits >> (shape.mantissa_bits + (shape.exponent_mask > 31 ? 8 : 5)) & 1;
  scaled->value = negative != 0 ? -static_cast<int64_t>(mantissa) : mantissa;
  return true;
}

// a + b as a float, rounded to nearest even; beyond the largest finite value, that one.
inline Prediction rounded_sum(FloatShape shape, Scaled a, Scaled b) {
  const Scaled sum = prediction_detail::sum_to_odd(a, b);
  if (sum.value == 0) return {0, 0};
  const uint64_t m = prediction_detail::magnitude(sum.value);
  const int32_t bias = shape.exponent_mask >> 1;
  const int32_t top = prediction_detail::top_bit(m) + sum.exponent;
  const int32_t exponent = top < 1 - bias ? 1 - bias : top;
  // In 1/256 of a step: at most 32 bits.
  const int32_t drop =
      exponent - shape.mantissa_bits - sum.exponent - static_cast<int32_t>(kFractionLog2);
  uint32_t scaled = 0;  // of the smallest subnormal nothing that counts
  bool inexact = false;
  if (drop <= 0) {
    scaled = static_cast<uint32_t>(m << -drop);  // only after cancellation
  } else if (drop < 64) {
    const uint64_t kept = m >> drop;
    scaled = static_cast<uint32_t>(kept);
    inexact = kept << drop != m;
  }
  uint32_t rounded = scaled >> kFractionLog2;
  auto fraction = static_cast<int32_t>(scaled & 255);
  const bool up_at_half = inexact || (rounded & 1) != 0;
  if (2 * fraction + (up_at_half ? 1 : 0) > 2 * kHalfStep) {
    ++rounded;
    fraction -= 256;
  }
  uint32_t bits = (static_cast<uint32_t>(exponent + bias - 1) << shape.mantissa_bits) + rounded;
  const uint32_t infinity = static_cast<uint32_t>(shape.exponent_mask) << shape.mantissa_bits;
  if (exponent > bias || bits >= infinity) {
    bits = infinity - 1;
    fraction = 0;
  }
  const unsigned sign_at = shape.mantissa_bits + (shape.exponent_mask > 31 ? 8u : 5u);
  if (sum.value < 0) bits |= 1u << sign_at;
  return {bits, sum.value < 0 ? -fraction : fraction};
}

// The nearest value of an integer type to x / 256; `low` and `high` bound it.
struct IntegerRange {
  int64_t low, high;
};
inline IntegerRange integer_range(ValueType type) {
  switch (type) {
    case ValueType::kUint4:
      return {-8, 7};
    case ValueType::kInt16:
      return {-32768, 32767};
    case ValueType::kInt32:
      return {INT32_MIN, INT32_MAX};
    default:
      return {-128, 127};
  }
}

// Integers are predicted around their middle: unsigned ones as if 8 or 128 were zero.
inline int64_t centered(ValueType type, uint32_t bits) {
  switch (type) {
    case ValueType::kUint4:
      return static_cast<int64_t>(bits) - 8;
    case ValueType::kUint8:
      return static_cast<int64_t>(bits) - 128;
    case ValueType::kInt8:
      return static_cast<int8_t>(bits);
    case ValueType::kInt16:
      return static_cast<int16_t>(bits);
    default:
      return static_cast<int32_t>(bits);
  }
}
inline uint32_t from_centered(ValueType type, int64_t value) {
  const auto bits = static_cast<uint32_t>(value);
  switch (type) {
    case ValueType::kUint4:
      return bits + 8;
    case ValueType::kUint8:
      return bits + 128;
    case ValueType::kInt8:
      return bits & 0xFF;
    case ValueType::kInt16:
      return bits & 0xFFFF;
    default:
      return bits;
  }
}

inline Prediction rounded_integer(ValueType type, int64_t x) {
  const IntegerRange range = integer_range(type);
  int64_t value = (x + kHalfStep) >> kFractionLog2;
  value = value < range.low ? range.low : value > range.high ? range.high : value;
  int64_t fraction = x - (value * (1 << kFractionLog2));
  fraction = fraction < -kHalfStep ? -kHalfStep : fraction > kHalfStep ? kHalfStep : fraction;
  return {from_centered(type, value), static_cast<int32_t>(fraction)};
}

// old * gain + update * 2^-shift. For integers the update's unit is that of the value.
struct LinearTerms {
  int32_t gain;    // kGainOne: one
  int64_t update;  // |update| < 2^50
  int32_t shift;   // 0..126
};
inline Prediction predict_linear(ValueType type, uint32_t old_bits, const LinearTerms& terms) {
  const FloatShape shape = float_shape(type);
  if (shape.exponent_mask == 0) {
    const int64_t scaled = (centered(type, old_bits) * terms.gain) >> (kGainLog2 - kFractionLog2);
    const int32_t shift = terms.shift - static_cast<int32_t>(kFractionLog2);
    const int64_t update = shift > 62  ? 0
                           : shift > 0 ? terms.update >> shift
                                       : terms.update * (1 << -shift);
    return rounded_integer(type, scaled + update);
  }
  Scaled old{};
  if (!scaled_of(shape, old_bits, &old) || (old.value == 0 && terms.update == 0)) {
    return {old_bits, 0};
  }
  return rounded_sum(shape,
                     {old.value * terms.gain, old.exponent - static_cast<int32_t>(kGainLog2)},
                     {terms.update, -terms.shift});
}

// Value number k of the grid around old: old + k * m * 2^e (integers: e >= 0). k = 0 is old itself.
struct Grid {
  uint8_t multiplier;  // m, 1..63
  int16_t exponent;    // e, -200..100
};
inline uint32_t grid_value(ValueType type, uint32_t old_bits, const Grid& grid, int32_t k) {
  if (k == 0) return old_bits;
  const int64_t steps = static_cast<int64_t>(k) * grid.multiplier;
  const FloatShape shape = float_shape(type);
  if (shape.exponent_mask == 0) {
    const int32_t e = grid.exponent < 0 ? 0 : grid.exponent > 16 ? 16 : grid.exponent;
    const int64_t moved =
        (centered(type, old_bits) + steps * (int64_t{1} << e)) * (1 << kFractionLog2);
    return rounded_integer(type, moved).bits;
  }
  Scaled old{};
  if (!scaled_of(shape, old_bits, &old)) return old_bits;
  return rounded_sum(shape, old, {steps, grid.exponent}).bits;
}

// A float times another, given as float32, rounded.
inline Prediction predict_product(ValueType type, uint32_t bits, uint32_t factor) {
  Scaled a{}, b{};
  if (!scaled_of(float_shape(type), bits, &a) ||
      !scaled_of(float_shape(ValueType::kFloat32), factor, &b)) {
    return {bits, 0};
  }
  return rounded_sum(float_shape(type), {a.value * b.value, a.exponent + b.exponent}, {0, 0});
}

// Of quantised values that are stored as floats: each is k times a step, k as an int8. Steps are
// float32.
struct Lattice {
  uint32_t old_step;
  uint32_t new_step;
};
inline uint32_t lattice_value(ValueType type, uint32_t step_bits, int32_t k) {
  Scaled step{};
  if (!scaled_of(float_shape(ValueType::kFloat32), step_bits, &step)) return 0;
  return rounded_sum(float_shape(type), {step.value * k, step.exponent}, {0, 0}).bits;
}
// value / step as an int8 with its fraction.
inline Prediction lattice_index(ValueType type, uint32_t bits, uint32_t step_bits) {
  Scaled value{}, step{};
  if (!scaled_of(float_shape(type), bits, &value) ||
      !scaled_of(float_shape(ValueType::kFloat32), step_bits, &step) || step.value == 0) {
    return {0, 0};
  }
  const int32_t shift = value.exponent - step.exponent + static_cast<int32_t>(kFractionLog2);
  if (shift < -38) return {0, 0};
  const int64_t up = int64_t{1} << (shift > 38 ? 38 : shift > 0 ? shift : 0);
  const int64_t down = int64_t{1} << (shift < 0 ? -shift : 0);
  return rounded_integer(ValueType::kInt8, value.value * up / (step.value * down));
}

// How much larger a block's values are when its scale (float16) went from old to new.
inline int32_t scale_ratio(uint32_t old_scale, uint32_t new_scale) {
  const FloatShape shape = float_shape(ValueType::kFloat16);
  Scaled from{}, to{};
  if (!scaled_of(shape, old_scale, &from) || !scaled_of(shape, new_scale, &to) || to.value == 0) {
    return kGainOne;
  }
  const int32_t shift = from.exponent - to.exponent;
  if (shift > 10 || shift < -10) return kGainOne;
  const int64_t ratio = from.value * (int64_t{1} << (30 + shift)) / to.value;
  return ratio >= INT32_MIN && ratio <= INT32_MAX ? static_cast<int32_t>(ratio) : kGainOne;
}

}  // namespace tensorpatch
