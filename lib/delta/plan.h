// delta/plan.h: chooses the operations for one interval of new.
//
// Every stretch is tried with the codings that may fit it (typed residuals, intra, literal bytes),
// by counting what the adaptive coder would need; where the model does not say what the bytes are,
// each tile is tried with every type and phase. Choices are by size alone, and deterministic.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "delta/alignment.h"
#include "delta/chunk_encoder.h"

namespace tensorpatch::delta {

struct PlannedOperation {
  Operation operation;  // slot and fresh are left to the encoder
  uint64_t new_offset = 0;
  std::shared_ptr<const RowNumbers> numbers{};  // of the rows predictor
};

// A stretch of new that begins at a restart point, and how to look for its operations.
struct PlanTask {
  Interval interval;
  std::span<const Alignment> alignments;  // tile at least the interval
  PlanEffort effort;
  unsigned threads = 1;  // for trials
};

// Operations that tile the interval.
std::vector<PlannedOperation> plan_interval(const std::vector<ComponentInput>& components,
                                            uint32_t component, const PatchOptions& options,
                                            const PlanTask& task);

// Ways to code a small new file, when the interval is all of it, as one operation of bytes that
// learns all of old, types or not.
std::vector<Operation> whole_operations(const ComponentInput& input, const PatchOptions& options,
                                        const Interval& interval);

}  // namespace tensorpatch::delta
