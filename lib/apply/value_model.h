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

#include "number_model.h"
#include "prediction.h"

namespace tensorpatch {

inline constexpr unsigned kTile = 32;  // elements behind one "unchanged" flag

// The sign bit of floats, which have two zeros; 0 for integers.
inline uint32_t sign_of(ValueType type) {
  return float_shape(type).exponent_mask == 0 ? 0u : 1u << (8 * value_size(type) - 1);
}
// What pruning leaves of a value, without a sign.
inline uint32_t zero_of(ValueType type) {
  return float_shape(type).exponent_mask == 0 ? from_centered(type, 0) : 0u;
}

// Of a prediction that is old itself.
inline constexpr int32_t kNoFraction = 1 << 16;

// What is known when a value is coded. Raw bits, zero-extended.
struct ValueContext {
  ValueType type;
  uint32_t old_bits;               // residual: the prediction
  uint32_t above_bits;             // intra: the value one row before, or 0
  int32_t fraction = kNoFraction;  // residual: of the prediction
};

inline constexpr unsigned kStateCells[2] = {404, 2560};  // of level S and L
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
  uint32_t tail;     // low bits that were zero in every value, as in a narrower type widened
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
  state.tail = 255;
  for (Cell& cell : state.tile_cells) cell = kCellStart;
  Cell* cells = state.cells;
  for (unsigned i = 0; i < kStateCells[level]; ++i) cells[i] = kCellStart;
  if (level == 0) return;
  MixWeight* weights = value_weights(state);
  for (unsigned i = 0; i < kStateWeights; ++i) weights[i] = mix_start(3);
}

// Instead of a level: known when the model is made, so that small code holds both levels once; or S
// without what the codec of plain values leaves out.
inline constexpr unsigned kAnyLevel = 2;
inline constexpr unsigned kPlainLevel = 3;

template <class Coder, unsigned Level>
class ValueModel {
 public:
  static constexpr bool kPlain = Level == kPlainLevel;

  ValueModel(Coder& coder, ValueState& state, unsigned level = Level)
      : coder_(coder), s_(state), level_(level) {}

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

  // Codes the number of steps of a grid, 0 mostly.
  int32_t code_steps(int32_t steps) {
    const unsigned act = activity_bucket();
    const unsigned last = clamp(s_.last, -4, 4) + 4, before = clamp(s_.before_last, -4, 4) + 4;
    const unsigned around = last * 9 + before;
    const unsigned near = (s_.last != 0 ? 1u : 0u) + (s_.before_last != 0 ? 2u : 0u);
    int32_t k = 0;
    if (decide(kZero1 + act * 8 + near, kZero2, kZero3 + around, act, steps != 0) != 0) {
      const unsigned negative =
          decide(kSign1 + s_.signs, kSign2, kSign3 + around, 8, steps < 0 ? 1u : 0u);
      note_sign(negative);
      k = static_cast<int32_t>(
          magnitude(act, 0, static_cast<uint32_t>(steps < 0 ? -steps : steps), kStepsBits));
      if (negative != 0) k = -k;
    }
    note_residual(k);
    return k;
  }

  // Whether new is zero, which pruning makes of small values; `value` is new where it is, with its
  // sign.
  unsigned code_zero(ValueType type, uint32_t old_bits, uint32_t& value) {
    const uint32_t sign = sign_of(type);
    const uint32_t zero = zero_of(type);
    const unsigned context = zero_context(type, old_bits);
    const unsigned is_zero =
        code_bit(coder_, s_.cells[kZeroMap + context], (value & ~sign) == zero ? 1u : 0u);
    if (is_zero == 0) return 0;
    const unsigned old_negative = (old_bits & sign) != 0 ? 1 : 0;
    if (sign != 0) {
      const unsigned negative =
          code_bit(coder_, s_.cells[kZeroSign + old_negative * 8 + (context >> 3)],
                   (value & sign) != 0 ? 1u : 0u);
      value = negative != 0 ? sign : 0;
    } else {
      value = zero;
    }
    return 1;
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
        if constexpr (kPlain) return 0;  // is refused before
        return float_intra(context, new_bits);
    }
  }

 private:
  // Three contexts of one decision; level S uses only the first. Offsets into cells.
  unsigned decide(unsigned first, unsigned second, unsigned third, unsigned weight_set,
                  unsigned bit) {
    Cell* cells = s_.cells;
    const bool mixes = Level == kAnyLevel ? level_ != 0 : Level == 1;
    if (!mixes) return code_bit(coder_, cells[first], bit);
    Cell* const mixed[3] = {cells + first, cells + second, cells + third};
    return code_mixed(&coder_, {mixed, 3, value_weights(s_) + weight_set * 3, nullptr}, bit);
  }

  // Whether the prediction is more than old.
  static bool is_rounded(const ValueContext& context) {
    return !kPlain && context.fraction != kNoFraction;
  }
  static unsigned clamp(int32_t v, int32_t low, int32_t high) {
    return static_cast<unsigned>(v < low ? low : v > high ? high : v);
  }
  static unsigned bit_length(uint32_t v) {
    return v == 0 ? 0 : 32u - static_cast<unsigned>(__builtin_clz(v));
  }
  // |old| in eight steps an octave, or as it is for small integers.
  static unsigned zero_context(ValueType type, uint32_t old_bits) {
    const FloatShape shape = float_shape(type);
    if (shape.exponent_mask != 0) return old_bits >> (shape.mantissa_bits - 3) & 63;
    const int64_t v = centered(type, old_bits);
    const int64_t size = v < 0 ? -v : v;
    return size > 63 ? 63 : static_cast<unsigned>(size);
  }
  void note_sign(unsigned negative) { s_.signs = (s_.signs % 3) * 3 + (negative != 0 ? 2 : 1); }

  // ---- 8-bit types
  // ------------------------------------------------------------------------------- Cells: first
  // set zero 64, sign 27, magnitude 8 x 16; more sets of L from 512.
  static constexpr unsigned kZero1 = 0, kSign1 = 64, kMagnitude1 = 91, kEscape = 91 + 128;
  static constexpr unsigned kZero2 = 512, kZero3 = 768, kMagnitude2 = 849, kMagnitude3 = 977,
                            kSign2 = 1233, kSign3 = 1489;
  static constexpr unsigned kMaxUnary = 15;
  static constexpr unsigned kZeroMap = 320;   // 64 cells, of every type
  static constexpr unsigned kZeroSign = 384;  // 2 x 8
  static constexpr unsigned kTail = 400;      // 1
  static constexpr unsigned kStepsBits = 20;  // of a grid's numbers beyond kMaxUnary, at most

  uint32_t narrow_residual(const ValueContext& context, uint32_t new_bits) {
    const uint32_t expected = context.old_bits;
    const uint32_t mask = context.type == ValueType::kUint4 ? 15 : 255;
    const auto middle = static_cast<int32_t>(centered(context.type, expected));
    const auto size = static_cast<uint32_t>(middle < 0 ? -middle : middle);
    const unsigned bucket = clamp(static_cast<int32_t>(bit_length(size)), 0, 7);
    const unsigned act = activity_bucket();
    const unsigned last = clamp(s_.last, -4, 4) + 4, before = clamp(s_.before_last, -4, 4) + 4;
    NarrowContexts at{bucket, expected, last * 9 + before,
                      middle == 0  ? 0u
                      : middle > 0 ? 1u
                                   : 2u,
                      expected};
    if (is_rounded(context)) at = fraction_contexts(context.fraction, expected, last);

    int32_t residual = 0;
    if constexpr (!kReads<Coder>) {  // wraps around within the type's width
      const uint32_t wrapped = (new_bits - expected) & mask;
      residual = static_cast<int32_t>(wrapped > mask / 2 ? wrapped - mask - 1 : wrapped);
    }
    const unsigned nonzero = decide(kZero1 + act * 8 + at.zero, kZero2 + at.value,
                                    kZero3 + at.around, act, residual != 0);
    int32_t r = 0;
    if (nonzero != 0) {
      const unsigned negative = decide(kSign1 + at.side * 9 + s_.signs, kSign2 + at.sign,
                                       kSign3 + at.around, 8 + at.side, residual < 0);
      note_sign(negative);
      r = static_cast<int32_t>(
          magnitude(act, bucket, static_cast<uint32_t>(residual < 0 ? -residual : residual), 7));
      if (negative != 0) r = -r;
    }
    note_residual(r);
    return (expected + static_cast<uint32_t>(r)) & mask;
  }

  struct NarrowContexts {
    unsigned zero, value, around, side, sign;
  };
  // Where rounding took something off, that says most about the rest.
  static NarrowContexts fraction_contexts(int32_t fraction, uint32_t expected, unsigned last) {
    const unsigned away = clamp((fraction < 0 ? -fraction : fraction) >> 4, 0, 7);
    const unsigned side = fraction < -16 ? 2 : fraction > 16 ? 1 : 0;
    const unsigned fine = clamp(fraction + 128, 0, 255);
    return {away, expected, (fine >> 5) * 9 + last, side, fine};
  }

  void note_residual(int32_t r) {
    s_.before_last = s_.last;
    s_.last = r;
    const int32_t size = r < 0 ? -r : r;
    s_.activity += ((size << 8) - s_.activity) / 8;
  }

  // At least 1: unary in context up to kMaxUnary, then Exp-Golomb of at most `most` bits.
  uint32_t magnitude(unsigned act, unsigned bucket, uint32_t magnitude, unsigned most) {
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
    while (length < most &&
           code_bit(coder_, s_.cells[kEscape + length], rest >> (length + 1) != 0)) {
      ++length;
    }
    return value + code_raw(1, length, rest) - 1;
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
  // x 4, sign 3 x 9, steps 4 x 24, two bits below the leading one 33 x 4.
  static constexpr unsigned kWideZero1 = 0, kWideSign = 64, kSteps1 = 91, kTop = 187;
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
    const bool is_float = shape.exponent_mask != 0;
    const uint32_t exponent = context.old_bits >> shape.mantissa_bits & shape.exponent_mask;
    const unsigned tail = code_tail(context.type, new_bits);
    const int32_t old = to_ordered(context.old_bits, context.type) >> tail;
    int32_t difference = 0;
    if constexpr (!kReads<Coder>) {  // wraps around within the type's width, so that it always fits
      const uint32_t wrapped = (static_cast<uint32_t>(to_ordered(new_bits, context.type) >> tail) -
                                static_cast<uint32_t>(old))
                               << shift;
      difference = static_cast<int32_t>(wrapped) >> shift;
    }
    const uint32_t size =
        difference < 0 ? 0u - static_cast<uint32_t>(difference) : static_cast<uint32_t>(difference);

    const unsigned length = code_length(context, exponent, bit_length(size));
    uint32_t magnitude = 0;
    unsigned negative = 0;
    if (length != 0) {
      unsigned side = old < 0 ? 1u : 0u;
      if (is_rounded(context)) {
        side = context.fraction < -32 ? 2u : context.fraction > 32 ? 1u : 0u;
      }
      negative = code_bit(coder_, s_.cells[kWideSign + side * 9 + s_.signs], difference < 0);
      note_sign(negative);
      magnitude = code_below_leading(length, size);
    }
    const uint32_t sum = static_cast<uint32_t>(old) + (negative != 0 ? 0u - magnitude : magnitude);
    const int32_t moved = static_cast<int32_t>(sum << shift) >> shift;
    // The tail of a negative float's order is ones.
    const uint32_t widened = static_cast<uint32_t>(moved) << tail;
    const uint32_t ones = is_float && moved < 0 ? (1u << tail) - 1 : 0u;
    return note_tail(from_ordered(static_cast<int32_t>(widened | ones), context.type));
  }

  // How many low bits of new are zero because all before had them zero: that many or none.
  unsigned code_tail(ValueType type, uint32_t new_bits) {
    const unsigned mantissa = float_shape(type).mantissa_bits;
    const uint32_t most = mantissa != 0 ? mantissa : 8 * value_size(type) - 1;
    const uint32_t tail = s_.tail < most ? s_.tail : most;
    if (tail < kLeastTail) return 0;
    const unsigned zero =
        code_bit(coder_, s_.cells[kTail], (new_bits & ((1u << tail) - 1)) == 0 ? 1u : 0u);
    return zero != 0 ? tail : 0;
  }
  uint32_t note_tail(uint32_t new_bits) {
    if (new_bits != 0 && (new_bits & ((1u << (s_.tail & 31)) - 1)) != 0) {
      s_.tail = static_cast<uint32_t>(__builtin_ctz(new_bits));
    }
    return new_bits;
  }
  static constexpr uint32_t kLeastTail = 4;

  // The bit length of a difference, 0..32: zero flag, then steps away from the expected length.
  unsigned code_length(const ValueContext& context, uint32_t exponent, unsigned length) {
    const unsigned key = shape_key(context, exponent);
    const int32_t expected = s_.mean - static_cast<int32_t>(exponent << 8);  // 8 fractional bits
    const unsigned zero_bucket = clamp((expected + (3 << 8)) >> 7, 0, 15);
    unsigned near = s_.history & 3, top_bits = mantissa_top(context);
    if (is_rounded(context)) {
      near = clamp((context.fraction < 0 ? -context.fraction : context.fraction) >> 5, 0, 3);
      top_bits = near;
    }
    const unsigned nonzero =
        decide(kWideZero1 + zero_bucket * 4 + near, kWideZero2 + key * 4 + top_bits,
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
    return static_cast<uint32_t>(code_raw_bits(coder_, result, rest, value));
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
    const unsigned tail = code_tail(context.type, new_bits);

    const int32_t start = static_cast<int32_t>(clamp((s_.mean + 128) >> 8, 0, shape.exponent_mask));
    const auto above =
        static_cast<int32_t>(context.above_bits >> shape.mantissa_bits & shape.exponent_mask);
    const unsigned fraction = static_cast<unsigned>(s_.mean >> 6) & 3;
    const unsigned above_row = clamp(above - start, -3, 3) + 3;
    const unsigned last_row = clamp(s_.last - start, -4, 4) + 4;
    const auto exponent =
        kReads<Coder> ? 0
                      : static_cast<int32_t>(new_bits >> shape.mantissa_bits & shape.exponent_mask);
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
    const unsigned silent = rest < tail ? rest : tail;
    mantissa = code_raw(mantissa, rest - silent, new_bits >> silent) << silent;
    mantissa &= (1u << shape.mantissa_bits) - 1;
    return note_tail(negative << sign_at | coded << shape.mantissa_bits | mantissa);
  }

  Coder& coder_;
  ValueState& s_;
  unsigned level_;
};

}  // namespace tensorpatch
