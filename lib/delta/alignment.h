// delta/alignment.h: which stretch of new goes with which stretch of old, before any coding is
// chosen.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "apply/operation_model.h"
#include "delta/delta.h"

namespace tensorpatch::delta {

struct Alignment {
  uint64_t new_offset = 0;
  uint64_t size = 0;
  std::optional<OldPlace> old;    // a stretch of the same size
  std::optional<ValueType> type;  // when the model says what the bytes are
  uint64_t row_bytes = 0;         // of one row of the tensor, 0 unknown
  RecordShape record{};           // of its blocks, when it has any
};

// The format's value type for a model's element type; none for 64-bit and unstructured types.
std::optional<ValueType> value_type(model::ElementType type);

// For each segment of new the segment of old that it is coded against, or none: as align() matches
// them within one component.
std::vector<const model::Segment*> match_tensors(const ComponentInput& input);

// Alignments that tile the new file of components[index], in ascending order. Tensors are matched
// by equal content, then name, then shape and type in order; what remains is matched by bytes.
std::vector<Alignment> align(const std::vector<ComponentInput>& components, size_t index);

}  // namespace tensorpatch::delta
