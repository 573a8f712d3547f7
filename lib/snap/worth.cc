// snap/worth.cc: lengths of what remains of an update behind gains of rows, and behind low ranks by
// Gram and Schmidt.
// SPDX-License-Identifier: Apache-2.0
#include "snap/worth.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

namespace tensorpatch::snap {
namespace {

constexpr size_t kMostRank = 16;
constexpr double kFactorBits = 16;  // of a factor or a gain, after the coder
constexpr int kMostLength = 64;
constexpr double kPrunedShare = 0.2;
constexpr double kEvident = 0.75, kFit = 0.75;

// Bits a number, of whole numbers, when a coder knows how often each length is.
double number_bits(const std::vector<double>& numbers) {
  std::array<size_t, kMostLength + 1> counts{};
  double below = 0;  // bits behind the first one, and signs
  for (const double number : numbers) {
    int length = 0;
    if (number != 0) length = std::clamp(std::ilogb(number) + 1, 1, kMostLength);
    ++counts[static_cast<size_t>(length)];
    below += length;
  }
  const auto all = static_cast<double>(numbers.size());
  double bits = below / all;
  for (const size_t count : counts) {
    if (count == 0) continue;
    const double share = static_cast<double>(count) / all;
    bits -= share * std::log2(share);
  }
  return bits;
}

// What is left of the updates, in steps of the type.
double rest_bits(const Sample& sample, const std::vector<double>& rest) {
  std::vector<double> numbers(rest.size());
  for (size_t i = 0; i < rest.size(); ++i) {
    numbers[i] = std::nearbyint(rest[i] / sample.resolutions[i]);
  }
  return number_bits(numbers);
}

double square(const double* values, size_t count) {
  return std::inner_product(values, values + count, values, 0.0);
}

std::vector<double> without_gains(const Sample& sample) {
  std::vector<double> rest = sample.updates;
  for (size_t row = 0; row < sample.rows; ++row) {
    const double* old_row = sample.old_values.data() + row * sample.columns;
    double* rest_row = rest.data() + row * sample.columns;
    const double length = square(old_row, sample.columns);
    if (length == 0) continue;
    const double gain =
        std::inner_product(old_row, old_row + sample.columns, rest_row, 0.0) / length;
    for (size_t i = 0; i < sample.columns; ++i) rest_row[i] -= gain * old_row[i];
  }
  return rest;
}

// Takes the direction of the longest row out of all rows; false when nothing is left.
bool take_direction(const Sample& sample, std::vector<double>& rest) {
  const size_t columns = sample.columns;
  size_t longest = 0;
  double length = 0;
  for (size_t row = 0; row < sample.rows; ++row) {
    const double own = square(rest.data() + row * columns, columns);
    if (own > length) length = own, longest = row;
  }
  if (length == 0) return false;
  const auto begin = rest.begin() + static_cast<std::ptrdiff_t>(longest * columns);
  std::vector<double> direction(begin, begin + static_cast<std::ptrdiff_t>(columns));
  for (double& value : direction) value /= std::sqrt(length);
  for (size_t row = 0; row < sample.rows; ++row) {
    double* values = rest.data() + row * columns;
    const double along = std::inner_product(values, values + columns, direction.data(), 0.0);
    for (size_t i = 0; i < columns; ++i) values[i] -= along * direction[i];
  }
  return true;
}

// `count` of `size` places, evenly spread, in no period.
std::vector<uint64_t> spread(uint64_t size, size_t count) {
  std::vector<uint64_t> places(count);
  for (size_t i = 0; i < count; ++i) places[i] = size * (2 * i + 1) / (2 * count);
  return places;
}

}  // namespace

std::vector<uint64_t> sample_indices(const SampleShape& shape, Sample& sample) {
  sample.rows = std::min<uint64_t>(shape.rows, kSampleEdge);
  sample.columns = std::min<uint64_t>(shape.width, kSampleEdge);
  const auto rows = static_cast<double>(shape.rows), width = static_cast<double>(shape.width);
  sample.row_bits = kFactorBits / width;
  sample.rank_bits = kFactorBits * (rows + width) / (rows * width);
  std::vector<uint64_t> indices;
  for (const uint64_t row : spread(shape.rows, sample.rows)) {
    for (const uint64_t column : spread(shape.width, sample.columns)) {
      indices.push_back(row * shape.width + column);
    }
  }
  return indices;
}

bool is_pruned(const Sample& sample) {
  size_t zeros = 0;
  for (size_t i = 0; i < sample.updates.size(); ++i) {
    const double old_value = sample.old_values[i];
    zeros += old_value != 0 && sample.updates[i] == -old_value ? 1U : 0U;
  }
  return static_cast<double>(zeros) > kPrunedShare * static_cast<double>(sample.updates.size());
}

double bits_as_it_is(const Sample& sample) {
  const double plain = rest_bits(sample, sample.updates);
  double structured = rest_bits(sample, without_gains(sample)) + sample.row_bits;
  // A rank explains every sample of so few rows or columns.
  const size_t most = std::min({kMostRank, sample.rows / 3, sample.columns / 3});
  std::vector<double> rest = sample.updates;
  for (size_t rank = 1; rank <= most && take_direction(sample, rest); ++rank) {
    const double side = sample.rank_bits * static_cast<double>(rank);
    structured = std::min(structured, rest_bits(sample, rest) + side);
  }
  // The coder fits what is evident better than this does.
  if (structured < kEvident * plain) structured *= kFit;
  return std::min(plain, structured);
}

double bits_in_steps(const std::vector<double>& updates, double step) {
  std::vector<double> numbers(updates.size());
  for (size_t i = 0; i < updates.size(); ++i) numbers[i] = std::nearbyint(updates[i] / step);
  return number_bits(numbers);
}

}  // namespace tensorpatch::snap
