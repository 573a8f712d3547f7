// snap/tensor.h: one tensor on its way to the grid; private to lib/snap.
//
// A tensor is worked on in stretches of values, in any order and on several threads; what a stretch
// adds to a sum is kept apart and added up in order, so that the result does not depend on threads.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "apply/prediction.h"
#include "base/file.h"
#include "snap/snap.h"
#include "snap/worth.h"

namespace tensorpatch::snap {

// Values [first, first + count) of a tensor, or its blocks.
struct Stretch {
  uint64_t first = 0;
  uint64_t count = 0;
};

// What a stretch says of its tensor; add() in ascending order.
struct Sums {
  double squares = 0;  // of updates
  double largest = 0;  // update
  bool finite = true;  // all values, old and new
  double steps = 0;    // of (update in whole steps) * update
  double errors = 0;   // squares of what was written - new
  uint64_t moved = 0;

  void add(const Sums& other) {
    squares += other.squares;
    largest = std::max(largest, other.largest);
    finite = finite && other.finite;
    steps += other.steps;
    errors += other.errors;
    moved += other.moved;
  }
};

// Bytes of a tensor in old and in new, of the same size.
struct TensorBytes {
  base::Bytes old_bytes;
  base::Bytes new_bytes;
};

// What is wanted of a model.
struct Wanted {
  double grid;  // in units of the update's size
  double step;  // of this matrix of floats, before it gets its multiple
};

class Tensor {
 public:
  virtual ~Tensor() = default;
  virtual uint64_t count() const = 0;        // of values or blocks
  virtual unsigned value_bytes() const = 0;  // of each
  // First look: squares, largest, finite.
  virtual Sums study(Stretch stretch) const = 0;
  // Whether its update counts in the step of all matrices.
  virtual bool is_float_matrix() const { return false; }
  // Second look, once the step is known: steps. Nothing where no multiple is chosen.
  virtual Sums weigh(Stretch, const Wanted&) const { return {}; }
  // The grid that follows from the sums of all stretches; none: the tensor stays as in new.
  virtual std::optional<Grid> choose(const Sums& sums, const Wanted& wanted) const = 0;
  // Some of its values, for its worth on a grid; none: it is worth it.
  virtual std::optional<Sample> sample() const { return std::nullopt; }
  // Writes the snapped stretch; errors, moved.
  virtual Sums write(Stretch stretch, const Wanted& wanted, const Grid& grid,
                     uint8_t* out) const = 0;
};

// A tensor of floats: type is kFloat16, kBfloat16 or kFloat32.
struct FloatKind {
  ValueType type;
  uint64_t row;  // values of a row of a matrix; 0: a vector
};
std::unique_ptr<Tensor> float_tensor(FloatKind kind, TensorBytes bytes);

// The m * 2^e, m <= 63, nearest to a positive step; none beyond the exponents of a grid.
std::optional<Grid> nearest_grid(double step);
inline double step_of(const Grid& grid) {
  return std::ldexp(static_cast<double>(grid.multiplier), grid.exponent);
}

}  // namespace tensorpatch::snap
