// tests/apply/prediction_test.cc: predictions against arithmetic in long double, where that is
// exact, and against the machine's own floats where terms lie far apart.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <bit>
#include <cfloat>
#include <cmath>
#include <limits>
#include <optional>
#include <random>

#include "apply/prediction.h"
#include "apply/row_model.h"

namespace tensorpatch {
namespace {

static_assert(LDBL_MANT_DIG >= 64, "the oracle wants 64 bits of mantissa");

constexpr ValueType kFloats[] = {ValueType::kFloat32, ValueType::kFloat16, ValueType::kBfloat16};
constexpr ValueType kIntegers[] = {ValueType::kInt8, ValueType::kUint8, ValueType::kInt16,
                                   ValueType::kInt32, ValueType::kUint4};

class Random {
 public:
  explicit Random(uint32_t seed) : engine_(seed) {}
  uint32_t bits() { return static_cast<uint32_t>(engine_()); }
  int below(int limit) { return static_cast<int>(bits() % static_cast<uint32_t>(limit)); }
  // Of any magnitude up to 2^most.
  int64_t signed_number(int most) {
    const uint64_t any = (uint64_t{bits()} << 32 | bits()) & ((uint64_t{1} << below(most + 1)) - 1);
    const auto size = static_cast<int64_t>(any);
    return (bits() & 1) != 0 ? -size : size;
  }

 private:
  std::mt19937 engine_;
};

uint32_t sign_bit(ValueType type) {
  return 1u << (8 * value_size(type) - 1);
}
uint32_t infinity_of(FloatShape shape) {
  return static_cast<uint32_t>(shape.exponent_mask) << shape.mantissa_bits;
}

long double real_of(Scaled s) {
  return std::ldexp(static_cast<long double>(s.value), s.exponent);
}

// a + b if a long double holds it exactly.
std::optional<long double> exact_sum(Scaled a, Scaled b) {
  const long double x = real_of(a), y = real_of(b), sum = x + y;
  if (sum - x != y || sum - y != x) return std::nullopt;
  return sum;
}

// As docs/FORMAT.md says it.
Prediction oracle(ValueType type, long double sum) {
  const FloatShape shape = float_shape(type);
  if (sum == 0) return {0, 0};
  const int bias = (shape.exponent_mask - 1) / 2;
  const long double size = std::fabs(sum);
  const int exponent = std::max(std::ilogb(size), 1 - bias);
  const long double steps = std::ldexp(size, shape.mantissa_bits - exponent);
  const long double rounded = std::nearbyint(steps);
  auto fraction = static_cast<int32_t>(std::floor(256 * steps) - 256 * rounded);
  const long double bits =
      std::ldexp(static_cast<long double>(exponent + bias - 1), shape.mantissa_bits) + rounded;
  uint32_t result = infinity_of(shape) - 1;
  if (bits <= static_cast<long double>(result)) {
    result = static_cast<uint32_t>(bits);
  } else {
    fraction = 0;
  }
  if (sum < 0) return {result | sign_bit(type), -fraction};
  return {result, fraction};
}

void expect_equal(const Prediction& got, const Prediction& wanted, long double sum) {
  EXPECT_EQ(got.bits, wanted.bits) << "of " << sum;
  EXPECT_EQ(got.fraction, wanted.fraction) << "of " << sum;
}

TEST(RoundedSum, OfOneTermOfAnySize) {
  Random random(1);
  for (const ValueType type : kFloats) {
    for (int i = 0; i < 60000 && !testing::Test::HasFailure(); ++i) {
      const Scaled a = {random.signed_number(61), random.below(420) - 280};
      expect_equal(rounded_sum(float_shape(type), a, {0, 0}), oracle(type, real_of(a)), real_of(a));
      expect_equal(rounded_sum(float_shape(type), {0, -5}, a), oracle(type, real_of(a)),
                   real_of(a));
    }
  }
}

TEST(RoundedSum, OfTwoTermsThatOverlap) {
  Random random(2);
  int tested = 0;
  for (const ValueType type : kFloats) {
    for (int i = 0; i < 100000 && !testing::Test::HasFailure(); ++i) {
      const int exponent = random.below(360) - 240;
      const Scaled a = {random.signed_number(54), exponent};
      Scaled b = {random.signed_number(50), exponent + random.below(80) - 40};
      if (i % 5 == 0) b = {-a.value + random.signed_number(6), exponent};  // cancels nearly
      const auto sum = exact_sum(a, b);
      if (!sum.has_value()) continue;
      ++tested;
      expect_equal(rounded_sum(float_shape(type), a, b), oracle(type, *sum), *sum);
      expect_equal(rounded_sum(float_shape(type), b, a), oracle(type, *sum), *sum);
    }
  }
  EXPECT_GT(tested, 100000);
}

// The machine adds float32 as IEEE 754 says.
TEST(RoundedSum, IsWhatFloat32AdditionGives) {
  Random random(3);
  const FloatShape shape = float_shape(ValueType::kFloat32);
  const auto check = [&](uint32_t a_bits, uint32_t b_bits) {
    Scaled a{}, b{};
    if (!scaled_of(shape, a_bits, &a) || !scaled_of(shape, b_bits, &b)) return;
    const volatile float x = std::bit_cast<float>(a_bits), y = std::bit_cast<float>(b_bits);
    const float sum = x + y;
    uint32_t wanted = std::bit_cast<uint32_t>(sum);
    if (sum == 0) wanted = 0;
    if (std::isinf(sum)) --wanted;
    EXPECT_EQ(rounded_sum(shape, a, b).bits, wanted) << x << " + " << y;
  };
  for (int i = 0; i < 300000; ++i) {
    const uint32_t a = random.bits();
    uint32_t b = random.bits();
    if (i % 3 == 0) b = (a ^ 0x80000000u) + static_cast<uint32_t>(random.below(2001)) - 1000;
    if (i % 3 == 1) b = (b & 0x807FFFFFu) | (a & 0x7F800000u);
    check(a, b);
    check(a & 0x80FFFFFFu, b & 0x80FFFFFFu);  // subnormals and their neighbours
    check(a | 0x7F000000u, b | 0x7E800000u);  // overflow
  }
}

TEST(RoundedSum, ALittleMoreThanATieAndALittleLess) {
  for (const ValueType type : kFloats) {
    const FloatShape shape = float_shape(type);
    const uint32_t one = static_cast<uint32_t>(shape.exponent_mask >> 1) << shape.mantissa_bits;
    const int m = shape.mantissa_bits;
    for (const int64_t odd : {0, 1}) {
      // Between 1 + odd and 1 + odd + 1 steps.
      const Scaled tie = {(int64_t{1} << (m + 1)) + 2 * odd + 1, -m - 1};
      const uint32_t low = one + static_cast<uint32_t>(odd);
      EXPECT_EQ(rounded_sum(shape, tie, {0, 0}).bits, low + static_cast<uint32_t>(odd));
      for (const int far : {-40, -61, -62, -63, -64, -65, -100, -300}) {
        const Prediction more = rounded_sum(shape, tie, {1, far});
        const Prediction less = rounded_sum(shape, tie, {-1, far});
        EXPECT_EQ(more.bits, low + 1) << far;
        EXPECT_EQ(more.fraction, -128) << far;
        EXPECT_EQ(less.bits, low) << far;
        EXPECT_EQ(less.fraction, 127) << far;
        EXPECT_EQ(rounded_sum(shape, {-tie.value, tie.exponent}, {-1, far}).bits,
                  (low + 1) | sign_bit(type));
        EXPECT_EQ(rounded_sum(shape, {-tie.value, tie.exponent}, {1, far}).bits,
                  low | sign_bit(type));
      }
    }
  }
}

TEST(RoundedSum, AroundTheLeastSubnormal) {
  for (const ValueType type : kFloats) {
    const FloatShape shape = float_shape(type);
    const int least = 1 - (shape.exponent_mask >> 1) - shape.mantissa_bits;
    const struct {
      int64_t value;
      int below;
      Prediction wanted;
    } kCases[] = {{1, 0, {1, 0}},     {3, 2, {1, -64}},  {1, 1, {0, 128}}, {5, 3, {1, -96}},
                  {3, 3, {0, 96}},    {3, 1, {2, -128}}, {1, 2, {0, 64}},  {1, 8, {0, 1}},
                  {255, 9, {0, 127}}, {1, 9, {0, 0}},    {1, 200, {0, 0}}};
    for (const auto& each : kCases) {
      expect_equal(rounded_sum(shape, {each.value, least - each.below}, {0, 0}), each.wanted,
                   static_cast<long double>(each.value) / (1 << std::min(each.below, 30)));
      const Prediction negative = rounded_sum(shape, {-each.value, least - each.below}, {0, 0});
      EXPECT_EQ(negative.bits, each.wanted.bits | sign_bit(type));
      EXPECT_EQ(negative.fraction, -each.wanted.fraction);
    }
  }
}

TEST(RoundedSum, BeyondTheLargest) {
  for (const ValueType type : kFloats) {
    const FloatShape shape = float_shape(type);
    const uint32_t largest = infinity_of(shape) - 1;
    Scaled top{};
    ASSERT_TRUE(scaled_of(shape, largest, &top));
    const Scaled quarter = {1, top.exponent - 2}, half = {1, top.exponent - 1};
    EXPECT_EQ(rounded_sum(shape, top, quarter).bits, largest);
    EXPECT_EQ(rounded_sum(shape, top, quarter).fraction, 64);
    for (const Scaled& more : {half, Scaled{1, top.exponent}, top, Scaled{1, 1000}}) {
      EXPECT_EQ(rounded_sum(shape, top, more).bits, largest);
      EXPECT_EQ(rounded_sum(shape, top, more).fraction, 0);
      EXPECT_EQ(rounded_sum(shape, {-top.value, top.exponent}, {-more.value, more.exponent}).bits,
                largest | sign_bit(type));
    }
  }
}

TEST(ScaledOf, EveryFloat16IsWhatItSays) {
  const FloatShape shape = float_shape(ValueType::kFloat16);
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    Scaled scaled{};
    const bool finite = (bits & 0x7C00) != 0x7C00;
    ASSERT_EQ(scaled_of(shape, bits, &scaled), finite);
    if (!finite || scaled.value == 0) continue;
    const Prediction back = rounded_sum(shape, scaled, {0, 0});
    ASSERT_EQ(back.bits, bits);
    ASSERT_EQ(back.fraction, 0);
  }
}

TEST(PredictLinear, OfFloatsIsTheRoundedExactValue) {
  Random random(5);
  int tested = 0;
  for (const ValueType type : kFloats) {
    const FloatShape shape = float_shape(type);
    for (int i = 0; i < 60000 && !testing::Test::HasFailure(); ++i) {
      const uint32_t old_bits = random.bits() >> (32 - 8 * value_size(type));
      const auto gain = static_cast<int32_t>(random.bits());
      const LinearTerms terms = {i % 2 == 0 ? gain : kGainOne,
                                 i % 3 == 0 ? 0 : random.signed_number(50), random.below(128)};
      const Prediction got = predict_linear(type, old_bits, terms);
      Scaled old{};
      if (!scaled_of(shape, old_bits, &old)) {
        expect_equal(got, {old_bits, 0}, 0);
        continue;
      }
      if (old.value == 0 && terms.update == 0) continue;
      const auto sum =
          exact_sum({old.value * terms.gain, old.exponent - 30}, {terms.update, -terms.shift});
      if (!sum.has_value()) continue;
      ++tested;
      expect_equal(got, oracle(type, *sum), *sum);
    }
  }
  EXPECT_GT(tested, 30000);
}

TEST(PredictLinear, KeepsWhatIsNoNumberAndBothZeros) {
  for (const ValueType type : kFloats) {
    const uint32_t infinity = infinity_of(float_shape(type));
    for (const uint32_t bits :
         {infinity, infinity | 1, infinity | sign_bit(type), 0u, sign_bit(type)}) {
      expect_equal(predict_linear(type, bits, {-kGainOne / 3, 0, 40}), {bits, 0}, 0);
    }
    EXPECT_EQ(predict_linear(type, infinity, {kGainOne, 1 << 20, 40}).bits, infinity);
    // A zero takes part in a sum.
    EXPECT_EQ(predict_linear(type, sign_bit(type), {kGainOne, 1, 0}).bits,
              predict_linear(type, 0, {kGainOne, 1, 0}).bits);
    EXPECT_EQ(predict_linear(type, 1, {0, 0, 0}).bits, 0u) << "old times nothing is +0";
  }
}

TEST(PredictLinear, OfIntegersIsTheNearest) {
  Random random(7);
  for (const ValueType type : kIntegers) {
    const IntegerRange range = integer_range(type);
    const uint32_t mask =
        type == ValueType::kUint4 ? 15 : 0xFFFFFFFFu >> (32 - 8 * value_size(type));
    for (int i = 0; i < 60000; ++i) {
      const uint32_t old_bits = random.bits() & mask;
      const auto gain = static_cast<int32_t>(random.bits() >> random.below(3));
      const LinearTerms terms = {gain, random.signed_number(50), random.below(128)};
      const auto v = static_cast<long double>(centered(type, old_bits));
      const long double scaled = std::floor(std::ldexp(v * gain, -22));
      const long double update =
          terms.shift > 70
              ? 0
              : std::floor(std::ldexp(static_cast<long double>(terms.update), 8 - terms.shift));
      const long double x = scaled + update;
      const long double n =
          std::clamp(std::floor((x + 128) / 256), static_cast<long double>(range.low),
                     static_cast<long double>(range.high));
      const Prediction got = predict_linear(type, old_bits, terms);
      ASSERT_EQ(static_cast<long double>(centered(type, got.bits)), n) << x;
      ASSERT_EQ(got.bits & ~mask, 0u);
      const long double rest = std::clamp(x - 256 * n, -128.0L, 128.0L);
      ASSERT_EQ(static_cast<long double>(got.fraction), rest) << x;
    }
    for (uint32_t bits = 0; bits <= std::min(mask, 65535u); ++bits) {
      ASSERT_EQ(predict_linear(type, bits, {kGainOne, 0, 0}).bits, bits);
      ASSERT_EQ(from_centered(type, centered(type, bits)), bits);
    }
  }
}

TEST(GridValue, NoStepIsOldItself) {
  for (const ValueType type : kFloats) {
    for (const uint32_t bits : {0u, sign_bit(type), 1u, infinity_of(float_shape(type)) + 1}) {
      EXPECT_EQ(grid_value(type, bits, {63, 100}, 0), bits);
    }
    const uint32_t infinity = infinity_of(float_shape(type));
    EXPECT_EQ(grid_value(type, infinity, {1, 0}, 5), infinity);
  }
}

TEST(GridValue, OfFloat32IsASumOfFloats) {
  Random random(9);
  for (int i = 0; i < 100000; ++i) {
    const uint32_t old_bits = random.bits();
    const volatile float old = std::bit_cast<float>(old_bits);
    if (!std::isfinite(old)) continue;
    const Grid grid = {static_cast<uint8_t>(1 + random.below(63)),
                       static_cast<int16_t>(random.below(190) - 100)};
    const int32_t k = random.below(1 << 18) - (1 << 17);
    if (k == 0) continue;
    // Exact: 18 and 6 bits.
    const volatile float moved = std::ldexp(static_cast<float>(k * grid.multiplier), grid.exponent);
    const float sum = old + moved;
    if (std::isinf(sum) || sum == 0) continue;
    ASSERT_EQ(grid_value(ValueType::kFloat32, old_bits, grid, k), std::bit_cast<uint32_t>(sum));
  }
}

TEST(GridValue, OfIntegersStopsAtTheEnds) {
  EXPECT_EQ(grid_value(ValueType::kInt8, 10, {3, 2}, -2), static_cast<uint8_t>(-14));
  EXPECT_EQ(grid_value(ValueType::kInt8, 100, {3, 2}, 5), 127u);
  EXPECT_EQ(grid_value(ValueType::kUint8, 100, {3, 2}, -50), 0u);
  EXPECT_EQ(grid_value(ValueType::kUint8, 100, {3, 2}, 5), 160u);
  EXPECT_EQ(grid_value(ValueType::kInt8, 10, {1, -200}, 5), 15u) << "no fractions";
  EXPECT_EQ(grid_value(ValueType::kInt32, 0, {1, 100}, 3), 3u << 16) << "no more than 2^16";
  EXPECT_EQ(grid_value(ValueType::kInt32, 0x7FFFFFF0u, {63, 16}, 1 << 21), 0x7FFFFFFFu);
  EXPECT_EQ(grid_value(ValueType::kInt32, 0, {63, 16}, -(1 << 21)), 0x80000000u);
}

TEST(ScaleRatio, IsOldByNewTowardsZero) {
  EXPECT_EQ(scale_ratio(0x3C00, 0x3C00), kGainOne);
  EXPECT_EQ(scale_ratio(0x3C00, 0x4000), kGainOne / 2);
  EXPECT_EQ(scale_ratio(0x3C00, 0xC000), -kGainOne / 2);
  EXPECT_EQ(scale_ratio(0x3E00, 0x3C00), kGainOne + kGainOne / 2);
  EXPECT_EQ(scale_ratio(0x0000, 0x3C00), kGainOne) << "exponents far apart";
  EXPECT_EQ(scale_ratio(0x0000, 0x0001), 0);
  for (const auto& [from, to] : {std::pair{0x3C00u, 0x0000u},
                                 {0x3C00u, 0x8000u},
                                 {0x7C00u, 0x3C00u},
                                 {0x3C00u, 0x7E00u},
                                 {0x3C00u, 0x6C00u},
                                 {0x4000u, 0x3C00u},
                                 {0x5000u, 0x3C00u}}) {
    EXPECT_EQ(scale_ratio(from, to), kGainOne) << from << " " << to;
  }
  Random random(11);
  const FloatShape shape = float_shape(ValueType::kFloat16);
  int tested = 0;
  for (int i = 0; i < 200000; ++i) {
    const uint32_t from = random.bits() & 0xFFFF, to = random.bits() & 0xFFFF;
    Scaled a{}, b{};
    if (!scaled_of(shape, from, &a) || !scaled_of(shape, to, &b) || b.value == 0) continue;
    if (std::abs(a.exponent - b.exponent) > 10) continue;
    const long double ratio = std::trunc(std::ldexp(real_of(a) / real_of(b), 30));
    if (std::fabs(ratio) >= 2147483647.0L) {
      ASSERT_TRUE(scale_ratio(from, to) == kGainOne || ratio == -2147483648.0L);
      continue;
    }
    ++tested;
    ASSERT_EQ(static_cast<long double>(scale_ratio(from, to)), ratio) << from << " " << to;
  }
  EXPECT_GT(tested, 50000);
}

// Gains and factors are found where the row model puts them.
TEST(PredictInRow, TakesNumbersOfItsRowAndColumn) {
  RowState state{};
  const int32_t half = kGainOne / 2;
  RowsShape shape = {3, 0, GainAxis::kRow, 0, 2, 0};
  state.row[0] = half, state.row[1] = 10, state.row[2] = 100;
  const int32_t factors[] = {1, 2, 3, 4, 5, 6};
  EXPECT_EQ(predict_in_row(ValueType::kInt32, 8, shape, state, factors, 0).bits, 4u + 210);
  EXPECT_EQ(predict_in_row(ValueType::kInt32, 8, shape, state, factors, 2).bits, 4u + 650);
  shape = {2, 0, GainAxis::kColumn, 0, 1, 1};
  state.row[0] = 7;
  const int32_t table[] = {kGainOne, 4, half, 6};
  EXPECT_EQ(predict_in_row(ValueType::kInt32, 8, shape, state, table, 0).bits, 8u + 14);
  EXPECT_EQ(predict_in_row(ValueType::kInt32, 8, shape, state, table, 1).bits, 4u + 21);
}

}  // namespace
}  // namespace tensorpatch
