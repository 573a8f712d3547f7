// delta/change.h: how far the values of a stretch of new moved from old.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "apply/value_model.h"
#include "base/file.h"

namespace tensorpatch::delta {

struct Change {
  double difference_squares = 0;  // sum of (new - old)^2; values that are not finite are left out
  double old_squares = 0;         // sum of old^2
  uint64_t equal = 0;             // values with the same bits
  uint64_t count = 0;

  void add(const Change& other);
  // |new - old| / |old|, Euclidean norms; 0 when old is all zero.
  double relative() const;
  double share_equal() const;  // 0..1; 0 without values
};

// Compares values of one type; both spans have the same size, a multiple of the value's.
Change measure_change(ValueType type, base::Bytes old_values, base::Bytes new_values);

}  // namespace tensorpatch::delta
