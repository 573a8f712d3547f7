// delta/predictors.cc: gains by least squares, low ranks by subspace iteration, grids by common
// divisor.
// SPDX-License-Identifier: Apache-2.0
#include "delta/predictors.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <numeric>
#include <set>

namespace tensorpatch::delta {
namespace {

constexpr uint64_t kLeastValues = 24;       // fewer are not worth a look
constexpr unsigned kSketch = kMaxRank + 6;  // directions that the iteration follows
constexpr double kNumberBits = 10;          // what a row's or column's number costs, roughly

double real_of(ValueType type, uint32_t bits) {
  const FloatShape shape = float_shape(type);
  if (shape.exponent_mask == 0) return static_cast<double>(centered(type, bits));
  Scaled scaled{};
  if (!scaled_of(shape, bits, &scaled)) return 0;
  return std::ldexp(static_cast<double>(scaled.value), scaled.exponent);
}

std::vector<double> reals(ValueType type, const uint8_t* values, uint64_t count) {
  const unsigned size = value_size(type);
  std::vector<double> result(count);
  for (uint64_t i = 0; i < count; ++i)
    result[i] = real_of(type, load_value(values + i * size, size));
  return result;
}

// Mean square of what rounding alone makes of an exact prediction.
double rounding_noise(ValueType type, const std::vector<double>& values) {
  const FloatShape shape = float_shape(type);
  if (shape.exponent_mask == 0) return 1.0 / 12;
  double sum = 0;
  for (const double v : values) {
    int exponent = 0;
    std::frexp(v, &exponent);
    const double step = v == 0 ? 0 : std::ldexp(1.0, exponent - 1 - shape.mantissa_bits);
    sum += step * step / 12;
  }
  return sum / static_cast<double>(values.size());
}

// The values as a matrix whose first and last row may be cut.
class Matrix {
 public:
  Matrix(const ValuePair& pair, uint64_t row_values)
      : width(row_values), first(pair.column % row_values), count(pair.count) {}
  uint64_t width;
  uint64_t first;  // column of the first value
  uint64_t count;
  uint64_t rows() const { return (first + count + width - 1) / width; }
  // Calls visit(row, column of the first value, index of the first value, values) for each row.
  template <class Visit>
  void each_row(Visit visit) const {
    uint64_t index = 0;
    for (uint64_t row = 0; index < count; ++row) {
      const uint64_t column = row == 0 ? first : 0;
      const uint64_t size = std::min(width - column, count - index);
      visit(row, column, index, size);
      index += size;
    }
  }
};

// A product of two thin matrices, as near to an update as its rank allows.
struct LowRank {
  unsigned rank = 0;
  std::vector<double> row_factors;     // rank for each row
  std::vector<double> column_factors;  // rank for each column
};

class Fitter {
 public:
  Fitter(const ValuePair& pair, uint32_t column_capacity)
      : pair_(pair),
        capacity_(column_capacity),
        old_(reals(pair.type, pair.old_values, pair.count)),
        new_(reals(pair.type, pair.new_values, pair.count)),
        noise_(rounding_noise(pair.type, new_)) {}

  // One gain for all.
  std::vector<RowsFit> run_single() {
    try_gain(Matrix(pair_, pair_.count), GainAxis::kRow, mean_square(new_));
    return std::move(fits_);
  }

  std::vector<RowsFit> run() {
    std::vector<double> update(new_.size());
    for (size_t i = 0; i < update.size(); ++i) update[i] = new_[i] - old_[i];
    const double energy = mean_square(update);
    if (energy == 0) return {};
    const Matrix whole(pair_, pair_.count + pair_.column);
    try_gain(whole, GainAxis::kRow, energy);
    if (pair_.row_values < 2 || pair_.row_values >= pair_.count) return std::move(fits_);
    const Matrix matrix(pair_, pair_.row_values);
    const size_t before = fits_.size();
    const std::vector<double> gains = try_gain(matrix, GainAxis::kRow, energy);
    // New scales of quantised values show only together with what else moved.
    const bool gains_help = fits_.size() != before || float_shape(pair_.type).exponent_mask == 0;
    if (matrix.rows() >= 4 && matrix.width <= capacity_) {
      try_gain(matrix, GainAxis::kColumn, energy);
    }
    try_rank(matrix, update, {}, low_rank(matrix, update), energy);
    if (gains_help) try_rank_with_gains(matrix, gains, energy);
    return std::move(fits_);
  }

 private:
  static double mean_square(const std::vector<double>& values) {
    double sum = 0;
    for (const double v : values) sum += v * v;
    return values.empty() ? 0 : sum / static_cast<double>(values.size());
  }

  // Bits that a smaller residual saves, all values together.
  double saving(double before, double after) const {
    const double floor = noise_ + 1e-300;
    return 0.5 * std::log2((before + floor) / (after + floor)) * static_cast<double>(new_.size());
  }

  // Least-squares gains of `target` along an axis.
  std::vector<double> least_squares(const Matrix& matrix, GainAxis axis,
                                    const std::vector<double>& target) const {
    const uint64_t count = axis == GainAxis::kRow ? matrix.rows() : matrix.width;
    std::vector<double> products(count, 0), squares(count, 0);
    matrix.each_row([&](uint64_t row, uint64_t column, uint64_t index, uint64_t size) {
      for (uint64_t i = 0; i < size; ++i) {
        const uint64_t at = axis == GainAxis::kRow ? row : column + i;
        products[at] += target[index + i] * old_[index + i];
        squares[at] += old_[index + i] * old_[index + i];
      }
    });
    std::vector<double> gains(count, 1);
    for (uint64_t i = 0; i < count; ++i) {
      if (squares[i] > 0) gains[i] = std::clamp(products[i] / squares[i], -1.99, 1.99);
    }
    return gains;
  }

  std::vector<double> without_gains(const Matrix& matrix, GainAxis axis,
                                    const std::vector<double>& gains) const {
    std::vector<double> rest(new_.size());
    matrix.each_row([&](uint64_t row, uint64_t column, uint64_t index, uint64_t size) {
      for (uint64_t i = 0; i < size; ++i) {
        const double gain = gains[axis == GainAxis::kRow ? row : column + i];
        rest[index + i] = new_[index + i] - gain * old_[index + i];
      }
    });
    return rest;
  }

  std::vector<double> try_gain(const Matrix& matrix, GainAxis axis, double energy) {
    std::vector<double> gains = least_squares(matrix, axis, new_);
    const double left = mean_square(without_gains(matrix, axis, gains));
    if (saving(energy, left) > kNumberBits * static_cast<double>(gains.size())) {
      add(matrix, axis, gains, {}, left);
    }
    return gains;
  }

  void try_rank(const Matrix& matrix, const std::vector<double>& update,
                const std::vector<double>& gains, const LowRank& low, double energy) {
    if (low.rank == 0) return;
    std::vector<double> rest = update;
    subtract(matrix, low, rest);
    const double left = mean_square(rest);
    if (saving(energy, left) > 0) {
      add(matrix, gains.empty() ? GainAxis::kNone : GainAxis::kRow, gains, low, left);
    }
  }

  // Row gains hide a low-rank update and the other way round: each is fitted to what the other
  // leaves.
  void try_rank_with_gains(const Matrix& matrix, std::vector<double> gains, double energy) {
    constexpr unsigned kMostTurns = 100;
    double before = energy;
    for (unsigned turn = 0;; ++turn) {
      const std::vector<double> update = without_gains(matrix, GainAxis::kRow, gains);
      const LowRank low = low_rank(matrix, update);
      if (low.rank == 0) return;
      std::vector<double> rest = update;
      subtract(matrix, low, rest);
      const double left = mean_square(rest);
      const bool settled = turn >= 2 && left > before * 0.98;
      if (settled || turn == kMostTurns) return try_rank(matrix, update, gains, low, energy);
      before = left;
      std::vector<double> target = new_;
      subtract(matrix, low, target);
      gains = least_squares(matrix, GainAxis::kRow, target);
    }
  }

  static void subtract(const Matrix& matrix, const LowRank& low, std::vector<double>& values) {
    matrix.each_row([&](uint64_t row, uint64_t column, uint64_t index, uint64_t size) {
      const double* u = low.row_factors.data() + row * low.rank;
      for (uint64_t i = 0; i < size; ++i) {
        const double* v = low.column_factors.data() + (column + i) * low.rank;
        values[index + i] -= std::inner_product(u, u + low.rank, v, 0.0);
      }
    });
  }

  bool may_be_low_rank(const Matrix& matrix, const std::vector<double>& update) const;
  LowRank low_rank(const Matrix& matrix, const std::vector<double>& update) const;
  void add(const Matrix& matrix, GainAxis axis, const std::vector<double>& gains,
           const LowRank& low, double left);

  const ValuePair& pair_;
  uint64_t capacity_;
  std::vector<double> old_;
  std::vector<double> new_;
  double noise_;
  std::vector<RowsFit> fits_;
};

// Rows of `vectors` (each of `size`) become orthonormal; those that vanish become zero.
void orthonormalize(std::vector<double>& vectors, uint64_t size) {
  const uint64_t count = vectors.size() / size;
  for (uint64_t i = 0; i < count; ++i) {
    double* v = vectors.data() + i * size;
    const double before = std::inner_product(v, v + size, v, 0.0);
    for (unsigned pass = 0; pass < 2; ++pass) {
      for (uint64_t j = 0; j < i; ++j) {
        const double* w = vectors.data() + j * size;
        const double dot = std::inner_product(v, v + size, w, 0.0);
        for (uint64_t k = 0; k < size; ++k) v[k] -= dot * w[k];
      }
    }
    const double after = std::inner_product(v, v + size, v, 0.0);
    const double factor = after > before * 1e-20 && after > 0 ? 1 / std::sqrt(after) : 0;
    for (uint64_t k = 0; k < size; ++k) v[k] *= factor;
  }
}

// matrix times each of the `kSketch` rows of `columns`: a vector over rows each.
std::vector<double> times(const Matrix& matrix, const std::vector<double>& update,
                          const std::vector<double>& columns) {
  const uint64_t rows = matrix.rows(), width = matrix.width;
  const uint64_t count = columns.size() / width;
  std::vector<double> result(count * rows, 0);
  matrix.each_row([&](uint64_t row, uint64_t column, uint64_t index, uint64_t size) {
    for (uint64_t k = 0; k < count; ++k) {
      const double* v = columns.data() + k * width + column;
      result[k * rows + row] = std::inner_product(v, v + size, update.data() + index, 0.0);
    }
  });
  return result;
}

std::vector<double> transposed_times(const Matrix& matrix, const std::vector<double>& update,
                                     const std::vector<double>& over_rows) {
  const uint64_t rows = matrix.rows(), width = matrix.width;
  const uint64_t count = over_rows.size() / rows;
  std::vector<double> result(count * width, 0);
  matrix.each_row([&](uint64_t row, uint64_t column, uint64_t index, uint64_t size) {
    for (uint64_t k = 0; k < count; ++k) {
      const double weight = over_rows[k * rows + row];
      double* v = result.data() + k * width + column;
      for (uint64_t i = 0; i < size; ++i) v[i] += weight * update[index + i];
    }
  });
  return result;
}

// Rotates `rows_of` (count vectors of `size`) so that they become orthogonal to each other, longest
// first, and `partner` alike: one-sided Jacobi (M. R. Hestenes, 1958).
void diagonalize(std::vector<double>& rows_of, uint64_t size, std::vector<double>& partner,
                 uint64_t partner_size) {
  const uint64_t count = rows_of.size() / size;
  const auto rotate = [](double* a, double* b, uint64_t n, double c, double s) {
    for (uint64_t i = 0; i < n; ++i) {
      const double x = a[i], y = b[i];
      a[i] = c * x - s * y;
      b[i] = s * x + c * y;
    }
  };
  for (unsigned sweep = 0; sweep < 12; ++sweep) {
    for (uint64_t i = 0; i < count; ++i) {
      for (uint64_t j = i + 1; j < count; ++j) {
        double* a = rows_of.data() + i * size;
        double* b = rows_of.data() + j * size;
        const double aa = std::inner_product(a, a + size, a, 0.0);
        const double bb = std::inner_product(b, b + size, b, 0.0);
        const double ab = std::inner_product(a, a + size, b, 0.0);
        if (std::abs(ab) <= 1e-12 * std::sqrt(aa * bb)) continue;
        const double tau = (bb - aa) / (2 * ab);
        const double t = (tau >= 0 ? 1 : -1) / (std::abs(tau) + std::sqrt(1 + tau * tau));
        const double c = 1 / std::sqrt(1 + t * t);
        rotate(a, b, size, c, t * c);
        rotate(partner.data() + i * partner_size, partner.data() + j * partner_size, partner_size,
               c, t * c);
      }
    }
  }
}

// `count` random vectors of `size`, always the same.
std::vector<double> random_vectors(uint64_t count, uint64_t size) {
  std::vector<double> vectors(count * size);
  uint64_t seed = 0x9E3779B97F4A7C15u;
  for (double& v : vectors) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    v = static_cast<double>(static_cast<int32_t>(seed >> 32));
  }
  return vectors;
}

// A quick look, with a few directions and no iteration, keeps most tensors from the long one.
bool Fitter::may_be_low_rank(const Matrix& matrix, const std::vector<double>& update) const {
  constexpr uint64_t kLook = 8;
  std::vector<double> over_rows = times(matrix, update, random_vectors(kLook, matrix.width));
  orthonormalize(over_rows, matrix.rows());
  const std::vector<double> caught = transposed_times(matrix, update, over_rows);
  const double energy = mean_square(update);
  // Iteration would catch more; how much more is a guess on the generous side.
  const double most = 3 * mean_square(caught) * static_cast<double>(caught.size()) /
                      static_cast<double>(matrix.count);
  return saving(energy, std::max(energy - most, 0.0)) >
         kNumberBits * kLook * static_cast<double>(matrix.rows() + matrix.width);
}

LowRank Fitter::low_rank(const Matrix& matrix, const std::vector<double>& update) const {
  const uint64_t rows = matrix.rows(), width = matrix.width;
  const uint64_t fits = std::min<uint64_t>({kMaxRank, rows / 4, width / 4, capacity_ / width});
  if (fits == 0 || !may_be_low_rank(matrix, update)) return {};
  const auto sketch = std::min<uint64_t>({kSketch, rows, width, fits + 6});
  std::vector<double> columns = random_vectors(sketch, width);
  std::vector<double> over_rows;
  for (unsigned turn = 0; turn < 2; ++turn) {
    orthonormalize(columns, width);
    over_rows = times(matrix, update, columns);
    orthonormalize(over_rows, rows);
    columns = transposed_times(matrix, update, over_rows);
  }
  // update is near sum over k of over_rows_k (orthonormal) times columns_k.
  diagonalize(columns, width, over_rows, rows);
  std::vector<std::pair<double, uint64_t>> order;
  for (uint64_t k = 0; k < sketch; ++k) {
    const double* v = columns.data() + k * width;
    order.emplace_back(std::inner_product(v, v + width, v, 0.0), k);
  }
  std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
    return a.first != b.first ? a.first > b.first : a.second < b.second;
  });
  LowRank low;
  double left = mean_square(update) * static_cast<double>(matrix.count), best = 0;
  const double total = left / static_cast<double>(matrix.count);
  for (unsigned rank = 1; rank <= fits; ++rank) {
    left = std::max(0.0, left - order[rank - 1].first);
    const double gain = saving(total, left / static_cast<double>(matrix.count)) -
                        kNumberBits * rank * static_cast<double>(rows + width);
    if (gain > best) best = gain, low.rank = rank;
  }
  low.row_factors.resize(rows * low.rank);
  low.column_factors.resize(width * low.rank);
  for (unsigned k = 0; k < low.rank; ++k) {
    const auto [energy, from] = order[k];
    // Equal root mean squares on both sides.
    const double length = std::sqrt(energy);
    const double u =
        std::sqrt(length * std::sqrt(static_cast<double>(rows) / static_cast<double>(width)));
    for (uint64_t i = 0; i < rows; ++i) {
      low.row_factors[i * low.rank + k] = over_rows[from * rows + i] * u;
    }
    for (uint64_t i = 0; i < width; ++i) {
      low.column_factors[i * low.rank + k] = columns[from * width + i] / u;
    }
  }
  return low;
}

int32_t rounded(double value, double limit) {
  return static_cast<int32_t>(std::llround(std::clamp(value, -limit, limit)));
}

// Numbers as fine as what they leave makes sense.
void Fitter::add(const Matrix& matrix, GainAxis axis, const std::vector<double>& gains,
                 const LowRank& low, double left) {
  RowsFit fit;
  const double spread = std::sqrt(left + noise_);
  fit.shape.row_values = static_cast<uint32_t>(matrix.width);
  fit.shape.column = static_cast<uint32_t>(matrix.first);
  fit.shape.gain = axis;
  fit.shape.rank = static_cast<uint8_t>(low.rank);
  const double old_size = std::sqrt(mean_square(old_));
  const double fine = old_size > 0 ? std::floor(30 + std::log2(0.5 * spread / old_size)) : 0;
  fit.shape.gain_shift = static_cast<uint8_t>(std::clamp(fine, 0.0, 24.0));
  double unit = 0;  // log2 of a factor's unit
  if (low.rank != 0) {
    const double factor_size =
        std::sqrt(mean_square(low.row_factors)) + std::sqrt(mean_square(low.column_factors));
    double largest = 0;
    for (const double v : low.row_factors) largest = std::max(largest, std::abs(v));
    for (const double v : low.column_factors) largest = std::max(largest, std::abs(v));
    const double wanted = std::ceil(std::log2(factor_size * std::sqrt(low.rank) / spread));
    const double most = std::floor(static_cast<double>(kFactorBits) - 0.01 - std::log2(largest));
    unit = std::clamp(wanted, 0.0, std::clamp(most, 0.0, 63.0));
    fit.shape.factor_shift = static_cast<uint8_t>(2 * unit);
  }
  const auto put_gain = [&](std::vector<int32_t>& out, double gain) {
    const double step = std::ldexp(1.0, static_cast<int>(kGainLog2) - fit.shape.gain_shift);
    out.push_back(
        static_cast<int32_t>(static_cast<uint32_t>(rounded(
                                 gain * step, 2147483000.0 / std::ldexp(1.0, fit.shape.gain_shift)))
                             << fit.shape.gain_shift));
  };
  const auto put_factors = [&](std::vector<int32_t>& out, const std::vector<double>& factors,
                               uint64_t at) {
    for (unsigned k = 0; k < low.rank; ++k) {
      out.push_back(rounded(std::ldexp(factors[at * low.rank + k], static_cast<int>(unit)),
                            (1 << kFactorBits) - 1));
    }
  };
  if (column_numbers(fit.shape) != 0) {
    for (uint64_t i = 0; i < matrix.width; ++i) {
      if (axis == GainAxis::kColumn) put_gain(fit.numbers.columns, gains[i]);
      put_factors(fit.numbers.columns, low.column_factors, i);
    }
  }
  for (uint64_t i = 0; i < matrix.rows(); ++i) {
    if (axis == GainAxis::kRow) put_gain(fit.numbers.rows, gains[i]);
    put_factors(fit.numbers.rows, low.row_factors, i);
  }
  fits_.push_back(std::move(fit));
}

}  // namespace

std::vector<RowsFit> fit_rows(const ValuePair& pair, uint32_t column_capacity) {
  if (pair.count < kLeastValues || column_capacity == 0) return {};
  return Fitter(pair, column_capacity).run();
}

namespace {

// new / old where that is nearly the same for all.
std::optional<double> common_ratio(const ValuePair& pair) {
  constexpr double kRounding = 0x1p-22;  // of new, and of what new was the product of
  const unsigned size = value_size(pair.type);
  const auto old_value = [&](uint64_t i) {
    return real_of(pair.type, load_value(pair.old_values + i * size, size));
  };
  const auto new_value = [&](uint64_t i) {
    return real_of(pair.type, load_value(pair.new_values + i * size, size));
  };
  if (pair.count == 0 || old_value(0) == 0) return std::nullopt;
  const double first = new_value(0) / old_value(0);
  double products = 0, squares = 0;
  for (uint64_t i = 0; i < pair.count; ++i) {
    const double from = old_value(i), to = new_value(i), expected = from * first;
    if (!(std::abs(to - expected) <= std::abs(expected) * kRounding)) return std::nullopt;
    products += from * to;
    squares += from * from;
  }
  return products / squares;
}

}  // namespace

std::optional<RowsFit> fit_product(const ValuePair& pair) {
  if (!common_ratio(pair)) return std::nullopt;
  std::vector<RowsFit> fits = Fitter(pair, 1).run_single();
  return fits.empty() ? std::nullopt : std::optional(std::move(fits[0]));
}

std::optional<uint32_t> product_factor(const ValuePair& pair) {
  const auto ratio = common_ratio(pair);
  if (!ratio || !(std::abs(*ratio) < 1e30)) return std::nullopt;
  const unsigned size = value_size(pair.type);
  const auto middle = std::bit_cast<uint32_t>(static_cast<float>(*ratio));
  uint32_t best = 0;
  uint64_t most = 0;
  for (const uint32_t factor : {middle, middle - 1, middle + 1}) {
    uint64_t right = 1;  // so that some factor is best
    for (uint64_t i = 0; i < pair.count; ++i) {
      const uint32_t expected =
          predict_product(pair.type, load_value(pair.old_values + i * size, size), factor).bits;
      right += expected == load_value(pair.new_values + i * size, size) ? 1u : 0u;
    }
    if (right > most) most = right, best = factor;
  }
  return best;
}

std::optional<int32_t> grid_steps(ValueType type, uint32_t old_bits, uint32_t new_bits,
                                  const Grid& grid) {
  if (old_bits == new_bits) return 0;
  const double step = std::ldexp(grid.multiplier, grid.exponent);
  const double guess = (real_of(type, new_bits) - real_of(type, old_bits)) / step;
  if (!(std::abs(guess) < 1 << 20)) return std::nullopt;
  const auto near = static_cast<int32_t>(std::llround(guess));
  std::optional<int32_t> found;
  for (int32_t k = near - 1; k <= near + 1; ++k) {
    if (k == 0 || grid_value(type, old_bits, grid, k) != new_bits) continue;
    if (!found.has_value() || std::abs(k) < std::abs(*found)) found = k;
  }
  return found;
}

// Where a value went towards zero, nothing was rounded off if the step is no finer than old's last
// bit, which is the more likely the smaller old is: the common divisor of such differences is the
// grid's step.
std::optional<Grid> find_grid(const ValuePair& pair) {
  constexpr size_t kProbes = 24;
  const unsigned size = value_size(pair.type);
  const auto old_bits = [&](uint64_t i) { return load_value(pair.old_values + i * size, size); };
  const auto new_bits = [&](uint64_t i) { return load_value(pair.new_values + i * size, size); };
  std::vector<std::pair<double, double>> probes;  // |old|, difference
  for (uint64_t i = 0; i < pair.count; ++i) {
    if (old_bits(i) == new_bits(i)) continue;
    const double a = real_of(pair.type, old_bits(i)), b = real_of(pair.type, new_bits(i));
    if (a == b) return std::nullopt;  // another kind of zero, or no number
    if (std::abs(b) <= std::abs(a)) probes.emplace_back(std::abs(a), std::abs(b - a));
  }
  if (probes.size() < kProbes) return std::nullopt;
  std::nth_element(probes.begin(), probes.begin() + kProbes, probes.end());
  int lowest = 0, unused = 0;
  std::frexp(probes[0].second, &lowest);
  for (size_t i = 0; i < kProbes; ++i) {
    std::frexp(probes[i].second, &unused);
    lowest = std::min(lowest, unused);
  }
  constexpr int kSmallest = 24;  // bits of the least difference
  uint64_t divisor = 0;
  for (size_t i = 0; i < kProbes; ++i) {
    const double scaled = std::ldexp(probes[i].second, kSmallest - lowest);
    if (!(scaled < 9e18) || scaled != std::floor(scaled)) return std::nullopt;
    divisor = std::gcd(divisor, static_cast<uint64_t>(scaled));
  }
  const int zeros = std::countr_zero(divisor);
  const int exponent = lowest - kSmallest + zeros;
  if (divisor >> zeros > 63 || exponent < -200 || exponent > 100) return std::nullopt;
  const Grid grid{static_cast<uint8_t>(divisor >> zeros), static_cast<int16_t>(exponent)};
  const bool integers = float_shape(pair.type).exponent_mask == 0;
  if (integers && (exponent < 0 || exponent > 16 || (exponent == 0 && grid.multiplier == 1))) {
    return std::nullopt;  // every integer lies on it
  }
  for (uint64_t i = 0; i < pair.count; ++i) {
    if (!grid_steps(pair.type, old_bits(i), new_bits(i), grid).has_value()) return std::nullopt;
  }
  return grid;
}

namespace {

// Different magnitudes, ascending; none when there are more than integers of 8 bits have, or fewer
// than speak for a lattice.
std::vector<double> magnitudes(ValueType type, const uint8_t* values, uint64_t count) {
  constexpr size_t kFewest = 3, kMost = 129;
  const unsigned size = value_size(type);
  std::set<double> found;
  for (uint64_t i = 0; i < count; ++i) {
    const uint32_t bits = load_value(values + i * size, size);
    const double magnitude = std::abs(real_of(type, bits));
    if (magnitude == 0 && bits != 0) return {};  // a negative zero, or no number
    found.insert(magnitude);
    if (found.size() > kMost) return {};
  }
  return found.size() < kFewest ? std::vector<double>{}
                                : std::vector<double>(found.begin(), found.end());
}

// Half of what a float may have lost when it was rounded.
double half_step(ValueType type, double value) {
  int exponent = 0;
  std::frexp(value, &exponent);
  return std::ldexp(0.5, exponent - 1 - float_shape(type).mantissa_bits);
}

// Each magnitude bounds the step from both sides, once it is known which multiple it is: that
// follows from the least distance of two small ones.
std::optional<uint32_t> find_step(ValueType type, const uint8_t* values, uint64_t count) {
  const std::vector<double> sizes = magnitudes(type, values, count);
  if (sizes.empty()) return std::nullopt;
  double guess = sizes[0] > 0 ? sizes[0] : sizes[1];
  const size_t small =
      std::min<size_t>(sizes.size(), 12);  // rounding hides the step in larger ones
  for (size_t i = 1; i < small; ++i) guess = std::min(guess, sizes[i] - sizes[i - 1]);
  double low = 0, high = std::numeric_limits<double>::infinity();
  for (const double v : sizes) {
    const double k = std::round(v / guess);
    if (k > 128) return std::nullopt;
    if (k == 0) continue;
    low = std::max(low, (v - half_step(type, v)) / k);
    high = std::min(high, (v + half_step(type, v)) / k);
    if (low > high) return std::nullopt;
    guess = (low + high) / 2;  // finer with every larger multiple
  }
  const unsigned size = value_size(type);
  const auto middle = std::bit_cast<uint32_t>(static_cast<float>((low + high) / 2));
  for (const uint32_t step : {middle, middle - 1, middle + 1}) {
    bool fits = true;
    for (uint64_t i = 0; i < count && fits; ++i) {
      const uint32_t bits = load_value(values + i * size, size);
      fits = lattice_value(type, step, lattice_place(type, bits, step)) == bits;
    }
    if (fits) return step;
  }
  return std::nullopt;
}

}  // namespace

int32_t lattice_place(ValueType type, uint32_t bits, uint32_t step) {
  return static_cast<int32_t>(centered(ValueType::kInt8, lattice_index(type, bits, step).bits));
}

std::optional<Lattice> find_lattice(const ValuePair& pair) {
  if (float_shape(pair.type).exponent_mask == 0 || pair.count < kLeastValues) return std::nullopt;
  const auto new_step = find_step(pair.type, pair.new_values, pair.count);
  if (!new_step) return std::nullopt;
  const auto old_step = find_step(pair.type, pair.old_values, pair.count);
  return Lattice{old_step.value_or(*new_step), *new_step};
}

}  // namespace tensorpatch::delta
