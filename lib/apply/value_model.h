// value_model.h: how one typed value is coded, given the old value; shared by encoder and decoder.
//
// A value is coded either as a residual (the difference to the prediction) or on its own (intra).
// Narrow types (8 bit): zero flag, sign, magnitude in unary steps. Wide types (16 and 32 bit
// integers, floats as ordered integers): the bit length of the difference around the length
// expected from the running mean of exponent + length, then sign, two modelled bits, the rest raw.
// Level S looks at one context for each decision; level L mixes three.
//
// A ValueState is one slot of the workspace: plain integers, no pointers, the same size everywhere.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdint.h>

#include "entropy_model.h"

namespace tensorpatch {

// Element types as numbers of the format.
enum class ValueType : uint8_t {
  kInt8 = 0,
  kUint8 = 1,
  kInt16 = 2,
  kInt32 = 3,
  kFloat16 = 4,
  kBfloat16 = 5,
  kFloat32 = 6,
};
inline constexpr unsigned kValueTypeCount = 7;

inline constexpr unsigned value_size(ValueType type) {
  switch (type) {
    case ValueType::kInt8:
    case ValueType::kUint8:
      return 1;
    case ValueType::kInt32:
    case ValueType::kFloat32:
      return 4;
    default:
      return 2;
  }
}

// The raw bits of a value of `size` bytes, zero-extended.
inline uint32_t load_value(const uint8_t* p, unsigned size) {
  uint32_t value = 0;
  for (unsigned i = 0; i < size; ++i) value |= static_cast<uint32_t>(p[i]) << (8 * i);
  return value;
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

inline constexpr unsigned kTile = 32;  // elements behind one "unchanged" flag

// What is known when a value is coded. Raw bits, zero-extended.
struct ValueContext {
  ValueType type;
  uint32_t old_bits;    // residual: the prediction
  uint32_t above_bits;  // intra: the value one row before, or 0
};

inline constexpr unsigned kStateCells[2] = {320, 2560};  // of level S and L
inline constexpr unsigned kStateWeights =
    36 * 3;  // level L: three for each of 36 mixes, behind the cells

struct ValueState {
  int32_t mean;      // expected exponent + length of the difference, 8 fractional bits
  int32_t activity;  // running mean of |residual| of narrow types, 8 fractional bits
  int32_t last;      // last two residuals (narrow) or lengths (wide)
  int32_t before_last;
  uint32_t history;  // of nonzero flags, newest in bit 0
  uint32_t signs;    // last two signs, each 0 none, 1 plus, 2 minus: newest * 1 + older * 3
  uint32_t tiles;    // of tile flags, newest in bit 0
  uint32_t seen;     // values that the mean followed, stops at 16
  Cell tile_cells[4];
  Cell cells[1];  // kStateCells[level], then at level L the weights
};

inline constexpr uint32_t value_state_size(unsigned level) {
  const unsigned numbers = kStateCells[level] + (level == 0 ? 0 : kStateWeights);
  return static_cast<uint32_t>(sizeof(ValueState)) +
         (numbers - 1) * static_cast<uint32_t>(sizeof(Cell));
}

inline MixWeight* value_weights(ValueState& state) {
  return reinterpret_cast<MixWeight*>(static_cast<Cell*>(state.cells) + kStateCells[1]);
}

inline void value_state_reset(ValueState& state, unsigned level) {
  state.mean = 0;
  state.activity = 0;
  state.last = 0;
  state.before_last = 0;
  state.history = 0;
  state.signs = 0;
  state.tiles = 0;
  state.seen = 0;
  for (Cell& cell : state.tile_cells) cell = kCellStart;
  Cell* cells = state.cells;
  for (unsigned i = 0; i < kStateCells[level]; ++i) cells[i] = kCellStart;
  if (level == 0) return;
  MixWeight* weights = value_weights(state);
  for (unsigned i = 0; i < kStateWeights; ++i) weights[i] = mix_start(3);
}

template <class Coder, unsigned Level>
class ValueModel {
 public:
  ValueModel(Coder& coder, ValueState& state) : coder_(coder), s_(state) {}

  // Whether the next kTile elements all equal old.
  unsigned code_tile_unchanged(unsigned unchanged) {
    unchanged = code_bit(coder_, s_.tile_cells[s_.tiles & 3], unchanged);
    s_.tiles = s_.tiles << 1 | unchanged;
    return unchanged;
  }

  // Codes new (raw bits; what a decoder passes is ignored) relative to context.old_bits.
  uint32_t code_residual(const ValueContext& context, uint32_t new_bits) {
    return value_size(context.type) == 1 ? narrow_residual(context, new_bits)
                                         : wide_residual(context, new_bits);
  }

  // Codes new by itself.
  uint32_t code_intra(const ValueContext& context, uint32_t new_bits) {
    switch (context.type) {
      case ValueType::kInt8:
      case ValueType::kUint8:
        return narrow_intra(context, new_bits);
      case ValueType::kInt16:
      case ValueType::kInt32:
        return wide_residual({context.type, context.above_bits, 0}, new_bits);
      default:
        return float_intra(context, new_bits);
    }
  }

 private:
  // Three contexts of one decision; level S uses only the first. Offsets into cells.
  unsigned decide(unsigned first, unsigned second, unsigned third, unsigned weight_set,
                  unsigned bit) {
    Cell* cells = s_.cells;
    if constexpr (Level == 0) {
      return code_bit(coder_, cells[first], bit);
    } else {
      Cell* const mixed[3] = {cells + first, cells + second, cells + third};
      return code_mixed(coder_, mixed, value_weights(s_) + weight_set * 3, bit);
    }
  }

  static unsigned clamp(int32_t v, int32_t low, int32_t high) {
    return static_cast<unsigned>(v < low ? low : v > high ? high : v);
  }
  static unsigned bit_length(uint32_t v) {
    return v == 0 ? 0 : 32u - static_cast<unsigned>(__builtin_clz(v));
  }
  void note_sign(unsigned negative) { s_.signs = (s_.signs % 3) * 3 + (negative != 0 ? 2 : 1); }

  // ---- 8-bit types
  // ------------------------------------------------------------------------------- Cells: first
  // set zero 64, sign 27, magnitude 8 x 16; more sets of L from 512.
  static constexpr unsigned kZero1 = 0, kSign1 = 64, kMagnitude1 = 91, kEscape = 91 + 128;
  static constexpr unsigned kZero2 = 512, kZero3 = 768, kMagnitude2 = 849, kMagnitude3 = 977,
                            kSign2 = 1233, kSign3 = 1489;
  static constexpr unsigned kMaxUnary = 15;

  uint32_t narrow_residual(const ValueContext& context, uint32_t new_bits) {
    const uint32_t old = context.old_bits;
    const int32_t centered = context.type == ValueType::kInt8 ? static_cast<int8_t>(old)
                                                              : static_cast<int32_t>(old) - 128;
    const uint32_t size = static_cast<uint32_t>(centered < 0 ? -centered : centered);
    const unsigned bucket = clamp(static_cast<int32_t>(bit_length(size)), 0, 7);
    const unsigned side = centered == 0 ? 0 : centered > 0 ? 1 : 2;
    const unsigned act = activity_bucket();
    const unsigned last = clamp(s_.last, -4, 4) + 4, before = clamp(s_.before_last, -4, 4) + 4;

    const auto residual = static_cast<int8_t>(new_bits - old);
    const unsigned nonzero = decide(kZero1 + act * 8 + bucket, kZero2 + old,
                                    kZero3 + last * 9 + before, act, residual != 0);
    int32_t r = 0;
    if (nonzero != 0) {
      const unsigned negative = decide(kSign1 + side * 9 + s_.signs, kSign2 + old,
                                       kSign3 + last * 9 + before, 8 + side, residual < 0);
      note_sign(negative);
      r = static_cast<int32_t>(narrow_magnitude(
          act, bucket, static_cast<uint32_t>(residual < 0 ? -residual : residual)));
      if (negative != 0) r = -r;
    }
    s_.before_last = s_.last;
    s_.last = r;
    const int32_t magnitude = r < 0 ? -r : r;
    s_.activity += ((magnitude << 8) - s_.activity) / 8;
    return (old + static_cast<uint32_t>(r)) & 255;
  }

  // 1..128: unary in context up to kMaxUnary, then Exp-Golomb.
  uint32_t narrow_magnitude(unsigned act, unsigned bucket, uint32_t magnitude) {
    const unsigned l1 = clamp(s_.last < 0 ? -s_.last : s_.last, 0, 7);
    const unsigned l2 = clamp(s_.before_last < 0 ? -s_.before_last : s_.before_last, 0, 1);
    uint32_t value = 1;
    while (value <= kMaxUnary) {
      const unsigned step = value - 1;
      const unsigned more = decide(kMagnitude1 + act * 16 + step, kMagnitude2 + bucket * 16 + step,
                                   kMagnitude3 + (l1 * 2 + l2) * 16 + step,
                                   11 + (step < 4 ? step : 4), magnitude > value);
      if (more == 0) return value;
      ++value;
    }
    const uint32_t rest = magnitude - value + 1;  // >= 1
    unsigned length = 0;
    while (length < 7 && code_bit(coder_, s_.cells[kEscape + length], rest >> (length + 1) != 0)) {
      ++length;
    }
    const uint32_t low = length == 0 ? 0 : coder_.raw(rest & ((1u << length) - 1), length);
    return value + (1u << length | low) - 1;
  }

  unsigned activity_bucket() const {
    static constexpr int32_t kSteps[7] = {10, 30, 70, 140, 280, 560, 1400};
    unsigned bucket = 0;
    while (bucket < 7 && s_.activity >= kSteps[bucket]) ++bucket;
    return bucket;
  }

  // A tree of 256 nodes: order 0; in context of the local size; in context of the value above.
  static constexpr unsigned kTree1 = 0, kTree2 = 512, kTree3 = 512 + 1024;
  uint32_t narrow_intra(const ValueContext& context, uint32_t new_bits) {
    const auto centered = [&](uint32_t bits) {
      return context.type == ValueType::kInt8 ? static_cast<int32_t>(static_cast<int8_t>(bits))
                                              : static_cast<int32_t>(bits) - 128;
    };
    const unsigned size_bucket = clamp(s_.activity >> 12, 0, 3);
    const int32_t above = centered(context.above_bits);
    const unsigned above_bucket = above < -16 ? 0 : above < 0 ? 1 : above <= 16 ? 2 : 3;
    uint32_t node = 1;
    for (unsigned i = 8; i-- > 0;) {
      const unsigned bit = decide(kTree1 + node, kTree2 + size_bucket * 256 + node,
                                  kTree3 + above_bucket * 256 + node, 16 + i, new_bits >> i & 1);
      node = node << 1 | bit;
    }
    const uint32_t value = node & 255;
    const int32_t v = centered(value);
    s_.activity += (((v < 0 ? -v : v) << 8) - s_.activity) / 8;
    return value;
  }

  // ---- 16- and 32-bit types
  // ---------------------------------------------------------------------- Cells of set 1: zero 16
  // x 4, sign 2 x 9, steps 4 x 24, two bits below the leading one 33 x 4.
  static constexpr unsigned kWideZero1 = 0, kWideSign = 64, kSteps1 = 82, kTop = 178;
  static constexpr unsigned kWideZero2 = 512, kSteps2 = 640, kWideZero3 = 1408, kSteps3 = 1440;
  static constexpr int32_t kStepReach = 12, kMaxSteps = 20;

  // The order of floats as integers: bijective, -0 just below +0.
  static int32_t to_ordered(uint32_t bits, ValueType type) {
    const unsigned shift = 32 - 8 * value_size(type);
    const auto top = static_cast<int32_t>(bits << shift) >> shift;  // sign-extended
    if (float_shape(type).exponent_mask == 0 || top >= 0) return top;
    return ~(top & static_cast<int32_t>(0x7FFFFFFFu >> shift));
  }
  static uint32_t from_ordered(int32_t ordered, ValueType type) {
    const unsigned shift = 32 - 8 * value_size(type);
    const uint32_t mask = 0xFFFFFFFFu >> shift;
    if (float_shape(type).exponent_mask == 0 || ordered >= 0) {
      return static_cast<uint32_t>(ordered) & mask;
    }
    return (~static_cast<uint32_t>(ordered) | 0x80000000u >> shift) & mask;
  }

  uint32_t wide_residual(const ValueContext& context, uint32_t new_bits) {
    const unsigned shift = 32 - 8 * value_size(context.type);
    const FloatShape shape = float_shape(context.type);
    const uint32_t exponent = context.old_bits >> shape.mantissa_bits & shape.exponent_mask;
    const int32_t old = to_ordered(context.old_bits, context.type);
    const unsigned old_negative = old < 0;
    // Wraps around within the type's width, so that it always fits.
    const uint32_t wrapped =
        (static_cast<uint32_t>(to_ordered(new_bits, context.type)) - static_cast<uint32_t>(old))
        << shift;
    const int32_t difference = static_cast<int32_t>(wrapped) >> shift;
    const uint32_t size =
        difference < 0 ? 0u - static_cast<uint32_t>(difference) : static_cast<uint32_t>(difference);

    const unsigned length = code_length(context, exponent, bit_length(size));
    uint32_t magnitude = 0;
    unsigned negative = 0;
    if (length != 0) {
      negative =
          code_bit(coder_, s_.cells[kWideSign + old_negative * 9 + s_.signs], difference < 0);
      note_sign(negative);
      magnitude = code_below_leading(length, size);
    }
    const uint32_t sum = static_cast<uint32_t>(old) + (negative != 0 ? 0u - magnitude : magnitude);
    return from_ordered(static_cast<int32_t>(sum << shift) >> shift, context.type);
  }

  // The bit length of a difference, 0..32: zero flag, then steps away from the expected length.
  unsigned code_length(const ValueContext& context, uint32_t exponent, unsigned length) {
    const unsigned key = shape_key(context, exponent);
    const int32_t expected = s_.mean - static_cast<int32_t>(exponent << 8);  // 8 fractional bits
    const unsigned zero_bucket = clamp((expected + (3 << 8)) >> 7, 0, 15);
    const unsigned top_bits = mantissa_top(context);
    const unsigned nonzero =
        decide(kWideZero1 + zero_bucket * 4 + (s_.history & 3), kWideZero2 + key * 4 + top_bits,
               kWideZero3 + (s_.history & 31), 24 + (zero_bucket >> 2), length != 0);
    s_.history = s_.history << 1 | nonzero;
    if (nonzero == 0) return 0;

    const int32_t rounded = (expected + 128) >> 8;
    const int32_t start = static_cast<int32_t>(clamp(rounded, 1, 32));
    const unsigned fraction = static_cast<unsigned>(expected >> 6) & 3;
    const unsigned last = clamp(s_.last - start, -3, 3) + 3;
    const unsigned before = clamp(s_.before_last - start, -1, 1) + 1;
    const unsigned result = code_near(
        start, static_cast<int32_t>(length), {1, 32},
        {kSteps1 + fraction * 24, kSteps2 + key * 24, kSteps3 + (last * 3 + before) * 24, 28});
    s_.before_last = s_.last;
    s_.last = static_cast<int32_t>(result);
    follow(static_cast<int32_t>((exponent + result) << 8));
    return result;
  }

  struct Bounds {
    int32_t low, high;
  };
  struct StepCells {
    unsigned first, second, third, weight_set;
  };
  // A number within bounds, by steps up or down from `start`; each cell row has 24 entries.
  unsigned code_near(int32_t start, int32_t value, Bounds bounds, StepCells at) {
    const auto reached = [&](int32_t threshold) {  // value >= threshold?
      const unsigned step = clamp(threshold - start, -kStepReach + 1, kStepReach - 1) + kStepReach;
      const unsigned set = at.weight_set + (step < 11 ? 0 : step == 11 ? 1 : step == 12 ? 2 : 3);
      return decide(at.first + step, at.second + step, at.third + step, set, value >= threshold);
    };
    int32_t v = start;
    int32_t left = kMaxSteps;
    if (v <= bounds.low || reached(v) != 0) {
      while (left > 0 && v < bounds.high && reached(v + 1) != 0) ++v, --left;
    } else {
      --v;
      while (left > 0 && v > bounds.low && reached(v) == 0) --v, --left;
    }
    if (left == 0) {  // far away: the number itself
      const uint32_t raw = coder_.raw(static_cast<uint32_t>(value), 8);
      v = static_cast<int32_t>(clamp(static_cast<int32_t>(raw), bounds.low, bounds.high));
    }
    return static_cast<unsigned>(v);
  }

  void follow(int32_t target) {
    if (s_.seen < 16) ++s_.seen;
    s_.mean += (target - s_.mean) / static_cast<int32_t>(s_.seen < 16 ? s_.seen : 16);
  }

  // Which of 32 rows: by exponent, or by size for integers.
  static unsigned shape_key(const ValueContext& context, uint32_t exponent) {
    if (float_shape(context.type).exponent_mask != 0) return exponent & 31;
    const unsigned shift = 32 - 8 * value_size(context.type);
    const int32_t v = static_cast<int32_t>(context.old_bits << shift) >> shift;
    return bit_length(static_cast<uint32_t>(v < 0 ? ~v : v)) & 31;
  }
  static unsigned mantissa_top(const ValueContext& context) {
    const unsigned bits = float_shape(context.type).mantissa_bits;
    return bits == 0 ? 0 : context.old_bits >> (bits - 2) & 3;
  }

  // The bits below the leading one of a number of `length` bits: two modelled, the rest raw.
  uint32_t code_below_leading(unsigned length, uint32_t value) {
    uint32_t result = 1;
    unsigned rest = length - 1;
    for (unsigned i = 0; i < 2 && rest > 0; ++i) {
      --rest;
      const unsigned node = i == 0 ? 1 : 2 | (result & 1);
      result =
          result << 1 | code_bit(coder_, s_.cells[kTop + length * 4 + node], value >> rest & 1);
    }
    return code_raw(result, rest, value);
  }
  uint32_t code_raw(uint32_t result, unsigned rest, uint32_t value) {
    while (rest > 0) {
      const unsigned part = rest < 12 ? rest : 12;
      rest -= part;
      result = result << part | coder_.raw(value >> rest & ((1u << part) - 1), part);
    }
    return result;
  }

  // A float by itself: sign, exponent near the running mean, three modelled mantissa bits, the rest
  // raw. Cells: sign 9, exponent steps 4 x 24 (sets 2, 3: 7 x 24 and 9 x 24), mantissa 4 x 8.
  static constexpr unsigned kIntraSign = 0, kIntraStep1 = 16, kIntraMantissa = 112,
                            kIntraStep2 = 512, kIntraStep3 = 704;
  uint32_t float_intra(const ValueContext& context, uint32_t new_bits) {
    const FloatShape shape = float_shape(context.type);
    const unsigned sign_at = 8 * value_size(context.type) - 1;
    const unsigned negative =
        code_bit(coder_, s_.cells[kIntraSign + s_.signs], new_bits >> sign_at & 1);
    note_sign(negative);

    const int32_t start = static_cast<int32_t>(clamp((s_.mean + 128) >> 8, 0, shape.exponent_mask));
    const auto above =
        static_cast<int32_t>(context.above_bits >> shape.mantissa_bits & shape.exponent_mask);
    const unsigned fraction = static_cast<unsigned>(s_.mean >> 6) & 3;
    const unsigned above_row = clamp(above - start, -3, 3) + 3;
    const unsigned last_row = clamp(s_.last - start, -4, 4) + 4;
    const auto exponent =
        static_cast<int32_t>(new_bits >> shape.mantissa_bits & shape.exponent_mask);
    const unsigned coded = code_near(start, exponent, {0, shape.exponent_mask},
                                     {kIntraStep1 + fraction * 24, kIntraStep2 + above_row * 24,
                                      kIntraStep3 + last_row * 24, 32});
    s_.last = static_cast<int32_t>(coded);
    follow(s_.last << 8);

    const unsigned row = clamp(static_cast<int32_t>(coded) - start, -2, 1) + 2;
    uint32_t mantissa = 1;
    unsigned rest = shape.mantissa_bits;
    for (unsigned i = 0; i < 3; ++i) {
      --rest;
      mantissa = mantissa << 1 | code_bit(coder_, s_.cells[kIntraMantissa + row * 8 + mantissa],
                                          new_bits >> rest & 1);
    }
    mantissa = code_raw(mantissa, rest, new_bits) & ((1u << shape.mantissa_bits) - 1);
    return negative << sign_at | coded << shape.mantissa_bits | mantissa;
  }

  Coder& coder_;
  ValueState& s_;
};

}  // namespace tensorpatch
