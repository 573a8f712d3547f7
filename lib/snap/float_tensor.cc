// snap/float_tensor.cc: floats in whole steps around their old values.
//
// Stretches are worked on in runs that compilers make vector code of, 16 bit types in floats and
// fp32 in doubles. A snapped value is old + k steps, rounded once. Where such a sum is not exact,
// or beyond the type's largest value, the value is made by prediction.h's grid_value(), which
// decoders call; where it is exact, rounding it to nearest even is what that function does.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

#include "snap/tensor.h"

namespace tensorpatch::snap {
namespace {

constexpr double kVectorGrid = 1.0 / 16;
constexpr double kMostSteps = 1 << 19;  // within what the encoder looks for
constexpr size_t kRun = 256;            // values at a time

static_assert(std::endian::native == std::endian::little);
static_assert(std::numeric_limits<float>::is_iec559 && std::numeric_limits<double>::is_iec559);

// An IEEE type by its mantissa and its largest exponent.
template <class Real>
struct RealShape;
template <>
struct RealShape<float> {
  using Bits = uint32_t;
  static constexpr int kMantissaBits = 23, kBias = 127;
};
template <>
struct RealShape<double> {
  using Bits = uint64_t;
  static constexpr int kMantissaBits = 52, kBias = 1023;
};
template <class Real>
constexpr Real power_of_two(int exponent) {
  using Shape = RealShape<Real>;
  using Bits = typename Shape::Bits;
  return std::bit_cast<Real>(static_cast<Bits>(exponent + Shape::kBias) << Shape::kMantissaBits);
}

template <ValueType kType>
using BitsOf = std::conditional_t<value_size(kType) == 4, uint32_t, uint16_t>;

template <ValueType kType>
inline float real_of(BitsOf<kType> bits) {
  const uint32_t wide = bits;
  if constexpr (kType == ValueType::kFloat32) return std::bit_cast<float>(wide);
  if constexpr (kType == ValueType::kBfloat16) return std::bit_cast<float>(wide << 16);
  // float16: the exponent's bias is mended by a product, which is exact for subnormals too.
  return std::bit_cast<float>((wide & 0x8000) << 16 | (wide & 0x7FFF) << 13) * 0x1p112F;
}

// The bits of a real that is a value of the type.
template <ValueType kType>
inline BitsOf<kType> bits_of(float real) {
  if constexpr (kType == ValueType::kFloat32) {
    return std::bit_cast<uint32_t>(real);
  } else if constexpr (kType == ValueType::kBfloat16) {
    return static_cast<uint16_t>(std::bit_cast<uint32_t>(real) >> 16);
  } else {
    const auto wide = std::bit_cast<uint32_t>(real * 0x1p-112F);
    return static_cast<uint16_t>((wide >> 13 & 0x7FFF) | (wide >> 16 & 0x8000));
  }
}

// The nearest value of the type, ties to even, as if its exponents had no end or infinite.
template <ValueType kType, class Real>
inline Real rounded(Real value) {
  if constexpr (kType == ValueType::kFloat32) return Real{static_cast<float>(value)};
  using Shape = RealShape<Real>;
  using Bits = typename Shape::Bits;
  constexpr FloatShape kShape = float_shape(kType);
  constexpr Bits kExponent = Bits{2 * Shape::kBias + 1} << Shape::kMantissaBits;
  constexpr Real kLeast = power_of_two<Real>(1 - (kShape.exponent_mask >> 1));
  constexpr Real kDrop =
      power_of_two<Real>(Shape::kMantissaBits - kShape.mantissa_bits) * Real{1.5};
  // So large that the last bit of the sum is the last one of the type's at this size.
  const Real size = std::bit_cast<Real>(std::bit_cast<Bits>(value) & kExponent);
  const Real large = std::max(size, kLeast) * kDrop;
  return std::copysign(value + large - large, value);
}

template <ValueType kType, class Real>
constexpr Real largest_of_type() {
  constexpr FloatShape kShape = float_shape(kType);
  return power_of_two<Real>(kShape.exponent_mask >> 1) *
         (Real{2} - power_of_two<Real>(-kShape.mantissa_bits));
}

// To the nearest whole number, ties to even; up to 2^22.
template <class Real>
inline Real whole(Real value) {
  constexpr Real kLarge = power_of_two<Real>(RealShape<Real>::kMantissaBits) * Real{1.5};
  return value + kLarge - kLarge;
}

// Of a run, by halves: a compiler may not change the order of additions by itself.
inline double sum_of(double (&values)[kRun]) {
  for (size_t half = kRun / 2; half > 0; half /= 2) {
    for (size_t i = 0; i < half; ++i) values[i] += values[half + i];
  }
  return values[0];
}
template <class Real>
inline Real largest_of(Real (&values)[kRun]) {
  for (size_t half = kRun / 2; half > 0; half /= 2) {
    for (size_t i = 0; i < half; ++i) values[i] = std::max(values[i], values[half + i]);
  }
  return values[0];
}

template <ValueType kType>
class FloatTensor : public Tensor {
 public:
  FloatTensor(uint64_t row, TensorBytes bytes) : row_(row), bytes_(bytes) {}

  uint64_t count() const override { return bytes_.new_bytes.size() / kSize; }
  unsigned value_bytes() const override { return kSize; }
  bool is_float_matrix() const override { return row_ != 0; }

  Sums study(Stretch stretch) const override {
    Sums sums;
    uint32_t broken = 0;
    each_run(stretch, [&](const Run& run) {
      broken |= broken_of(run);
      Real sizes[kRun];
      double squares[kRun];
      for (size_t i = 0; i < kRun; ++i) sizes[i] = std::abs(run.updates[i]);
      for (size_t i = 0; i < kRun; ++i) squares[i] = double{sizes[i]} * double{sizes[i]};
      sums.squares += sum_of(squares);
      sums.largest = std::max(sums.largest, double{largest_of(sizes)});
    });
    sums.finite = broken == 0;
    return sums;
  }

  Sums weigh(Stretch stretch, const Wanted& wanted) const override {
    Sums sums;
    if (row_ == 0) return sums;
    const auto unit = static_cast<Real>(wanted.step);
    each_run(stretch, [&](const Run& run) {
      Real steps[kRun];
      double products[kRun];
      for (size_t i = 0; i < kRun; ++i) steps[i] = whole(run.updates[i] / unit);
      for (size_t i = 0; i < kRun; ++i) products[i] = double{steps[i]} * double{run.updates[i]};
      sums.steps += sum_of(products);
    });
    return sums;
  }

  std::optional<Grid> choose(const Sums& sums, const Wanted& wanted) const override {
    const double own = own_step(sums, wanted.step);
    if (!(own > kLeastUnit) || !(own < kLargestUnit) || !(sums.largest / own < kMostSteps)) {
      return std::nullopt;
    }
    if (row_ == 0) return nearest_grid(own);
    // No value is a whole step away: all become old's, on whatever grid.
    return nearest_grid(sums.steps > 0 ? sums.squares / sums.steps : own);
  }

  std::optional<Sample> sample() const override {
    const uint64_t width = row_ != 0 ? row_ : count();
    Sample sample;
    for (const uint64_t i : sample_indices({count() / width, width}, sample)) {
      Bits old_bits = 0, new_bits = 0;
      std::memcpy(&old_bits, bytes_.old_bytes.data() + i * kSize, kSize);
      std::memcpy(&new_bits, bytes_.new_bytes.data() + i * kSize, kSize);
      const double old_real = double{real_of<kType>(old_bits)};
      const double new_real = double{real_of<kType>(new_bits)};
      constexpr FloatShape kShape = float_shape(kType);
      const int least = 1 - (kShape.exponent_mask >> 1);
      const int exponent = new_real != 0 ? std::max(least, std::ilogb(new_real)) : least;
      sample.add({old_real, new_real - old_real, std::ldexp(1.0, exponent - kShape.mantissa_bits)});
    }
    return sample;
  }

  Sums write(Stretch stretch, const Wanted& wanted, const Grid& grid, uint8_t* out) const override {
    const auto unit = static_cast<Real>(row_ != 0 ? wanted.step : step_of(grid));
    Sums sums;
    each_run(stretch, [&](const Run& run) {
      Real steps[kRun], reals[kRun];
      for (size_t i = 0; i < kRun; ++i) steps[i] = whole(run.updates[i] / unit);
      if (!move(run, steps, static_cast<Real>(step_of(grid)), reals)) {
        move_one_by_one(run, steps, grid, reals);
      }
      double errors[kRun];
      for (size_t i = 0; i < kRun; ++i) {
        const double error = double{reals[i]} - double{run.new_reals[i]};
        errors[i] = error * error;
      }
      sums.errors += sum_of(errors);
      Bits bits[kRun];
      for (size_t i = 0; i < kRun; ++i) bits[i] = bits_of<kType>(static_cast<float>(reals[i]));
      sums.moved += count_different(bits, run.old_bits);
      std::memcpy(out, bits, run.count * kSize);
      out += run.count * kSize;
    });
    return sums;
  }

 private:
  static constexpr unsigned kSize = value_size(kType);
  // A unit of which a float holds the multiples.
  static constexpr double kLeastUnit = 0x1p-100, kLargestUnit = 0x1p80;
  using Bits = BitsOf<kType>;
  using Real = std::conditional_t<kSize == 4, double, float>;

  // Values in a row; zeros behind the last ones.
  struct Run {
    size_t count;
    Bits old_bits[kRun], new_bits[kRun];
    Real old_reals[kRun], new_reals[kRun], updates[kRun];
  };

  // Not 0 when a value is infinite or no number.
  static uint32_t broken_of(const Run& run) {
    constexpr auto kMask = static_cast<Bits>(uint32_t{float_shape(kType).exponent_mask}
                                             << float_shape(kType).mantissa_bits);
    uint32_t broken = 0;
    for (size_t i = 0; i < kRun; ++i) {
      broken |= static_cast<uint32_t>((run.old_bits[i] & kMask) == kMask) |
                static_cast<uint32_t>((run.new_bits[i] & kMask) == kMask);
    }
    return broken;
  }

  static uint32_t count_different(const Bits* a, const Bits* b) {
    uint32_t different = 0;
    for (size_t i = 0; i < kRun; ++i) different += a[i] != b[i] ? 1U : 0U;
    return different;
  }

  // Vectors are few: a fine step of their own.
  double own_step(const Sums& sums, double step) const {
    if (row_ != 0) return step;
    return std::sqrt(sums.squares / static_cast<double>(count())) * kVectorGrid;
  }

  // The values of a run that many steps from old; false when one is not certain.
  static bool move(const Run& run, const Real* steps, Real step, Real* reals) {
    using RealBits = typename RealShape<Real>::Bits;
    constexpr auto kLargest = std::bit_cast<RealBits>(largest_of_type<kType, Real>());
    constexpr auto kMostExact = std::bit_cast<RealBits>(power_of_two<Real>(18));  // times m: 2^24
    constexpr unsigned kSign = 8 * sizeof(RealBits) - 1;
    RealBits uncertain = 0;
    for (size_t i = 0; i < kRun; ++i) {
      const Real old_real = run.old_reals[i];
      const Real moved = steps[i] * step;
      const Real sum = old_real + moved;
      const Real added = sum - old_real;  // what the sum has lost: D. Knuth, TwoSum
      const Real lost = (old_real - (sum - added)) + (moved - added);
      reals[i] = steps[i] == 0 ? old_real : rounded<kType>(sum);
      uncertain |= std::bit_cast<RealBits>(lost) << 1;  // its sign does not matter
      uncertain |= (kLargest - std::bit_cast<RealBits>(std::abs(reals[i]))) >> kSign;
      uncertain |= (kMostExact - std::bit_cast<RealBits>(std::abs(steps[i]))) >> kSign;
    }
    return uncertain == 0;
  }

  static void move_one_by_one(const Run& run, const Real* steps, const Grid& grid, Real* reals) {
    for (size_t i = 0; i < kRun; ++i) {
      const auto k = static_cast<int32_t>(steps[i]);
      const auto bits = static_cast<Bits>(grid_value(kType, run.old_bits[i], grid, k));
      reals[i] = Real{real_of<kType>(bits)};
    }
  }

  template <class Visit>
  void each_run(Stretch stretch, Visit visit) const {
    Run run{};
    for (uint64_t at = 0; at < stretch.count; at += kRun) {
      run.count = std::min<uint64_t>(kRun, stretch.count - at);
      const uint64_t offset = (stretch.first + at) * kSize;
      std::memcpy(run.old_bits, bytes_.old_bytes.data() + offset, run.count * kSize);
      std::memcpy(run.new_bits, bytes_.new_bytes.data() + offset, run.count * kSize);
      std::fill(run.old_bits + run.count, run.old_bits + kRun, Bits{0});
      std::fill(run.new_bits + run.count, run.new_bits + kRun, Bits{0});
      for (size_t i = 0; i < kRun; ++i) run.old_reals[i] = Real{real_of<kType>(run.old_bits[i])};
      for (size_t i = 0; i < kRun; ++i) run.new_reals[i] = Real{real_of<kType>(run.new_bits[i])};
      for (size_t i = 0; i < kRun; ++i) run.updates[i] = run.new_reals[i] - run.old_reals[i];
      visit(run);
    }
  }

  uint64_t row_;
  TensorBytes bytes_;
};

}  // namespace

std::optional<Grid> nearest_grid(double step) {
  int exponent = 0;
  double multiplier = std::nearbyint(std::ldexp(std::frexp(step, &exponent), 6));  // 32..64
  exponent -= 6;
  while (std::fmod(multiplier, 2) == 0) multiplier /= 2, ++exponent;
  if (exponent < -200 || exponent > 100) return std::nullopt;
  return Grid{static_cast<uint8_t>(multiplier), static_cast<int16_t>(exponent)};
}

std::unique_ptr<Tensor> float_tensor(FloatKind kind, TensorBytes bytes) {
  switch (kind.type) {
    case ValueType::kFloat32:
      return std::make_unique<FloatTensor<ValueType::kFloat32>>(kind.row, bytes);
    case ValueType::kBfloat16:
      return std::make_unique<FloatTensor<ValueType::kBfloat16>>(kind.row, bytes);
    default:
      return std::make_unique<FloatTensor<ValueType::kFloat16>>(kind.row, bytes);
  }
}

}  // namespace tensorpatch::snap
