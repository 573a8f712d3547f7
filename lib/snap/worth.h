// snap/worth.h: whether a grid makes a tensor's update smaller at all.
//
// The coder finds some updates without any loss: a merged low-rank update, rows that were scaled,
// few values that moved. On a grid they would lose that structure. From a sample of a tensor the
// bits a value are estimated that the update takes as it is and in steps of a grid: the entropy of
// the numbers' lengths and the bits below the first one. Deterministic; reads up to 64 rows of 64
// values.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace tensorpatch::snap {

// Values spread over a matrix, by rows.
struct Sample {
  size_t rows = 0;
  size_t columns = 0;
  double row_bits = 0;              // a value, of one number for each row: bits / columns of it all
  double rank_bits = 0;             // a value, of the factors of one rank
  std::vector<double> old_values;   // in any unit
  std::vector<double> updates;      // new - old
  std::vector<double> resolutions;  // the distance of a new value to the next one of its type

  struct Value {
    double old_value, update, resolution;
  };
  void add(const Value& value) {
    old_values.push_back(value.old_value);
    updates.push_back(value.update);
    resolutions.push_back(value.resolution);
  }
};

// Where the values of a sample lie in a matrix of `rows` rows of `width` values.
struct SampleShape {
  uint64_t rows = 1;
  uint64_t width = 1;
};
inline constexpr size_t kSampleEdge = 64;
std::vector<uint64_t> sample_indices(const SampleShape& shape, Sample& sample);

// Whether a good part of the values became zero: zeros that are meant, which a grid would lose.
bool is_pruned(const Sample& sample);

// Bits a value: of the update as the coder finds it, and of its steps.
double bits_as_it_is(const Sample& sample);
double bits_in_steps(const std::vector<double>& updates, double step);

}  // namespace tensorpatch::snap
