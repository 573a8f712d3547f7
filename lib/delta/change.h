// delta/change.h: how far the values of new moved from those of old, whether they descend from
// them, and how few bytes could say what is new.
//
// Measured over pairs of stretches, whatever the encoder made of them. Values are numbers of the
// model's element types, blocks of quantised numbers (Q8_0, Q4_0, Q4_1, Q4_K), or else plain bytes.
// Numbers that are not finite, in either file, count for equality only.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/file.h"
#include "model/model.h"

namespace tensorpatch::delta {

// |new - old| in units of the root mean square of old's values, counted in half octaves: count i is
// of changes in [2^(i/2 - 16), 2^(i/2 - 15.5)); the ends hold what lies beyond.
inline constexpr unsigned kChangeBins = 40;
using ChangeHistogram = std::array<uint64_t, kChangeBins>;

// The figures of one tensor, or of one piece between tensors.
struct Change {
  uint64_t count = 0;  // values compared; bytes where they are no numbers
  uint64_t equal = 0;  // of them, the same bits (of two types: the same number)
  bool has_numbers = false;
  // |new - old| / |old|, Euclidean norms; none without numbers, or when only old is all zero.
  std::optional<double> relative_norm;
  // Pearson's, of the values about their means; none when either does not vary.
  std::optional<double> correlation;
  // 0: no relation, near 1: the same values, moved a little. The larger of the correlation,
  // adjusted for the count of values, and Cohen's kappa: the share of equal values beyond what
  // chance would make equal. None when too few values say anything.
  std::optional<double> lineage;
  // What an ideal coder that looks at one value at a time would need, in bytes: the order-0 entropy
  // of the differences to old, or of the new bytes by their place in the value, whichever is less.
  // Context can go below it, having to learn the statistics goes above.
  uint64_t bound_bytes = 0;
  ChangeHistogram histogram{};  // of the values that differ, when they are numbers

  std::optional<double> share_equal() const;  // 0..1; none when nothing was compared
};

// A stretch of a file with the meaning that its model gives it.
struct Stretch {
  base::Bytes bytes;
  model::ElementType type = model::ElementType::kBytes;
  model::BlockLayout block{};  // of quantised blocks
};

// Adds up one segment's stretches.
class ChangeMeter {
 public:
  ChangeMeter();
  ~ChangeMeter();
  ChangeMeter(const ChangeMeter&) = delete;
  ChangeMeter& operator=(const ChangeMeter&) = delete;

  // Values at the same index belong together; what one of the two has too many counts as unrelated.
  void add(const Stretch& old_stretch, const Stretch& new_stretch);
  void add_unrelated(const Stretch& new_stretch);
  Change change() const;

 private:
  struct Sums;
  std::unique_ptr<Sums> sums_;
};

// Order-0 entropy of the bytes in bits a byte, 0..8, corrected for their count; 0 when empty.
double byte_entropy(base::Bytes bytes);

}  // namespace tensorpatch::delta
