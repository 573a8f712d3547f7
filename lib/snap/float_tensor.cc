// snap/float_tensor.cc: floats in whole steps around their old values.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "snap/tensor.h"

namespace tensorpatch::snap {
namespace {

constexpr double kVectorGrid = 1.0 / 16;
constexpr double kMostSteps = 1 << 19;  // within what the encoder looks for

template <ValueType kType>
double real_of(uint32_t bits) {
  if constexpr (kType == ValueType::kFloat32) return std::bit_cast<float>(bits);
  if constexpr (kType == ValueType::kBfloat16) return std::bit_cast<float>(bits << 16);
  // float16: the exponent's bias is mended by a product, which is exact for subnormals too.
  const double size = double{std::bit_cast<float>((bits & 0x7FFF) << 13)} * 0x1p112;
  return (bits & 0x8000) != 0 ? -size : size;
}

template <ValueType kType>
bool is_finite(uint32_t bits) {
  constexpr FloatShape kShape = float_shape(kType);
  return (bits >> kShape.mantissa_bits & kShape.exponent_mask) != kShape.exponent_mask;
}

template <ValueType kType>
class FloatTensor : public Tensor {
 public:
  FloatTensor(bool is_matrix, TensorBytes bytes) : is_matrix_(is_matrix), bytes_(bytes) {}

  uint64_t count() const override { return bytes_.new_bytes.size() / kSize; }
  unsigned value_bytes() const override { return kSize; }
  bool is_float_matrix() const override { return is_matrix_; }

  Sums study(Stretch stretch) const override {
    Sums sums;
    each(stretch, [&](uint64_t, uint32_t old_bits, uint32_t new_bits) {
      sums.finite = sums.finite && is_finite<kType>(old_bits) && is_finite<kType>(new_bits);
      const double update = real_of<kType>(new_bits) - real_of<kType>(old_bits);
      sums.squares += update * update;
      sums.largest = std::max(sums.largest, std::abs(update));
    });
    return sums;
  }

  Sums weigh(Stretch stretch, const Wanted& wanted) const override {
    Sums sums;
    if (!is_matrix_) return sums;
    each(stretch, [&](uint64_t, uint32_t old_bits, uint32_t new_bits) {
      const double update = real_of<kType>(new_bits) - real_of<kType>(old_bits);
      sums.steps += std::nearbyint(update / wanted.step) * update;
    });
    return sums;
  }

  std::optional<Grid> choose(const Sums& sums, const Wanted& wanted) const override {
    const double own = own_step(sums, wanted.step);
    if (!(own > 0) || !(sums.largest / own < kMostSteps)) return std::nullopt;
    if (!is_matrix_) return nearest_grid(own);
    // No value is a whole step away: all become old's, on whatever grid.
    return nearest_grid(sums.steps > 0 ? sums.squares / sums.steps : own);
  }

  Sums write(Stretch stretch, const Wanted& wanted, const Grid& grid, uint8_t* out) const override {
    Sums sums;
    const double unit = is_matrix_ ? wanted.step : step_of(grid);
    each(stretch, [&](uint64_t i, uint32_t old_bits, uint32_t new_bits) {
      const double fresh = real_of<kType>(new_bits);
      const double steps = std::nearbyint((fresh - real_of<kType>(old_bits)) / unit);
      const uint32_t bits = grid_value(kType, old_bits, grid, static_cast<int32_t>(steps));
      std::memcpy(out + i * kSize, &bits, kSize);
      const double error = real_of<kType>(bits) - fresh;
      sums.errors += error * error;
      sums.moved += bits != old_bits ? 1 : 0;
    });
    return sums;
  }

 private:
  static constexpr unsigned kSize = value_size(kType);

  // Vectors are few: a fine step of their own.
  double own_step(const Sums& sums, double step) const {
    if (is_matrix_) return step;
    return std::sqrt(sums.squares / static_cast<double>(count())) * kVectorGrid;
  }

  template <class Visit>
  void each(Stretch stretch, Visit visit) const {
    static_assert(std::endian::native == std::endian::little);
    const uint8_t* from = bytes_.old_bytes.data() + stretch.first * kSize;
    const uint8_t* to = bytes_.new_bytes.data() + stretch.first * kSize;
    for (uint64_t i = 0; i < stretch.count; ++i) {
      uint32_t old_bits = 0, new_bits = 0;
      std::memcpy(&old_bits, from + i * kSize, kSize);
      std::memcpy(&new_bits, to + i * kSize, kSize);
      visit(i, old_bits, new_bits);
    }
  }

  bool is_matrix_;
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
      return std::make_unique<FloatTensor<ValueType::kFloat32>>(kind.is_matrix, bytes);
    case ValueType::kBfloat16:
      return std::make_unique<FloatTensor<ValueType::kBfloat16>>(kind.is_matrix, bytes);
    default:
      return std::make_unique<FloatTensor<ValueType::kFloat16>>(kind.is_matrix, bytes);
  }
}

}  // namespace tensorpatch::snap
